from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array, jit, random_problems, split

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.evaluate import metrics
from hare_jax.recourse import growing_spheres, least_cost
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import action_space

NUM = 60


@jit
def refined(keys, problems, weights):
    def one(key, space, x, params, weights):
        logit_fn = models.classifier(params)
        base = growing_spheres.generate(growing_spheres.GrowingSpheres(num_restored=0), key, logit_fn, x, space)
        found = local_search(LocalSearch(), key, lambda z: jnp.sum(weights * jnp.abs(z - x)), logit_fn, x, base, space)
        kept = metrics.feasible(x, found.x, space).all
        costs = [metrics.weighted_cost(weights, x, each.x) for each in (base, found)]
        return base, found, kept, logit_fn(found.x), jnp.stack(costs)

    return jax.vmap(one)(keys, *problems, weights)


def test_the_result_is_never_more_expensive_refused_or_forbidden():
    weights = array(np.random.default_rng(0).uniform(0.1, 5, (NUM, 12)))
    base, found, kept, logit, costs = jax.device_get(refined(split(0, NUM), random_problems(3, NUM), weights))
    assert base.valid.mean() > 0.5
    assert np.all(found.valid >= base.valid)
    assert np.all(kept[found.valid])
    assert np.all(logit[found.valid] >= 0)
    was = base.valid & (costs[:, 0] > 0)
    assert np.all(costs[was, 1] <= costs[was, 0] * (1 + 1e-6))
    assert np.mean(costs[was, 1] < 0.95 * costs[was, 0]) > 0.3


def test_the_cheapest_of_a_linear_classifier_moves_the_best_column_alone():
    space = action_space([True] * 4, np.zeros(4), np.ones(4))
    slope, weights, x = array([1.0, 2.0, 3.0, 0.5]), array([1.0, 1.0, 3.0, 0.1]), jnp.full(4, 0.2)

    def logit_fn(z):
        return slope @ (z - 0.2) - 0.3

    @jit
    def cheapest(key):
        start = Recourse(jnp.ones(4), jnp.array(True))
        cost = partial(metrics.weighted_cost, weights, x)
        return cost(local_search(LocalSearch(num_rounds=40, margin=0.0), key, cost, logit_fn, x, start, space).x)

    assert float(cheapest(split(1, 1)[0])) <= 1.02 * 0.3 * 0.1 / 0.5  # the last column costs least for what it brings


def test_categories_are_switched_and_put_back():
    space = action_space([True] * 5, np.zeros(5), np.ones(5), group=[0, 0, 0, -1, -1], step=[0, 0, 0, 1, 0])
    x, weights = jnp.array([0.0, 0.0, 1.0, 0.0, 0.1]), jnp.array([1.0, 0.2, 1.0, 0.3, 9.0])
    slope = array([2.0, 0.6, 0.0, 0.6, 1.0])
    start = Recourse(jnp.array([1.0, 0.0, 0.0, 0.0, 0.6]), jnp.array(True))  # dear, and of another level

    @partial(jit, static_argnames="least")
    def cheapest(key, least):
        cost = partial(metrics.weighted_cost, weights, x)
        hp = LocalSearch(num_first=1, num_starts=1, num_rounds=20)
        return local_search(hp, key, cost, lambda z: slope @ z - least, x, start, space).x

    # either the middle level and yes, or, where little is asked for, yes alone
    np.testing.assert_allclose(cheapest(split(2, 1)[0], 1.2), [0, 1, 0, 1, 0.1], atol=1e-6)
    np.testing.assert_allclose(cheapest(split(2, 1)[0], 0.65), [0, 0, 1, 1, 0.1], atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [(np.ones((4, 1)), r"weights: must have shape \(4,\)"), (-np.ones(4), "must not be negative")],
)
def test_weights_that_are_none_are_an_error(weights, message):
    space = action_space([True] * 4, np.zeros(4), np.ones(4))
    hp = least_cost.LeastCost(weights=array(weights))
    with pytest.raises(ValueError, match=message):
        least_cost.generate(hp, split(0, 1)[0], jnp.sum, jnp.zeros(4), space)
