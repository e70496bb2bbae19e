from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jax.tree_util import Partial
from methods import BLIND
from spaces import WIDTH, array, jit, random_classifiers, random_problems, row, widen

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.models import Training
from hare_jax.people import PERSONS
from hare_jax.recourse import METHODS, bind
from hare_jax.recourse.cost import cheapest_move, linear_cost, penalty, recourse_cost, smoothed
from hare_jax.recourse.descent import Descent
from hare_jax.solvers.boundary import MARGIN, scale_back
from hare_jax.space import action_space, project

NUM = 200
LINEAR = [kind for kind, person in PERSONS.items() if person.features is not None]  # their parameters are (d,)


def plane(weights, x):
    return jnp.sum(weights[:-1] * x) + weights[-1]


def box(num):
    return action_space([True] * num, [0.0] * num, [1.0] * num)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def shifted(change, key, logit_fn, x, space):
    """A method that goes in the direction of `change` (d,), up to the boundary."""
    found = Recourse(project(space, x, x + change), logit_fn(x + change) >= MARGIN)
    return scale_back(logit_fn, x, found, space, num_steps=40)


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
        return recourse_cost(generate, jax.random.key(0), Partial(plane, params), x, box(3), weights)

    value, slope = jit(jax.value_and_grad(closed, argnums=(0, 1)))(params, weights)
    (found, costs), slopes = jit(jax.value_and_grad(ours, argnums=(0, 1), has_aux=True))(params, weights)
    assert 0.2 < costs.refused.mean() < 0.9
    np.testing.assert_array_equal(costs.valid, costs.refused)
    np.testing.assert_allclose(found, value, rtol=1e-7)
    for one, other in zip(slopes, slope, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def smooth(params, x):
    first, last = models.to_layers(params)
    return (last.weight @ jnp.tanh(first.weight @ x + first.bias) + last.bias)[0]


def smooth_problem():
    space, x, params = widen(random_problems(3, NUM))
    space, params = jax.tree.map(jnp.asarray, row((space, params), 0))
    return smoothed(space), jnp.asarray(x[:20]), params


@pytest.mark.slow
def test_the_mean_cost_has_two_derivatives(x64):
    space, x, params = smooth_problem()
    weights = jnp.ones((20, WIDTH))
    generate = Partial(shifted, jnp.where(space.step < 1, 0.7, 0.0))

    def cost(params, weights):
        return recourse_cost(generate, jax.random.key(0), Partial(smooth, params), x, space, weights)[0]

    assert cost(params, weights) > 0
    check_grads(jax.jit(cost), (params, weights), order=2, modes=["fwd", "rev"], eps=1e-6)


def test_gradients_are_finite_with_a_method_of_the_package():
    params = random_classifiers(4, 8)
    rows = array(np.random.default_rng(5).uniform(size=(8, WIDTH)))

    def slope(params):
        logit_fn, descent = models.classifier(params), Descent(num_steps=100)
        generate = bind("wachter", jax.random.key(0), logit_fn, rows, box(WIDTH), descent=descent)
        return jax.grad(lambda params: mean_cost(generate, params, rows), has_aux=True)(params)

    grads, costs = jax.device_get(jit(jax.vmap(slope))(params))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert costs.valid.sum() >= 3
    assert np.all(costs.refused[costs.valid])
    moving = np.any(models.to_layers(grads)[0].weight != 0, axis=(1, 2))
    np.testing.assert_array_equal(moving, costs.valid.any(axis=1))


def mean_cost(generate, params, rows):
    return recourse_cost(generate, jax.random.key(1), models.classifier(params), rows, box(WIDTH))


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


SIDEWAYS = action_space([True, False], [0.0] * 2, [1.0] * 2)
TRAINING = replace(models.PAPER, hidden=(8,), learning_rate=0.01, num_epochs=40)
ONE_WAY = Partial(shifted, array([0.9, 0.0]))


@jit
def trained(term, given=None):
    return models.fit(TRAINING, jax.random.key(8), *rows_and_labels(), term, given)


def figures(params, hidden=None, loss_fn=None):
    """Mean cost of recourse of the first rows, and accuracy."""
    (x, y), logit_fn = rows_and_labels(), models.classifier(params)
    generate = bind("growing_spheres", jax.random.key(9), logit_fn, x, SIDEWAYS)
    cost = jit(partial(recourse_cost, loss_fn=loss_fn))
    mean, _ = cost(generate, jax.random.key(10), logit_fn, x[:100], SIDEWAYS, hidden)
    return float(mean), float(models.accuracy(logit_fn, x, y))


@pytest.fixture(scope="module")
def plain():
    return trained(None)


def spheres():
    hyperparameters = {"num_samples": 8, "num_spheres": 8, "num_shrinks": 2, "num_attempts": 1}
    key, x = jax.random.key(9), rows_and_labels()[0]
    return bind("growing_spheres", key, lambda x: x[0], x, SIDEWAYS, **hyperparameters, num_boundary_steps=8)


@pytest.mark.parametrize("method", ["estimate", pytest.param("growing_spheres", marks=pytest.mark.slow)])
def test_training_with_the_cost_of_recourse_makes_it_cheaper(plain, method):
    term = penalty(0.3, SIDEWAYS, None if method == "estimate" else spheres())
    cost, accuracy = figures(plain)
    cheaper, kept = figures(trained(term))
    assert cheaper < 0.7 * cost
    assert kept > accuracy - 0.05


def test_training_with_no_strength_changes_nothing(plain):
    np.testing.assert_allclose(figures(trained(penalty(0.0, SIDEWAYS))), figures(plain), rtol=1e-3)


def test_training_brings_recourses_nearer_to_the_ideal_of_each_person(plain):
    """The ideal changes the first column by 0.1; the nearer the boundary is to it, the less a person loses."""
    x, _ = rows_and_labels()
    ideals = array(np.clip(x + np.array([0.1, 0.0]), 0, 1))
    term = penalty(0.3, SIDEWAYS, ONE_WAY, loss_fn=PERSONS["ideal"].loss)
    before, accuracy = figures(plain, ideals[:100], PERSONS["ideal"].loss)
    after, kept = figures(trained(term, ideals), ideals[:100], PERSONS["ideal"].loss)
    assert after < 0.7 * before
    assert kept > accuracy - 0.05


@pytest.mark.parametrize("kind", LINEAR)
def test_the_gradient_of_the_penalty_is_that_of_central_differences(x64, kind):
    """The direction does not depend on the classifier, so it is the same in both. Steep: a logit costs less than 1."""
    space, x, params = smooth_problem()
    params, hidden = (
        jax.tree.map(lambda leaf: 4 * leaf, params),
        jnp.asarray(np.random.default_rng(11).uniform(size=x.shape)),
    )
    term = penalty(0.5, space, Partial(shifted, jnp.where(space.step < 1, 0.7, 0.0)), loss_fn=PERSONS[kind].loss)

    @jax.jit
    def total(params):
        one = jax.vmap(term, in_axes=(0, None, None, 0))
        return jnp.sum(one(hidden, jax.random.key(0), Partial(smooth, params), x))

    assert total(params) > 0
    check_grads(total, (params,), order=1, modes=["rev"], eps=1e-6, rtol=1e-5)


def priced(term, params):
    return term(None, jax.random.key(0), Partial(plane, params), array([0.2]))


def test_the_price_of_a_logit_is_at_most_one():
    def slope(steepness):
        term = penalty(1.0, box(1), Partial(shifted, array([0.7])))
        return jit(jax.value_and_grad(partial(priced, term)))(array([steepness, -0.5 * steepness]))

    for steepness, price in ((4.0, 0.25), (0.1, 1.0)):
        value, by_params = slope(steepness)
        np.testing.assert_allclose(value, 0.3 + MARGIN / steepness, atol=1e-5)
        np.testing.assert_allclose(by_params, [-price * (0.2 + value), -price], rtol=1e-3)


def halving(params, rows):
    """`params` with another last bias, so that half of the rows are refused."""
    *others, last = models.to_layers(params)
    median = np.median(jax.vmap(models.classifier(params))(rows))
    return models.from_layers([*others, last._replace(bias=last.bias - median)])


@pytest.mark.slow
@pytest.mark.parametrize("name", BLIND)
def test_the_penalty_takes_every_method_and_every_kind_of_person(name):
    """Only a method whose recourse is a training row is constant in the classifier."""
    rows = array(np.random.default_rng(12).uniform(size=(32, WIDTH)))
    params = halving(jax.tree.map(lambda leaf: 3 * leaf[0], random_classifiers(4, 1)), rows)
    autoencoder = getattr(METHODS[name].hyperparams(), "autoencoder", None)
    quick = {} if autoencoder is None else {"autoencoder": replace(autoencoder, num_epochs=4)}
    generate = bind(name, jax.random.key(0), models.classifier(params), rows, box(WIDTH), **quick)

    def total(params, kind):
        term = penalty(0.5, box(WIDTH), generate, loss_fn=PERSONS[kind].loss)
        one = jax.vmap(term, in_axes=(0, None, None, 0))
        return jnp.sum(one(rows[::-1], jax.random.key(1), models.classifier(params), rows))

    slopes = jit(lambda params: [jax.value_and_grad(total)(params, kind) for kind in LINEAR])(params)
    for value, slope in slopes:
        leaves = jax.tree.leaves(slope)
        assert value > 0
        assert all(np.isfinite(leaf).all() for leaf in leaves)
        assert any(np.any(leaf != 0) for leaf in leaves) == (name not in ("face", "nnce"))


def test_wrong_arguments_are_named():
    x, y = rows_and_labels()
    with pytest.raises(ValueError, match="strength: must be at least 0; got -1"):
        penalty(-1.0, SIDEWAYS)
    with pytest.raises(ValueError, match="generate: must be given with a loss_fn"):
        penalty(0.1, SIDEWAYS, loss_fn=PERSONS["ideal"].loss)
    with pytest.raises(ValueError, match=r"given: must have leaves of shape \(2048, ...\), .*\(3, 2\)"):
        models.fit(TRAINING, jax.random.key(0), x, y, penalty(0.1, SIDEWAYS), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"hidden: must have leaves of shape \(2048, ...\), .*\(3, 2\)"):
        recourse_cost(ONE_WAY, jax.random.key(0), lambda x: x[0], x, SIDEWAYS, jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"warmup: must be from 0 to 1; got 1\.5"):
        models.fit(Training(warmup=1.5), jax.random.key(0), x, y)
