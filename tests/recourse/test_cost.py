from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jax.tree_util import Partial
from spaces import WIDTH, array, jit, random_classifiers, random_problems, row, widen

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.evaluate import metrics
from hare_jax.models import Training
from hare_jax.recourse import bind
from hare_jax.recourse.cost import cheapest_move, linear_cost, on_boundary, penalty, recourse_cost, smoothed
from hare_jax.recourse.descent import Descent
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import action_space, project

NUM = 200


def plane(weights, x):
    return jnp.sum(weights[:-1] * x) + weights[-1]


def box(num):
    return action_space([True] * num, [0.0] * num, [1.0] * num)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@jit
def follow(problems, x_cf):
    def one(space, x, params, x_cf):
        found = on_boundary(models.classifier(params), x, x_cf, space)
        allowed = metrics.feasible(x, found, smoothed(space)).all
        return found, models.logit(params, x_cf), models.logit(params, found), allowed

    return jax.vmap(one)(*problems, x_cf)


def test_the_point_on_the_boundary_is_allowed_and_keeps_categories():
    problems = random_problems(0, NUM)
    wishes = array(np.random.default_rng(1).uniform(-0.3, 1.3, (NUM, WIDTH)))
    x_cf = jit(jax.vmap(project))(problems.space, problems.x, wishes)
    found, before, after, allowed = jax.device_get(follow(problems, x_cf))
    categories, accepted = problems.space.step == 1, before >= MARGIN
    assert np.all(allowed)
    assert np.all(after >= 0, where=accepted)
    assert np.mean(np.abs(after - MARGIN)[accepted] < 1e-4) > 0.02
    np.testing.assert_array_equal(found[categories], np.asarray(x_cf)[categories])
    np.testing.assert_array_equal(found[~accepted & (after < 0)], np.asarray(x_cf)[~accepted & (after < 0)])


def shifted(change, key, logit_fn, x, space):
    return Recourse(project(space, x, x + change), logit_fn(x + change) >= MARGIN)


def test_the_mean_cost_on_a_plane_is_the_closed_form_and_so_is_its_derivative(x64):
    """Everyone moves along the diagonal: `t = (margin - l(x)) / (w . 1)`, at a cost of `t` times their weights."""
    rng = np.random.default_rng(2)
    x, weights = jnp.asarray(rng.uniform(0, 0.3, (NUM, 3))), jnp.asarray(rng.uniform(1, 2, (NUM, 3)))
    params = jnp.array([1.0, 0.5, -0.2, -0.2])
    generate = Partial(shifted, jnp.full(3, 0.55))

    def closed(params, weights):
        logits = jax.vmap(partial(plane, params))(x)
        distance = (MARGIN - logits) / jnp.sum(params[:-1])
        return jnp.sum(jnp.where(logits < 0, distance * weights.sum(axis=1), 0)) / jnp.sum(logits < 0)

    def ours(params, weights):
        return recourse_cost(params, plane, generate, jax.random.key(0), x, box(3), weights)

    value, slope = jit(jax.value_and_grad(closed, argnums=(0, 1)))(params, weights)
    (found, costs), slopes = jit(jax.value_and_grad(ours, argnums=(0, 1), has_aux=True))(params, weights)
    assert 0.2 < costs.refused.mean() < 0.9
    np.testing.assert_array_equal(costs.valid, costs.refused)
    np.testing.assert_allclose(found, value, rtol=1e-7)
    for one, other in zip(slopes, slope, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_the_mean_cost_has_two_derivatives(x64):
    (space, x, params) = widen(random_problems(3, NUM))
    space, params = jax.tree.map(jnp.asarray, row((space, params), 0))
    x, weights = jnp.asarray(x[:20]), jnp.ones((20, WIDTH))
    generate = Partial(shifted, jnp.where(space.step < 1, 0.7, 0.0))

    def smooth(params, x):
        first, last = models.to_layers(params)
        return (last.weight @ jnp.tanh(first.weight @ x + first.bias) + last.bias)[0]

    def cost(params, weights):
        return recourse_cost(params, smooth, generate, jax.random.key(0), x, space, weights)[0]

    assert cost(params, weights) > 0
    check_grads(jax.jit(cost), (params, weights), order=2, modes=["fwd", "rev"], eps=1e-6)


def test_gradients_are_finite_with_a_method_of_the_package():
    params = random_classifiers(4, 8)
    rows = array(np.random.default_rng(5).uniform(size=(8, WIDTH)))
    weights = jnp.ones_like(rows)

    def slope(params):
        generate = bind(
            "wachter", jax.random.key(0), models.classifier(params), rows, box(WIDTH), descent=Descent(num_steps=100)
        )
        args = (models.logit, generate, jax.random.key(1), rows, box(WIDTH), weights)
        return jax.grad(recourse_cost, has_aux=True)(params, *args)

    grads, costs = jax.device_get(jit(jax.vmap(slope))(params))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert costs.valid.sum() >= 3
    assert np.all(costs.refused[costs.valid])
    moving = np.any(models.to_layers(grads)[0].weight != 0, axis=(1, 2))
    np.testing.assert_array_equal(moving, costs.valid.any(axis=1))


def test_the_cheapest_move_on_a_plane():
    """The column that gains most for its cost goes first, as far as it may, then the next."""
    params, x = array([1.0, 2.0, -1.0, 0.5, -2.0]), array([0.0, 0.75, 0.5, 0.0])
    space = action_space([True, True, True, False], [0.0] * 4, [1.0] * 4)
    weights = array([1.0, 1.0, 3.0, 1.0])
    end = jit(cheapest_move)(Partial(plane, params), x, space, weights)
    np.testing.assert_allclose(end, [0.5 + MARGIN, 1.0, 0.5, 0.0], atol=1e-6)
    cost = jit(linear_cost)
    np.testing.assert_allclose(cost(Partial(plane, params), x, space, weights), 0.75 + MARGIN, atol=1e-6)
    assert cost(Partial(plane, -params), x, space, weights) == 0


def test_the_estimate_of_the_cheapest_cost_is_finite_and_no_less_than_nothing():
    space, x, params = random_problems(6, NUM)

    def estimate(params, space, x):
        return linear_cost(models.classifier(params), x, space, jnp.ones(WIDTH, x.dtype))

    value, slope = jax.device_get(jit(jax.vmap(jax.value_and_grad(estimate)))(params, space, x))
    assert np.all(value >= 0)
    assert np.isfinite(value).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert np.mean(value > 0) > 0.2


def rows_and_labels():
    """The first column may change, and is 0 for most, as gains of capital are; the second decides and may not."""
    rng = np.random.default_rng(7)
    x = rng.uniform(size=(2048, 2))
    x[:, 0] *= rng.random(2048) < 0.1
    return array(x), array((x[:, 0] + x[:, 1] + 0.2 * rng.normal(size=2048) > 0.6).astype(int))


def test_training_with_the_cost_of_recourse_makes_it_cheaper():
    x, y = rows_and_labels()
    space = action_space([True, False], [0.0] * 2, [1.0] * 2)
    fit = jit(models.fit)
    costs, accuracies = [], []
    hp = Training(hidden=(8,), learning_rate=0.01, num_epochs=40)
    for term in (None, penalty(0.0, space), penalty(0.3, space)):
        params = fit(hp, jax.random.key(8), x, y, term)
        generate = bind("growing_spheres", jax.random.key(9), models.classifier(params), x, space)
        args = (models.logit, generate, jax.random.key(10), x[:100], space, jnp.ones((100, 2)))
        costs.append(float(jit(recourse_cost, static_argnums=1)(params, *args)[0]))
        accuracies.append(float(models.accuracy(models.classifier(params), x, y)))
    np.testing.assert_allclose(costs[1], costs[0], rtol=1e-3)
    assert costs[2] < 0.7 * costs[0]
    assert accuracies[2] > accuracies[0] - 0.05
