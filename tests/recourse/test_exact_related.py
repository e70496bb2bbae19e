"""Exact recourse with relations: against the enumeration of a grid, and intervals and relaxations of formulas."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array, jit

from hare_jax import formula, models
from hare_jax.models.network import to_layers
from hare_jax.recourse import exact
from hare_jax.recourse.exact import NONE_EXISTS, OPTIMAL, UNPROVED
from hare_jax.recourse.exact import problem as exact_problem
from hare_jax.recourse.exact import search as exact_search
from hare_jax.recourse.exact.draft import Draft, Variable, assemble
from hare_jax.recourse.exact.relaxation import Interval, Term, interval, relaxed
from hare_jax.solvers import milp
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import Link, action_space, allows, open_levels, own_change, relate, rows_from, with_own_change

A, B, RATIO, SAVED = ("column", 0), ("column", 1), 2, 3
COST = np.array([1.0, 0.7, 1.0, 1.3, 0.4, 0.8, 0.6])
LINKS = [Link(RATIO, ("/", A, ("+", ("number", 1.0), B))), Link(SAVED, ("*", ("number", 0.5), A))]


is_allowed, own_change_to = jit(allows), jit(own_change)


def grid_space(max_changes=2, links=LINKS):
    """Two ordered columns, their ratio, a stepped column that follows and may be acted on, and a group."""
    forbidden = np.zeros((7, 7), bool)
    forbidden[4, 5] = True
    coefficients = [[1.0, -1.0, 0, 0, 0, 0, 0]]
    relations = relate(
        7, links=links, coefficients=coefficients, limits=[0.5], forbidden=forbidden, max_changes=max_changes
    )
    return action_space([True, True, False, *[True] * 4], [0, 0, -5, 0, 0, 0, 0], [1, 1, 5, 1, 1, 1, 1],
                        group=[-1] * 4 + [0] * 3, step=[0.25, 0.25, 0, 0.1, 1, 1, 1], cost=COST,
                        relations=relations)  # fmt: skip


def grid_row(rng):
    a, b = 0.25 * rng.integers(5, size=2)
    return array([a, b, a / (1 + b), 0.1 * rng.integers(11), *np.eye(3)[rng.integers(3)]])


def every_change(x):
    """Own changes (n, d) from `x` (d,)."""
    axes = np.arange(5) / 4 - x[0], np.arange(5) / 4 - x[1], (0,), np.arange(-15, 16) / 10, range(3)
    return array([[*move[:4], *(np.eye(3)[move[4]] - x[4:])] for move in itertools.product(*axes)])


@jit
def points_after(space, x, change):
    def one(change):
        point = with_own_change(space, x, change)
        kept = jnp.abs(own_change(space, x, point) - change).max() < 1e-4
        unmoved = (change[SAVED] != 0) & (jnp.abs(point[SAVED] - x[SAVED]) < 1e-4)  # means that it follows
        return point, kept & ~unmoved & allows(space, x, point)

    return jax.vmap(one)(change)


def classifier(rng, points, *, hidden=True):
    shapes = [(6, 7), (1, 6)] if hidden else [(1, 7)]
    layers = [(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in shapes]
    refused = np.quantile(logits(models.from_layers(layers), points), rng.choice([0.9, 0.99, 1.0]))
    layers[-1] = (layers[-1][0], layers[-1][1] - refused - 0.01)
    return models.from_layers([(array(weight), array(bias)) for weight, bias in layers])


def logits(params, points):
    *hidden, last = to_layers(params)
    z = np.asarray(points, float).T
    for layer in hidden:
        z = np.maximum(np.asarray(layer.weight, float) @ z + np.asarray(layer.bias, float)[:, None], 0)
    return (np.asarray(last.weight, float) @ z)[0] + float(last.bias[0])


@jit
def given_to_search(space, x):
    return space._replace(upper=open_levels(space, x)), rows_from(space, x)


def solve_row(params, x, space, weights=COST):
    """The answer of the search on the host, without the bound of a known recourse."""
    layers, (given, rows) = jax.tree.map(np.asarray, (to_layers(params), given_to_search(space, x)))
    numbers = (np.asarray(number) for number in (MARGIN, 10.0, 1e-6))
    problem = exact_problem.Problem(layers, x, given, array(weights), x, np.asarray(False), *numbers, rows)
    return exact_search.solve(problem)


@pytest.mark.parametrize("seed", range(10))
def test_the_optimum_with_relations_is_that_of_enumeration(seed):
    rng = np.random.default_rng(seed)
    space, x = grid_space(max_changes=int(rng.integers(1, 4))), grid_row(rng)
    change = every_change(x)
    points, allowed = map(np.asarray, points_after(space, x, change))
    params = classifier(rng, points[allowed], hidden=seed % 2 == 0)
    accepted = allowed & (logits(params, points) >= MARGIN)
    answer = solve_row(params, x, space)
    if not accepted.any():
        assert answer.status == NONE_EXISTS
        return
    assert answer.status == OPTIMAL
    assert bool(is_allowed(space, x, answer.x))
    assert logits(params, answer.x[None])[0] >= MARGIN - 1e-6
    cost = COST @ np.abs(np.asarray(own_change_to(space, x, answer.x)))
    np.testing.assert_allclose(cost, (np.abs(change) @ COST)[accepted].min(), rtol=2e-4)


NUM_CHAINS = 6
STEPPED, LAST = ("column", 1), ("column", 2)
OF_STEPPED = [("*", STEPPED, LAST), ("/", STEPPED, ("+", ("number", 1.2), LAST)), ("exp", STEPPED),
              ("**", STEPPED, ("number", 2.0)), ("/", LAST, ("+", ("number", 1.5), STEPPED)),
              ("abs", ("-", STEPPED, ("number", 0.4)))]  # fmt: skip


def chain_space(expression, low, high, *, mutable, step=0.2, max_changes=None):
    """An ordered column, a stepped one that follows it, another ordered one, and a formula of the last two."""
    links = [Link(1, ("*", ("number", 0.7), A)), Link(3, expression)]
    relations = relate(4, links=links, max_changes=max_changes)
    return action_space([True, mutable, True, False], [0, low, 0, -20], [1, high, 1, 20], step=[0.125, step, 0.25, 0],
                        relations=relations)  # fmt: skip


@jit
def chain_points(space, x, change):
    def one(change):
        point = with_own_change(space, x, change)
        kept = jnp.abs(own_change(space, x, point) - change).max() < 1e-4
        unmoved = (change[1] != 0) & (jnp.abs(point[1] - x[1]) < 1e-4)
        return point, kept & ~unmoved & allows(space, x, point)

    return jax.vmap(one)(change)


def chain_row(rng, expression, mutable):
    """A chain with bounds that are no whole steps from the factual, or are, and a linear classifier."""
    start = rng.uniform(0, 1)
    below, above = rng.integers(0, 5, 2) if rng.random() < 0.5 else rng.uniform(0, 4, 2)
    most = int(rng.integers(1, 4))
    space = chain_space(expression, start - 0.2 * below, start + 0.2 * above, mutable=mutable, max_changes=most)
    return space, array([0.125 * rng.integers(9), start, 0.25 * rng.integers(5), rng.normal()])


def check_chain(seed, expression):
    rng = np.random.default_rng(seed)
    for mutable in [True, False] * NUM_CHAINS:
        space, x = chain_row(rng, expression, mutable)
        own_steps = 0.2 * np.arange(-8, 9) if mutable else [0.0]
        axes = np.arange(9) / 8 - x[0], own_steps, np.arange(5) / 4 - x[2], [0.0]
        change = array(list(itertools.product(*axes)))
        points, allowed = map(np.asarray, chain_points(space, x, change))
        slope = rng.normal(size=(1, 4)) * [1, 1, 1, 3]
        refused = np.quantile(points[allowed] @ slope[0], rng.choice([0.7, 0.9, 0.99]))
        params = models.from_layers([(array(slope), array([-0.01 - refused]))])
        accepted = allowed & (logits(params, points) >= 2 * MARGIN)
        answer = solve_row(params, x, space, np.ones(4))
        assert answer.status != UNPROVED
        if answer.status == NONE_EXISTS:
            assert not accepted.any()
            continue
        assert bool(is_allowed(space, x, answer.x))
        assert logits(params, answer.x[None])[0] >= MARGIN - 1e-6
        found = np.abs(np.asarray(own_change_to(space, x, answer.x))).sum()
        assert found <= np.abs(change).sum(1)[accepted].min(initial=np.inf) * (1 + 3e-4) + 1e-5


def test_the_optimum_through_a_stepped_follower_is_that_of_enumeration():
    check_chain(0, OF_STEPPED[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, len(OF_STEPPED)))
def test_the_optimum_through_a_stepped_follower_is_that_of_enumeration_for_each_formula(seed):
    check_chain(seed, OF_STEPPED[seed])


@pytest.mark.parametrize("at_zero", [0.0, 0.5])
def test_a_formula_that_is_not_finite_at_the_factual_holds_its_causes_only(at_zero):
    relations = relate(4, links=[Link(2, ("/", A, B))])
    space = action_space([True, True, False, True], [0, 0, -20, 0], [1, 1, 20, 1], relations=relations)
    params = models.from_layers([(array([[1.0, 1.0, 0, 4.0]]), array([-2.5 - at_zero]))])
    answer = solve_row(params, array([at_zero, 0, 0, 0.2]), space, np.ones(4))
    assert answer.status == OPTIMAL
    np.testing.assert_allclose(answer.x, [at_zero, 0, 0, (2.5 + MARGIN) / 4], rtol=1e-4)


def test_nothing_is_proved_where_held_causes_could_cancel_out():
    relations = relate(5, links=[Link(2, ("-", A, B)), Link(3, ("/", ("number", 1.0), ("column", 2)))])
    space = action_space([True, True, False, False, True], [0, 0, -20, -20, 0], [1, 1, 20, 20, 1],
                         step=[0.25, 0.25, 0, 0, 0], relations=relations)  # fmt: skip
    params = models.from_layers([(array([[1.0, 1, 0, 0, 1]]), array([-2.75]))])
    x = array([0.5, 0.5, 0, 0, 0])
    assert bool(is_allowed(space, x, array([1, 1, 0, 0, 1])))
    assert solve_row(params, x, space, np.ones(5)).status == UNPROVED


@pytest.mark.parametrize(("lower", "upper", "slope", "bias"), [(1.0, 5.0, -2.0, 1.5), (0.0, 1.0, 1.0, -1.5)])
def test_an_own_change_does_not_return_a_follower_to_its_factual_value(lower, upper, slope, bias):
    """The cheapest change without this rule is 0.5 of the first column, with the second one back at its bound of 1."""
    relations = relate(2, links=[Link(1, ("*", ("number", 0.5), A))])
    space = action_space([True, True], [0, lower], [1, upper], relations=relations)
    params = models.from_layers([(array([[1.0, slope]]), array([bias]))])
    x = array([0.0, 1.0])
    answer = solve_row(params, x, space, array([1.0, 0.1]))
    assert answer.status == OPTIMAL
    assert bool(is_allowed(space, x, answer.x))
    assert abs(answer.x[1] - 1) > 2e-5
    np.testing.assert_allclose(answer.x, [0.501, 1.0], atol=1e-3)


@pytest.mark.slow
def test_the_cost_of_the_space_is_the_default_of_the_weights():
    space = action_space([True] * 2, [0.0] * 2, [1.0] * 2, cost=[3.0, 1.0])
    logit_fn, key = models.classifier(models.from_layers([([[2.0, 1.0]], [-0.5])])), jax.random.key(0)
    by_space = exact.generate(exact.Exact(), key, logit_fn, jnp.zeros(2), space).x
    explicit = exact.generate(exact.Exact(weights=jnp.ones(2)), key, logit_fn, jnp.zeros(2), space).x
    np.testing.assert_allclose([by_space, explicit], [[0, 0.5], [0.25, 0]], atol=2e-3)


A_B = [("+", A, B), ("*", A, B), ("/", A, B), ("max", A, B), ("min", A, B)]
OF_A = [*((name, A) for name in ("abs", "exp", "log", "sqrt", "neg")),
        *(("**", A, ("number", power)) for power in (2.0, 3.0, 0.5, -1.0))]  # fmt: skip


@pytest.mark.parametrize("expression", A_B + OF_A)
@pytest.mark.parametrize(
    ("low", "high"), [((0.5, 0.2), (2.0, 1.5)), ((-1.0, 0.3), (0.7, 0.3)), ((0.0, 0.1), (1e4, 0.9))]
)
def test_relaxations_contain_the_values_of_the_formula(expression, low, high):
    low, high = np.array(low), np.array(high)
    rng = np.random.default_rng(0)
    draft = Draft([Variable(0.0, *ends, False) for ends in zip(low, high, strict=True)], [])
    columns = {k: Term({k: 1.0}, 0.0, Interval(low[k], high[k])) for k in range(2)}
    term = relaxed(draft, expression, columns)
    span = interval(expression, Interval(low, high))
    program = assemble(draft) if draft.rows else None
    for at in (*rng.uniform(low, high, (5, 2)), low, high, low + 1e-7 * (high - low)):
        with np.errstate(all="ignore"):
            value = float(formula.evaluate(expression, at))
        if np.isnan(value) or program is None:
            continue
        assert span.low - 1e-9 <= value <= span.high + 1e-9
        for sign in (1, -1):
            cost = np.zeros(len(program.cost))
            for index, slope in term.slopes.items():
                cost[index] = sign * slope
            least, most = (np.array([*at, *ends[2:]]) for ends in (program.least, program.most))
            found = milp.solve(program._replace(cost=cost, least=least, most=most), time_limit=1.0, gap=1e-9)
            if np.isfinite([*program.least, *program.most]).all():
                assert cost @ found.values + sign * term.constant <= sign * value + 1e-5
