import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array, full_space, jit, random_classifiers, random_problems, random_rows, row, split

from hare_jax import models
from hare_jax.evaluate.sharding import map_users
from hare_jax.models.network import to_layers
from hare_jax.recourse import exact, growing_spheres
from hare_jax.recourse.exact import NONE_EXISTS, OPTIMAL, UNPROVED
from hare_jax.recourse.exact import search as exact_search
from hare_jax.solvers import milp
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import action_space, allows, bounds, project

NUM, NUM_DRAWN = 24, 20_000
SPHERES = growing_spheres.GrowingSpheres(num_samples=32, num_spheres=8, num_attempts=2)
# two ordered columns, a binary one, a group with a closed level, and an immutable column
DISCRETE = action_space([True] * 6 + [False], [0.0] * 7, [1.0] * 5 + [0.0, 1.0], group=[-1] * 3 + [0] * 3 + [-1],
                        step=[0.25, 0.1, 1, 1, 1, 1, 0])  # fmt: skip


def problem_of(params, x, space, weights=None, known=None, time_limit=10.0):
    """A problem for `exact_search.solve`: everything in NumPy."""
    x = np.asarray(x)
    weights = np.ones_like(x) if weights is None else np.asarray(weights, x.dtype)
    numbers = (np.asarray(number) for number in (MARGIN, time_limit, 1e-6))
    is_known = np.asarray(known is not None)
    layers, space = jax.tree.map(np.asarray, (to_layers(params), space))
    return exact_search.Problem(layers, x, space, weights, x if known is None else known, is_known, *numbers)


def logits(params, points):
    """Logits (n,) of `points` (n, d), in float64."""
    *hidden, last = to_layers(params)
    z = np.asarray(points, float).T
    for layer in hidden:
        z = np.maximum(np.asarray(layer.weight, float) @ z + np.asarray(layer.bias, float)[:, None], 0)
    return (np.asarray(last.weight, float) @ z)[0] + float(last.bias[0])


def network(rng, num_columns):
    """A steep random network with two hidden layers, that refuses about three quarters of the unit cube."""
    shapes = (6, num_columns), (5, 6), (1, 5)
    layers = [(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in shapes]
    refused = np.quantile(logits(models.from_layers(layers), rng.random((200, num_columns))), 0.75)
    layers[-1] = (layers[-1][0], layers[-1][1] - refused)
    return models.from_layers([(array(weight), array(bias)) for weight, bias in layers])


def discrete_row(rng):
    level = np.eye(3)[rng.integers(2)]
    return array([0.25 * rng.integers(5), 0.1 * rng.integers(11), rng.integers(2), *level, rng.random()])


def every_point(x):
    """All points (n, d) that DISCRETE allows from `x` (d,)."""
    axes = np.arange(5) / 4, np.arange(11) / 10, (0, 1), ([1, 0, 0], [0, 1, 0])
    return np.array([[a, b, c, *level, x[-1]] for a, b, c, level in itertools.product(*axes)])


@pytest.mark.parametrize("seed", range(8))
def test_the_optimum_of_a_discrete_space_is_that_of_enumeration(seed):
    rng = np.random.default_rng(seed)
    params, x, weights = network(rng, 7), discrete_row(rng), rng.uniform(0.1, 2, 7)
    points = every_point(x)
    accepted = logits(params, points) >= MARGIN
    costs = np.abs(points - x) @ weights
    answer = exact_search.solve(problem_of(params, x, DISCRETE, weights))
    if not accepted.any():
        assert answer.status == NONE_EXISTS
        return
    assert answer.status == OPTIMAL
    assert logits(params, answer.x[None])[0] >= MARGIN - 1e-6
    np.testing.assert_allclose(np.abs(answer.x - x) @ weights, costs[accepted].min(), atol=1e-5)


def test_a_linear_classifier_moves_the_column_of_most_slope_per_weight():
    params = models.from_layers([(array([[1.0, 2.0, -3.0]]), array([-1.0]))])
    space, x = action_space([True] * 3, [0.0] * 3, [1.0] * 3), array([0.0, 0.0, 0.5])
    for weights, end in (([1, 1, 1], [0, 0.5, 0]), ([1, 1, 9], [0.5, 1, 0.5]), ([1, 9, 2], [1, 0, 0])):
        answer = exact_search.solve(problem_of(params, x, space, weights))
        assert answer.status == OPTIMAL
        np.testing.assert_allclose(answer.x, end, atol=2 * MARGIN)


project_all = jit(jax.vmap(project, in_axes=(None, None, 0)))


@pytest.mark.parametrize("index", range(6))
def test_no_random_point_is_cheaper(index):
    """Everything that a space may have, with and without the bound of a known recourse."""
    problem = row(random_problems(70, 32), index)
    problem = problem._replace(params=row(random_classifiers(50, 32), index))
    rng = np.random.default_rng(index)
    space = problem.space
    lower, upper = jax.device_get(bounds(space, problem.x))
    lower, upper = np.maximum(lower, problem.x - 2), np.minimum(upper, problem.x + 2)
    drawn = rng.uniform(lower, upper, (NUM_DRAWN, len(lower)))
    changed = rng.random(drawn.shape) < 0.4
    points = np.asarray(project_all(space, problem.x, array(np.where(changed, drawn, problem.x))))
    accepted = logits(problem.params, points) >= MARGIN
    costs = np.where(accepted, np.abs(points - problem.x).sum(axis=1), np.inf)
    answer = exact_search.solve(problem_of(problem.params, problem.x, space))
    assert answer.status == OPTIMAL if accepted.any() else answer.status in (OPTIMAL, NONE_EXISTS)
    if answer.status == NONE_EXISTS:
        return
    cost = np.abs(answer.x - problem.x).sum()
    assert cost <= costs.min() + 1e-5
    if accepted.any():
        bounded = exact_search.solve(problem_of(problem.params, problem.x, space, known=points[np.argmin(costs)]))
        assert bounded.status == OPTIMAL
        np.testing.assert_allclose(np.abs(bounded.x - problem.x).sum(), cost, rtol=1e-4, atol=1e-5)


def test_what_the_time_limit_leaves_is_not_proved():
    rng = np.random.default_rng(0)
    params, x = network(rng, 7), discrete_row(rng)
    known = every_point(x)[np.argmax(logits(params, every_point(x)))].astype(x.dtype)
    late = exact_search.solve(problem_of(params, x, DISCRETE, known=known, time_limit=0.0))
    assert late.status == UNPROVED
    np.testing.assert_array_equal(late.x, known)
    nothing = exact_search.solve(problem_of(params, x, DISCRETE, time_limit=0.0))
    assert nothing.status == UNPROVED
    np.testing.assert_array_equal(nothing.x, x)


def test_a_solver_that_denies_a_known_recourse_is_not_believed(monkeypatch):
    rng = np.random.default_rng(0)
    params, x = network(rng, 7), discrete_row(rng)
    known = every_point(x)[np.argmax(logits(params, every_point(x)))].astype(x.dtype)
    monkeypatch.setattr(milp, "solve", lambda *_, **__: milp.Solution(None, milp.INFEASIBLE))
    denied = exact_search.solve(problem_of(params, x, DISCRETE, known=known))
    assert denied.status == UNPROVED
    np.testing.assert_array_equal(denied.x, known)


def test_a_solution_that_rounding_refuses_is_raised(monkeypatch):
    """A solver whose points lack 1e-3 of the target."""
    solve, x = milp.solve, array([0.0, 0.0])
    params = models.from_layers([(array([[1.0, 2.0]]), array([-1.0]))])

    def sloppy(program, **options):
        lower = np.where(program.upper == np.inf, program.lower - 1e-3, program.lower)
        return solve(program._replace(lower=lower), **options)

    monkeypatch.setattr(milp, "solve", sloppy)
    answer = exact_search.solve(problem_of(params, x, action_space([True] * 2, [0.0] * 2, [1.0] * 2)))
    assert answer.status == OPTIMAL
    assert logits(params, answer.x[None])[0] >= MARGIN
    np.testing.assert_allclose(answer.x, [0, 0.5], atol=2e-3)


@pytest.fixture(scope="module")
def spread():
    """`solve` for rows of one classifier, on two devices, and what the space and the classifier say of its points."""
    params = row(random_classifiers(50, 2), 1)

    def one(logit_fn, space, given):
        key, x = given
        found, status = exact.solve(exact.Exact(spheres=SPHERES), key, logit_fn, x, space)
        return found, status, allows(space, x, found.x), logit_fn(found.x)

    run = jit(lambda logit_fn, space, given: map_users(partial(one, logit_fn, space), given))
    rows = random_rows(51, NUM, margin=-0.05)
    return params, rows, run(models.classifier(params), full_space(), (split(3, NUM), rows))


def test_one_callback_serves_rows_on_two_devices(spread):
    params, rows, (found, status, allowed, logit) = spread
    assert found.x.sharding.device_set == set(jax.devices())
    found, status, allowed, logit = jax.device_get((found, status, allowed, logit))
    np.testing.assert_array_equal(status, np.where(found.valid, OPTIMAL, NONE_EXISTS))
    assert np.all(logit[found.valid] >= MARGIN)
    assert allowed.all()
    for index in range(4):
        alone = exact_search.solve(problem_of(params, rows[index], full_space()))
        costs = [np.abs(point - rows[index]).sum() for point in (found.x[index], alone.x)]
        np.testing.assert_allclose(*costs, rtol=1e-4)
        assert status[index] == alone.status


def linear(slopes, bias):
    return models.from_layers([([slopes], [bias])])


def solve_linear(slopes, bias, upper, x=None, **changes):
    """The answer for a linear classifier, and columns from 0 to `upper` (d,)."""
    x = np.zeros(len(upper), np.float32) if x is None else x
    space = action_space([True] * len(upper), np.zeros(len(upper)), upper)
    return exact_search.solve(problem_of(linear(slopes, bias), x, space, **changes))


def test_bounds_far_away_are_reached():
    answer = solve_linear([1e-3], -2.0, [5000.0])
    assert answer.status == OPTIMAL
    np.testing.assert_allclose(answer.x, [2001], rtol=1e-4)
    cheap = solve_linear([1e-3, 1.0], -2.0, [5000.0, 5000.0], weights=[1e-6, 1])
    np.testing.assert_allclose(cheap.x, [2001, 0], rtol=1e-4)


def test_a_column_without_a_bound_proves_nothing_beyond_its_limit():
    assert solve_linear([1e-3], -2.0, [np.inf]).status == UNPROVED
    assert solve_linear([1.0], -2.0, [np.inf], known=array([3.0])).status == OPTIMAL


def test_the_scale_of_the_weights_does_not_matter():
    space = action_space([True] * 4, [0.0] * 4, [1.0] * 4)
    params, x = network(np.random.default_rng(3), 4), np.full(4, 0.5, np.float32)
    one, tiny = (exact_search.solve(problem_of(params, x, space, weights=np.full(4, scale))) for scale in (1, 1e-6))
    assert one.status == tiny.status == OPTIMAL
    np.testing.assert_allclose(np.abs(one.x - x).sum(), np.abs(tiny.x - x).sum(), rtol=1e-4)


def test_a_point_that_meets_the_margin_exactly_is_not_proved_away():
    everything = [1.0] * 14
    assert solve_linear(everything, -14.0 + MARGIN, everything).status != NONE_EXISTS


def test_each_row_has_its_own_margin():
    space, logit_fn = action_space([True] * 2, [0.0] * 2, [1.0] * 2), models.classifier(linear([1.0, 1.0], -1.0))

    def status(margin):
        return exact.solve(
            exact.Exact(spheres=SPHERES, margin=margin), jax.random.key(0), logit_fn, jnp.zeros(2), space
        )[1]

    assert jax.vmap(status)(array([0.5, 1.5])).tolist() == [OPTIMAL, NONE_EXISTS]


def test_wrong_arguments_are_named():
    space, x, key = full_space(), random_rows(0, 1)[0], jax.random.key(0)
    classifier = models.classifier(row(random_classifiers(50, 2), 1))
    with pytest.raises(ValueError, match=r"logit_fn: must be a models.Classifier.*; got "):
        exact.generate(exact.Exact(), key, lambda x: x[0], x, space)
    with pytest.raises(ValueError, match=r"weights: must have shape \(12,\), as x has; got \(3,\)"):
        exact.generate(exact.Exact(weights=jnp.ones(3)), key, classifier, x, space)
    with pytest.raises(ValueError, match="weights: must be finite and not negative"):
        exact.generate(exact.Exact(weights=-jnp.ones(12)), key, classifier, x, space)
