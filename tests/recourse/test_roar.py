import jax
import numpy as np
import pytest
from spaces import full_space, jit, random_problems, random_rows, split, stack

from hare_jax import models
from hare_jax.recourse import METHODS
from hare_jax.recourse.roar import DUALS, Roar, worst_logit

NUM, RADIUS = 48, 0.3
ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}


def worst_change(z, radius, norm):
    """The change of the weights and the bias, of the given norm, that hurts the point z most."""
    point = np.append(z, 1)
    largest = np.arange(len(point)) == np.argmax(np.abs(point))
    change = {"l1": np.sign(point) * largest, "l2": point / np.linalg.norm(point), "linf": np.sign(point)}[norm]
    return -radius * change


@pytest.fixture(scope="module")
def problems():
    """Linear classifiers that accept a third of the rows or so."""
    weights = np.random.default_rng(0).normal(size=(NUM, 1, 12)).astype("float32")
    x = random_rows(1, NUM, margin=-0.05)
    bias = -np.einsum("noi,ni->no", weights, x) - 0.5
    problems = random_problems(0, NUM)
    return problems._replace(space=stack([full_space()] * NUM), x=x, params=models.from_layers([(weights, bias)]))


@pytest.fixture(scope="module")
def solve(problems):
    @jit
    def one_program(hp, keys, problems):
        def one(key, problem):
            logit_fn = models.classifier(problem.params)
            return METHODS["roar"].generate(hp, key, logit_fn, problem.x, problem.space)

        return jax.vmap(one)(keys, problems)

    return lambda radius, norm="l2": jax.device_get(
        one_program(Roar(radius=radius, norm=norm), split(2, NUM), problems)
    )


@pytest.mark.parametrize("norm", DUALS)
def test_worst_logit_is_that_of_the_worst_weights(problems, norm):
    rng = np.random.default_rng(3)
    z, params = problems.x[0], jax.tree.map(lambda leaf: leaf[0], problems.params)
    (layer,) = models.to_layers(params)
    weights = np.append(layer.weight, layer.bias)
    worst = float(worst_logit(models.classifier(params), z, radius=RADIUS, norm=norm))
    change = worst_change(z, RADIUS, norm)
    assert np.linalg.norm(change, ORDERS[norm]) == pytest.approx(RADIUS)
    assert (weights + change) @ np.append(z, 1) == pytest.approx(worst, abs=1e-5)
    random = rng.normal(size=(200, 13))
    random *= RADIUS / np.linalg.norm(random, ORDERS[norm], axis=1, keepdims=True)
    assert np.all((weights + random) @ np.append(z, 1) >= worst - 1e-5)


def test_a_recourse_stays_accepted_while_the_weights_move_within_the_ball(problems, solve):
    found = solve(RADIUS)
    (layer,) = models.to_layers(problems.params)
    weights = np.concatenate([layer.weight[:, 0], layer.bias], axis=1)
    points = np.concatenate([found.x, np.ones((NUM, 1))], axis=1)
    margins = np.einsum("nd,nd->n", weights, points) - RADIUS * np.linalg.norm(points, axis=1)
    robust = found.valid & (margins >= 0)
    assert robust.sum() > NUM / 2
    random = np.random.default_rng(4).normal(size=(100, NUM, 13))
    random *= RADIUS / np.linalg.norm(random, axis=2, keepdims=True)
    logits = np.einsum("knd,nd->kn", weights + random, points)
    assert np.all(logits[:, robust] >= 0)
    worst = np.array([worst_change(x_cf, RADIUS, "l2") for x_cf in found.x])
    assert np.all(np.einsum("nd,nd->n", weights + worst, points)[robust] >= 0)
    assert np.median(margins[robust]) < 0.01  # and no further than it takes


def test_a_recourse_is_accepted_by_the_worst_weights_in_a_box(problems, solve):
    radius = 0.1
    found = solve(radius, "linf")
    (layer,) = models.to_layers(problems.params)
    weights = np.concatenate([layer.weight[:, 0], layer.bias], axis=1)
    points = np.concatenate([found.x, np.ones((NUM, 1))], axis=1)
    margins = np.einsum("nd,nd->n", weights, points) - radius * np.abs(points).sum(axis=1)
    robust = found.valid & (margins >= 0)
    assert robust.sum() > NUM / 2
    worst = np.array([worst_change(x_cf, radius, "linf") for x_cf in found.x])
    assert np.all(np.einsum("nd,nd->n", weights + worst, points)[robust] >= -1e-5)
    beyond = np.einsum("nd,nd->n", weights + 2 * worst, points)
    assert np.mean(beyond[robust] < 0) > 0.5  # the promise ends with the box


def test_without_a_robust_point_it_is_what_a_radius_of_zero_gives(problems, solve):
    plain, found = solve(0.0), solve(1e3)
    np.testing.assert_array_equal(found.x, plain.x)
    np.testing.assert_array_equal(found.valid, plain.valid)
    assert plain.valid.mean() > 0.9
    (layer,) = models.to_layers(problems.params)
    logits = np.einsum("nod,nd->n", layer.weight, plain.x) + layer.bias[:, 0]
    assert np.all(logits[plain.valid] >= 0)


def test_an_unknown_norm_is_an_error(problems):
    space, x, params = jax.tree.map(lambda leaf: leaf[0], problems)
    with pytest.raises(ValueError, match="norm: must be one of l1, l2, linf; got 'l3'"):
        METHODS["roar"].generate(Roar(norm="l3"), jax.random.key(0), models.classifier(params), x, space)
