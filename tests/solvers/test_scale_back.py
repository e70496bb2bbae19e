from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import WIDTH, array, jit, random_problems

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.evaluate import metrics
from hare_jax.solvers.boundary import MARGIN, scale_back
from hare_jax.space import action_space, bounds, is_category, project

NUM = 2000


def linear(weights, x):
    return jnp.sum(weights[:-1] * x) + weights[-1]


@pytest.fixture(scope="module")
def scaled():
    """Random problems, recourses, whether the start is accepted, recourses scaled back, and how these are judged."""
    problems = random_problems(60, NUM // 2)
    problems = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), problems)
    wishes = array(np.random.default_rng(61).uniform(-0.3, 1.3, (NUM, WIDTH)))
    wishes[: NUM // 4, 3:9] = problems.x[: NUM // 4, 3:9]  # continuous columns alone

    def one(space, x, params, wish):
        logit_fn = models.classifier(params)
        x_cf = project(space, x, wish)
        given = Recourse(x_cf, logit_fn(x_cf) >= MARGIN)
        found = scale_back(logit_fn, x, given, space)
        untouched = scale_back(logit_fn, x, given, space, num_steps=0)
        start = jnp.where(kept_columns(space, x, x_cf), x_cf, x)
        return given, found, untouched, logit_fn(start) >= MARGIN, metrics.feasible(x, found.x, space).all

    return problems, *jax.device_get(jit(jax.vmap(one))(*problems, wishes))


@jit
def logits(params, points):
    """In another program than the one that found the points."""
    return jax.vmap(models.logit)(params, points)


def kept_columns(space, x, x_cf):
    """Categories, ordered columns, and columns at a bound that they were not at before."""
    lower, upper = bounds(space, x)
    return (space.step > 0) | is_category(space) | ((x_cf != x) & ((x_cf == lower) | (x_cf == upper)))


def test_categories_ordered_columns_and_those_at_a_bound_keep_their_values(scaled):
    problems, given, found, *_ = scaled
    kept = jax.device_get(jit(jax.vmap(kept_columns))(problems.space, problems.x, given.x))
    assert np.sum(kept & (given.x != problems.x) & (problems.space.step == 0)) > 500
    np.testing.assert_array_equal(found.x[kept], given.x[kept])


def test_the_result_is_accepted_and_allowed_and_no_further_in_any_column(scaled):
    problems, given, found, _, _, allowed = scaled
    assert 500 < found.valid.sum() < 1500
    np.testing.assert_array_equal(found.valid, given.valid)
    assert np.all(logits(problems.params, found.x)[found.valid] >= 0)
    assert allowed.all()
    assert np.all(np.abs(found.x - problems.x) <= np.abs(given.x - problems.x))
    assert np.all((found.x - problems.x) * (given.x - problems.x) >= 0)


def test_the_margin_is_met_where_the_start_is_refused(scaled):
    problems, given, found, _, start_accepted, _ = scaled
    crossing = found.valid & ~start_accepted
    free = (given.x != problems.x) & (found.x != given.x)
    assert np.any(free[crossing], axis=1).mean() > 0.9
    reached = np.asarray(logits(problems.params, found.x))[crossing & free.any(axis=1)]
    assert np.all(np.abs(reached - MARGIN) < 5e-4)


def test_continuous_columns_return_to_the_factual_where_the_start_is_accepted(scaled):
    problems, given, found, _, start_accepted, _ = scaled
    chosen = found.valid & start_accepted
    assert chosen.sum() > 200
    kept = jax.device_get(jit(jax.vmap(kept_columns))(problems.space, problems.x, given.x))
    np.testing.assert_array_equal(found.x[chosen], np.where(kept, given.x, problems.x)[chosen])


def test_an_invalid_recourse_is_unchanged_bit_for_bit(scaled):
    _, given, found, *_ = scaled
    assert found.x[~given.valid].tobytes() == given.x[~given.valid].tobytes()


def test_no_steps_leave_the_value(scaled):
    _, given, _, untouched, *_ = scaled
    assert untouched.x.tobytes() == given.x.tobytes()
    np.testing.assert_array_equal(untouched.valid, given.valid)


@pytest.mark.parametrize("options", [{"num_steps": 50}, {"num_steps": 0, "width": 1e-4}])
def test_value_and_derivative_are_the_closed_form_on_a_linear_model(options):
    """`t = (margin - l(start)) / (l(end) - l(start))` along the direction held, with one column at its bound."""
    rng = np.random.default_rng(62)
    space = action_space([True] * 3 + [False], [-np.inf] * 4, [np.inf, np.inf, 1, np.inf])

    def closed(weights, x, margin, change):
        start = x.at[2].set(1.0)
        t = (margin - linear(weights, start)) / jnp.sum(weights[:2] * change[:2])
        return start.at[:2].add(t * change[:2])

    def ours(weights, x, margin, change):
        """From a recourse twice as far as the boundary, or, if no step is taken, from the boundary itself."""
        fixed = jax.lax.stop_gradient((weights, x, margin, change))
        end = closed(*fixed)
        far = end + (end - fixed[1]) * jnp.array([1, 1, 0, 0])
        given = Recourse(far if options["num_steps"] else end + 1e-9 * change, jnp.array(True))
        return scale_back(partial(linear, weights), x, given, space, margin=margin, **options).x

    with jax.enable_x64(True):
        change = rng.normal(size=(100, 4)) * [1, 1, 0, 0]
        weights, x = rng.normal(size=(100, 5)), rng.uniform(-1, 0.9, (100, 4))
        start = (weights[:, :4] * np.where(np.arange(4) == 2, 1, x)).sum(axis=1) + weights[:, 4]
        rises = np.sum(weights[:, :2] * change[:, :2], axis=1)
        kept = np.flatnonzero((start < -0.1) & (rises > 0.1))
        assert len(kept) > 15
        args = (
            *(jnp.asarray(value[kept]) for value in (weights, x)),
            jnp.full(len(kept), 0.05),
            jnp.asarray(change[kept]),
        )

        def both(fn):
            value = jit(jax.vmap(fn))(*args)
            return value, jit(jax.vmap(jax.jacrev(fn, argnums=(0, 1, 2))))(*args)

        found, expected = both(ours), both(closed)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-7)


def test_the_change_is_constant_where_no_root_is_near():
    """The recourse is far beyond the boundary, so that its logit isn't kept; or it is not valid."""
    space = action_space([True], [0.0], [1.0])

    def moved(threshold, x, valid):
        given = Recourse(jnp.array([0.8]), valid)
        return scale_back(lambda z: z[0] - threshold, x, given, space, num_steps=0, width=1e-3).x[0]

    slopes = jit(jax.grad(moved, argnums=(0, 1)))
    for threshold, valid, expected in ((0.3, True, (0, 1)), (0.9, False, (0, 1)), (0.8 - MARGIN - 1e-6, True, (1, 0))):
        by_threshold, by_x = slopes(jnp.asarray(threshold), jnp.zeros(1), jnp.array(valid))
        np.testing.assert_allclose((by_threshold, by_x[0]), expected, atol=1e-5)


@pytest.mark.parametrize("below", [0, 1, 8])
def test_a_recourse_moves_with_the_boundary_where_another_program_rounds_its_logit_below_the_margin(below):
    space = action_space(mutable=[True], lower=[0.0], upper=[2.0])
    x, recourse = jnp.zeros(1), Recourse(jnp.ones(1), jnp.array(True))
    margin = jnp.asarray(1 + below * float(jnp.finfo(x.dtype).eps))
    slope = jit(jax.grad(lambda margin: scale_back(lambda x: x[0], x, recourse, space, margin=margin).x[0]))
    assert slope(margin) == pytest.approx(1)
    assert slope(margin + 0.01) == 0  # clearly refused: held
