"""The derivative of each row of `METHODS`, against differences of the same recourse with its direction held."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods import BLIND, QUICK, fit_all, generate, small
from reference import ON_ROWS, hold_direction, move
from spaces import (
    WIDTH,
    Problems,
    array,
    jit,
    random_problems,
    random_rows,
    row,
    split,
    widen,
)

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.recourse import METHODS, bind
from hare_jax.space import bounds, is_category

NUM, NUM_FEW, NUM_AGAIN, NUM_FITTED = 1000, 60, 200, 4
COST, LOGIT, POINT = 0, 1, slice(2, None)  # what is differentiated: `sum |x_cf - x|`, the logit at `x_cf`, and `x_cf`
NUM_OUTPUTS = 2 + WIDTH
STEP = 1e-6  # of the central differences


class Case(NamedTuple):
    """A method's answers to all problems and their derivatives, in float64."""

    name: str
    problems: Problems
    recourse: Recourse
    jacobian: Any  # in (params, x), leaves (n, NUM_OUTPUTS, ...)
    directions: Any  # likewise, leaves (n, ...)
    fitted: Any
    keys: jax.Array


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
    """The recourses (n, d), and derivatives (n, 2, NUM_OUTPUTS) in the directions of the classifier and the factual."""

    def one(fitted, key, space, x, params, direction):
        call = partial(pipeline, name, fitted, key, space)
        push = partial(jax.jvp, call, (params, x), has_aux=True)
        values, slopes, _ = jax.vmap(lambda part: push(only(direction, part)))(jnp.arange(2))
        return values[0, POINT], slopes

    return jax.vmap(one)(fitted, keys, *problems, directions)


def only(direction, part):
    """The direction in (params, x), of which only one part is not 0."""
    params, x = direction
    return jax.tree.map(lambda leaf: jnp.where(part == 0, leaf, 0), params), jnp.where(part == 1, x, 0)


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
    fitted = fit_all(name, split(14, NUM_FITTED), row(problems, some), rows, small)
    return row(fitted, np.arange(num) % NUM_FITTED), split(15, num), problems


CASES = [(name, NUM_FEW) for name in QUICK]
CASES += [pytest.param((name, NUM if name in BLIND else NUM_AGAIN), marks=pytest.mark.slow) for name in METHODS]


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
    recourse, jacobian = jax.device_get(reverse(name, *prepare(name, make_problems(NUM_AGAIN), random_rows(9, 64))))
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
    """The search runs once more, and may end elsewhere by rounding."""
    some = slice(None, None, max(len(slopes) // NUM_AGAIN, 1))
    with jax.enable_x64(True):
        given = row((case.fitted, case.keys, case.problems, case.directions), some)
        points, tangents = jax.device_get(forward(case.name, *given))
    same = np.all(np.abs(points - case.recourse.x[some]) < 1e-12, axis=1)
    assert np.mean(same) > 0.95
    np.testing.assert_allclose(tangents[same], slopes[some][same], rtol=1e-7, atol=1e-9)


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
    if case.name not in BLIND:
        pytest.skip("the method reads the classifier's weights")
    moving = moves_with_classifier(case)[:, COST]
    chosen = [*np.flatnonzero(moving)[:2], *np.flatnonzero(case.recourse.valid & ~moving)[:2]]
    keys, rows = split(14, NUM_FITTED), widen(random_rows(9, 64))
    with jax.enable_x64(True):
        for index in chosen:
            number = index % NUM_FITTED
            other = row(case.problems, NUM_FITTED + number)
            logit_fn = models.classifier(other.params)
            bound = bind(case.name, keys[number], logit_fn, rows, other.space, **small(case.name))
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
