from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog
from spaces import WIDTH, array, jit, random_problems, random_rows, random_spaces, row, widen

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.recourse.cheapest_path import bounded, descend
from hare_jax.recourse.cost import smoothed
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import allows, bounds, is_coarse, project, weighted_l1

NUM = 100


def linear(params, x):
    return jnp.sum(params[:-1] * x) + params[-1]


def random_points(seed, spaces, x):
    """A random allowed point for each row."""
    drawn = array(np.random.default_rng(seed).uniform(-0.3, 1.3, x.shape))
    return jax.device_get(jit(jax.vmap(project))(spaces, x, drawn))


def random_weights(seed):
    return array(np.random.default_rng(seed).uniform(0.1, 5, (NUM, WIDTH)))


def least_cost(params, x, x_cf, weights, space):
    """The least weighted L1 over the continuous columns, with the others as in `x_cf`, by HiGHS."""
    free = space.mutable & (space.step == 0)
    lower, upper = (np.asarray(bound) for bound in bounds(space, x))
    start = np.where(free, x, x_cf)
    room = np.concatenate([(upper - x)[free], (x - lower)[free]])
    gain = np.concatenate([params[:-1][free], -params[:-1][free]])
    need = MARGIN - linear(params, start)
    found = linprog(np.tile(weights[free], 2), -gain[None, :], [-need], bounds=[(0, most) for most in room])
    return found.fun + np.sum(weights * np.abs(start - x))


def test_the_global_minimum_for_a_linear_classifier():
    spaces, x, weights = jit(jax.vmap(smoothed))(random_spaces(0, NUM)), random_rows(1, NUM), random_weights(2)
    params = array(np.random.default_rng(3).normal(size=(NUM, WIDTH + 1)))
    problems = params, x, random_points(4, spaces, x), weights, jax.device_get(spaces)

    def one(params, x, x_cf, weights, space):
        logit_fn = partial(linear, params)
        found = Recourse(x_cf, logit_fn(x_cf) >= MARGIN)
        return descend(bounded(logit_fn, x, space, weights, MARGIN), found, 8)

    with jax.enable_x64(True):
        problems = widen(problems)
        found = jax.device_get(jit(jax.vmap(one))(*problems))
        for index in np.flatnonzero(found.valid):
            _, x, _, weights, _ = problem = row(problems, index)
            cost = np.sum(weights * np.abs(found.x[index] - x))
            assert cost == pytest.approx(least_cost(*problem), rel=1e-6, abs=1e-6)
    assert found.valid.sum() > 30


def test_a_cheaper_allowed_recourse_for_any_classifier():
    problems, weights = random_problems(5, NUM), random_weights(8)
    target = random_points(9, problems.space, problems.x)

    def one(space, x, params, x_cf, weights):
        logit_fn = models.classifier(params)
        given = Recourse(x_cf, logit_fn(x_cf) >= MARGIN)
        found = descend(bounded(logit_fn, x, space, weights, MARGIN), given, 16)
        costs = weighted_l1(weights, x, x_cf), weighted_l1(weights, x, found.x)
        return given, found, *costs, logit_fn(found.x), allows(space, x, found.x), is_coarse(space, x)

    given, found, before, after, logits, allowed, coarse = jax.device_get(
        jit(jax.vmap(one))(*problems, target, weights)
    )
    valid, fixed = given.valid, ~problems.space.mutable | coarse
    assert valid.sum() > 30
    assert np.mean(after[valid] < 0.99 * before[valid]) > 0.5
    assert np.all(after <= before)
    assert np.all(logits >= MARGIN / 2, where=valid)
    assert allowed.all()
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.x[fixed], given.x[fixed])
    np.testing.assert_array_equal(found.x[~valid], given.x[~valid])
