"""The derivative of each row of `METHODS`, against differences of the same recourse with its direction held."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jax.tree_util import Partial
from methods import QUICK, fit_all, generate, quick
from spaces import (
    WIDTH,
    Problems,
    array,
    full_space,
    jit,
    random_classifiers,
    random_problems,
    random_rows,
    row,
    split,
    tanh_logit,
    widen,
)

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.recourse import METHODS, bind, derivative
from hare_jax.recourse.roar import Roar, worst_logit
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import bounds, is_category

NUM, NUM_FEW, NUM_SMOOTH, NUM_FITTED = 1000, 60, 6, 4
ON_ROWS = ("face", "nnce")  # their recourses are training rows
COST, LOGIT, POINT = 0, 1, slice(2, None)  # what is differentiated: `sum |x_cf - x|`, the logit at `x_cf`, and `x_cf`
NUM_OUTPUTS = 2 + WIDTH
STEP, NUM_NEWTON = 1e-6, 4  # of the central differences; of the reference that has no search
NUM_BISECTIONS, FURTHER = 45, 1.05  # at second order, where the points have to be exact
NEAR_MARGIN = 1e-4  # logits: a recourse that was scaled back


class Case(NamedTuple):
    """A method's answers to all problems and their derivatives, in float64."""

    name: str
    problems: Problems
    recourse: Recourse
    jacobian: Any  # in (params, x), leaves (n, NUM_OUTPUTS, ...)
    directions: Any  # likewise, leaves (n, ...)
    fitted: Any
    keys: jax.Array


class Held(NamedTuple):
    """What the derivative of one recourse holds constant, and the level of the score that it keeps."""

    x_cf: jax.Array  # (d,)
    change: jax.Array  # (d,)
    constant: jax.Array  # (d,) bool
    scaled: jax.Array  # (d,) bool
    radius: jax.Array  # () of ROAR's ball, 0 for the other methods
    level: jax.Array  # ()
    moves: jax.Array  # () bool: whether the point follows the boundary


def make_problems(num):
    """Refused, accepted and hopeless rows, at the bounds and outside of them; some change categories alone, or nothing.

    With 1,000 rows, 100 change categories alone, and 20 nothing.
    """
    space, x, params = random_problems(40, num)
    index = np.arange(num)[:, None]
    mutable = space.mutable & ((space.step == 1) | (index >= num // 10)) & (index < num - num // 50)
    at_bound = (index % 4 == 0) & (space.group < 0) & (space.step < 1)
    x = np.where(at_bound, np.clip(x, space.lower, space.upper), x)
    return Problems(space._replace(mutable=mutable), array(x), params)


def outputs(params, x, x_cf):
    return jnp.concatenate([jnp.stack([jnp.sum(jnp.abs(x_cf - x)), models.logit(params, x_cf)]), x_cf])


def pipeline(name, fitted, key, space, params, x):
    found = generate(name, fitted, key, Problems(space, x, params))
    return outputs(params, x, found.x), found


@partial(jit, static_argnums=0)
def reverse(name, fitted, keys, problems):
    """The recourses, and the Jacobians (NUM_OUTPUTS, ...) of their outputs in (params, x), by reverse mode."""

    def one(fitted, key, space, x, params):
        _, pull, found = jax.vjp(partial(pipeline, name, fitted, key, space), params, x, has_aux=True)
        return found, jax.vmap(pull)(jnp.eye(NUM_OUTPUTS, dtype=x.dtype))

    return jax.vmap(one)(fitted, keys, *problems)


@partial(jit, static_argnums=0)
def forward(name, fitted, keys, problems, directions):
    """Derivatives (n, 2, NUM_OUTPUTS) in the direction of the classifier and in that of the factual."""

    def one(fitted, key, space, x, params, direction):
        call = partial(pipeline, name, fitted, key, space)
        push = partial(jax.jvp, call, (params, x), has_aux=True)
        return jax.vmap(lambda part: push(only(direction, part))[1])(jnp.arange(2))

    return jax.vmap(one)(fitted, keys, *problems, directions)


def only(direction, part):
    """The direction in (params, x), of which only one part is not 0."""
    params, x = direction
    return jax.tree.map(lambda leaf: jnp.where(part == 0, leaf, 0), params), jnp.where(part == 1, x, 0)


def score(name, logit, params, radius, z):
    return worst_logit(partial(logit, params), z, radius=radius) if name == "roar" else logit(params, z)


def hold_direction(name, logit, space, x, params, found):
    """The rules of `scale_back` and of `constant`, from the recourse alone."""
    change, (lower, upper) = found.x - x, bounds(space, x)
    keeps = is_category(space) | (found.x <= lower + 1e-12) | (found.x >= upper - 1e-12)
    if name in ON_ROWS:
        keeps |= space.step == 0
    constant = found.valid & (change != 0) & keeps
    scaled = found.valid & (change != 0) & ~constant & (space.step == 0)
    radius = jnp.asarray(Roar().radius if name == "roar" else 0, x.dtype)
    radius = jnp.where(score(name, logit, params, radius, found.x) >= MARGIN - NEAR_MARGIN, radius, 0)
    level = score(name, logit, params, radius, found.x)
    near = (level >= MARGIN) & (level < MARGIN + NEAR_MARGIN)
    return Held(found.x, change, constant, scaled, radius, level, jnp.any(scaled) & near)


def move(name, held, params, x):
    """The point (d,) in the direction held at which the score keeps its level, by Newton's method."""

    def at(t):
        return jnp.where(held.constant, held.x_cf, x + jnp.where(held.scaled, t, 1) * held.change)

    def newton(_, t):
        excess, slope = jax.value_and_grad(
            lambda t: score(name, models.logit, params, held.radius, at(t)) - held.level
        )(t)
        return jnp.where(held.moves, t - excess / jnp.where(slope == 0, 1, slope), t)

    return at(jax.lax.fori_loop(0, NUM_NEWTON, newton, jnp.ones((), x.dtype)))


def units(params, x):
    first = models.to_layers(params)[0]
    return first.weight @ x + first.bias > 0


@partial(jit, static_argnums=0)
def difference(name, problems, recourse, directions):
    """Central differences (n, 2, NUM_OUTPUTS), and whether (n, 2) a unit of the classifier switches in between."""

    def one(space, x, params, found, direction):
        held = hold_direction(name, models.logit, space, x, params, found)

        def at(index, step):
            moved = jax.tree.map(lambda a, b: a + step * b, (params, x), only(direction, index))
            x_cf = move(name, held, *moved)
            return outputs(*moved, x_cf), units(moved[0], x_cf)

        ends = [(at(index, STEP), at(index, -STEP)) for index in (0, 1)]
        slopes = [(after[0] - before[0]) / (2 * STEP) for after, before in ends]
        return jnp.stack(slopes), jnp.stack([jnp.any(after[1] != before[1]) for after, before in ends])

    return jax.vmap(one)(*problems, recourse, directions)


def prepare(name, problems, rows):
    """The method fitted for a few of the problems, and the keys of all."""
    some, num = slice(NUM_FITTED, 2 * NUM_FITTED), len(problems.x)
    fitted = fit_all(name, split(14, NUM_FITTED), row(problems, some), rows)
    return row(fitted, np.arange(num) % NUM_FITTED), split(15, num), problems


CASES = [(name, NUM_FEW) for name in QUICK] + [pytest.param((name, NUM), marks=pytest.mark.slow) for name in METHODS]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request):
    name, num = request.param
    problems, rows = widen((make_problems(num), random_rows(9, 64)))
    with jax.enable_x64(True):
        fitted, keys, problems = prepare(name, problems, rows)
        recourse, jacobian = jax.device_get(reverse(name, fitted, keys, problems))
        rng = np.random.default_rng(16)
        directions = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), (problems.params, problems.x))
    return Case(name, problems, recourse, jacobian, directions, fitted, keys)


@pytest.fixture(scope="module")
def slopes(case):
    """Derivatives (n, 2, NUM_OUTPUTS) in the directions, by reverse mode."""
    num = len(case.problems.x)

    def dot(jacobian, direction):
        return np.sum((jacobian * direction[:, None]).reshape(num, NUM_OUTPUTS, -1), axis=2)

    parts = [jax.tree.leaves(jax.tree.map(dot, *each)) for each in zip(case.jacobian, case.directions, strict=True)]
    return np.stack([sum(part) for part in parts], axis=1)


def all_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def moves_with_classifier(case):
    """Which outputs (n, NUM_OUTPUTS) have a derivative in the classifier's parameters."""
    leaves = jax.tree.leaves(case.jacobian[0])
    return sum(np.any(leaf.reshape(*leaf.shape[:2], -1) != 0, axis=2) for leaf in leaves) > 0


def test_the_rows_are_of_every_kind(case):
    space, x, params = case.problems
    logits = jit(jax.vmap(models.logit))(params, x)
    outside = np.any((x < space.lower) | (x > space.upper), axis=1)
    categories = ~np.any(space.mutable & (space.step != 1), axis=1)
    at_bound = np.any(space.mutable & ((x == space.lower) | (x == space.upper)) & (space.step == 0), axis=1)
    nothing = ~np.any(space.mutable, axis=1)
    least = len(x) // 50
    for kind in (logits < 0, logits > 0.01, outside, categories, at_bound, nothing, ~case.recourse.valid):
        assert np.sum(kind) >= least
    assert np.sum(case.recourse.valid & (logits < 0)) >= 5 * least


def test_derivatives_are_finite_in_every_row(case):
    assert case.recourse.x.dtype == "float64"
    assert all_finite(case.jacobian)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_derivatives_are_finite_in_every_row_of_float32(name):
    recourse, jacobian = jax.device_get(reverse(name, *prepare(name, make_problems(NUM), random_rows(9, 64))))
    assert recourse.x.dtype == jacobian[1].dtype == "float32"
    assert all_finite(jacobian)


def test_derivatives_are_those_of_the_pipeline_with_its_direction_held(case, slopes):
    with jax.enable_x64(True):
        expected, kinks = jax.device_get(difference(case.name, case.problems, case.recourse, case.directions))
    smooth = ~kinks
    assert np.mean(smooth) >= 0.99
    largest = np.abs(case.recourse.x).max(axis=1)  # AR's failures may be far away, where the bounds are infinite
    rounding = 1e-7 + 4 * np.finfo(float).eps / STEP * largest[:, None, None]
    assert np.all(np.abs(slopes - expected)[smooth] <= (1e-5 * np.abs(expected) + rounding)[smooth])


def test_forward_mode_is_reverse_mode(case, slopes):
    with jax.enable_x64(True):
        tangents = forward(case.name, case.fitted, case.keys, case.problems, case.directions)
    np.testing.assert_allclose(tangents, slopes, rtol=1e-9, atol=1e-9)


def test_the_cost_of_a_failed_row_is_constant(case):
    failed = row(case.jacobian, ~case.recourse.valid)
    for leaf in jax.tree.leaves(failed):
        np.testing.assert_allclose(leaf[:, COST], 0, atol=1e-12)


def test_which_points_move_with_the_classifier(case):
    moves = moves_with_classifier(case)[:, POINT]
    if case.name in ON_ROWS:
        assert not moves.any()
        return
    space, x, _ = case.problems
    at_bound = (case.recourse.x == space.lower) | (case.recourse.x == space.upper)
    free = np.any((case.recourse.x != x) & (space.step == 0) & ~at_bound, axis=1)
    assert np.mean(moves.any(axis=1)[case.recourse.valid & free]) > 0.9
    assert not moves[~case.recourse.valid].any()


def test_immutable_columns_move_with_the_factual(case):
    fixed = ~case.problems.space.mutable
    assert case.recourse.x[fixed].tobytes() == case.problems.x[fixed].tobytes()
    expected = np.broadcast_to(np.eye(WIDTH), (len(fixed), WIDTH, WIDTH))
    np.testing.assert_array_equal(case.jacobian[1][:, POINT][fixed], expected[fixed])
    assert not moves_with_classifier(case)[:, POINT][fixed].any()


@jit
def closure_slopes(bound, key, space, x, params):
    """Gradients of the cost, one by one, with the classifier's arrays out of sight of the method."""

    def cost(params, x):
        return jnp.sum(jnp.abs(bound(key, lambda z: models.logit(params, z), x, space).x - x))

    return jax.grad(cost, argnums=(0, 1))(params, x)


def test_a_bound_method_and_a_classifier_that_is_a_closure(case):
    moving = moves_with_classifier(case)[:, COST]
    chosen = [*np.flatnonzero(moving)[:2], *np.flatnonzero(case.recourse.valid & ~moving)[:2]]
    keys, rows = split(14, NUM_FITTED), widen(random_rows(9, 64))
    with jax.enable_x64(True):
        for index in chosen:
            number = index % NUM_FITTED
            other = row(case.problems, NUM_FITTED + number)
            logit_fn = models.classifier(other.params)
            bound = bind(case.name, keys[number], logit_fn, rows, other.space, **quick(case.name))
            found = closure_slopes(bound, case.keys[index], *row(case.problems, index))
            for one, all_of_them in zip(*map(jax.tree.leaves, (found, case.jacobian)), strict=True):
                np.testing.assert_allclose(one, all_of_them[index, COST], rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("dice", "many"), ("face", "path")])
def test_points_of_sets_and_paths_are_constant_in_the_classifier(name, kind):
    problems, rows = widen((make_problems(NUM_FEW), random_rows(9, 64)))

    @jit
    def jacobians(fitted, keys, problems):
        def one(fitted, key, space, x, params):
            def points(params, x):
                found = getattr(METHODS[name], kind)(fitted, key, models.classifier(params), x, space)
                return found.x, found

            slopes, found = jax.jacrev(points, argnums=(0, 1), has_aux=True)(params, x)
            return slopes, found, is_category(space), bounds(space, x)

        return jax.vmap(one)(fitted, keys, *problems)

    with jax.enable_x64(True):
        fitted = prepare(name, problems, rows)
        (by_params, by_x), found, category, (lower, upper) = jax.device_get(jacobians(*fitted))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(by_params))
    valid = found.valid.reshape(*found.valid.shape, *[1] * (found.x.ndim - found.valid.ndim))
    held = category | (problems.space.step == 0)
    held = held[:, None] | (found.x <= lower[:, None]) | (found.x >= upper[:, None])
    fixed = valid & (found.x != problems.x[:, None]) & held
    assert 0.05 < fixed.mean() < 0.95
    np.testing.assert_array_equal(by_x, np.where(fixed, 0, 1)[..., None] * np.eye(WIDTH))


class Smooth(NamedTuple):
    """Answers to refused rows of one smooth classifier, none of which ends at a bound, and one fit for all of them."""

    fitted: Any
    params: models.Params
    x: jax.Array  # (n, d)
    keys: jax.Array  # (n,)
    held: Held  # (n, ...)


def with_margin(fitted, margin):
    hp = getattr(fitted, "hp", fitted)
    inner = {"search": replace(hp.search, margin=margin)} if hasattr(hp, "search") else {"margin": margin}
    return fitted._replace(hp=replace(hp, **inner)) if hasattr(fitted, "hp") else replace(hp, **inner)


def answers(name, fitted, keys, space, params, x, margin):
    """The points (n, d) of the method, with a smooth classifier."""
    call = partial(METHODS[name].generate, with_margin(fitted, margin))
    return jax.vmap(lambda key, x: call(key, Partial(tanh_logit, params), x, space))(keys, x)


def solve_smooth(name, space):
    """Rows are left out whose continuous columns could not go further in the same direction."""
    method, exact = METHODS[name], {} if name in ON_ROWS else {"num_boundary_steps": NUM_BISECTIONS}
    params, rows, x = widen((row(random_classifiers(50, 2), 1), random_rows(9, 64), random_rows(51, 100, margin=-0.05)))
    hp = method.hyperparams(**quick(name), **exact)
    fitted = method.fit(hp, jax.random.key(0), Partial(tanh_logit, params), rows, space)
    keys = split(15, len(x))
    found = jit(partial(answers, name))(fitted, keys, space, params, x, MARGIN)
    held = jax.vmap(partial(hold_direction, name, tanh_logit), in_axes=(None, 0, None, 0))(space, x, params, found)
    target = further(held, x)
    lower, upper = jax.vmap(bounds, in_axes=(None, 0))(space, x)
    inside = jnp.all(~held.scaled | ((target > lower) & (target < upper)), axis=1)
    refused = jax.vmap(partial(tanh_logit, params))(x) < 0
    kept = np.flatnonzero(refused & found.valid & inside & (held.moves | (name in ON_ROWS)))[:NUM_SMOOTH]
    assert len(kept) == NUM_SMOOTH
    return Smooth(fitted, params, *row((x, keys, held), kept))


def further(held, x):
    """A point in the direction held, beyond the boundary."""
    return jnp.where(held.constant, held.x_cf, x + jnp.where(held.scaled, FURTHER, 1) * held.change)


def held_search(_, __, held, ___, x, ____):
    """In place of `derivative.hold`: it takes what to hold in place of the key."""
    return jax.lax.stop_gradient(Recourse(further(held, x), jnp.array(True)))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_second_order(name, monkeypatch):
    """In the classifier's arrays, the factual and the margin; with the search, and against differences without it."""
    with jax.enable_x64(True):
        space = widen(full_space())
        case = solve_smooth(name, space)
        args = case.params, case.x, jnp.asarray(MARGIN)
        directions = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(1.0, leaf.size + 1)).reshape(leaf.shape), args)

        def curvature(keys):
            def mixed(*args):
                points = answers(name, case.fitted, keys, space, *args).x
                return jnp.sum(points**2 @ jnp.sin(jnp.arange(1.0, WIDTH + 1)))

            return jit(lambda *args: jax.jvp(jax.grad(mixed, argnums=(0, 1, 2)), args, directions)[1])(*args)

        searched = curvature(case.keys)
        monkeypatch.setattr(derivative, "hold", held_search)
        for one, other in zip(*map(jax.tree.leaves, (searched, curvature(case.held))), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        points = jax.jit(lambda *args: answers(name, case.fitted, case.held, space, *args).x)
        check_grads(points, args, order=2, modes=["fwd", "rev"], eps=1e-6)
