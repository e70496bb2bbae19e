"""Smooth answer models: probabilities, derivatives, and draws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats
from spaces import array

from hare_jax.people import Response, answering, response

CDF = {"logistic": stats.logistic.cdf, "probit": stats.norm.cdf}
DELTAS = np.array([-3.0, -0.4, 0.0, 0.7, 2.0])
LARGE = np.array([-1e3, -1e2, 1e2, 1e3])
NUM = 20_000


def utility(x, z):
    return z[0] - x[0]


@pytest.mark.parametrize("lapse", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("link", response.LINKS)
def test_the_probability_is_that_of_the_link_with_lapses(link, lapse):
    with jax.enable_x64(True):
        log_p = jax.jit(response.log_probability)(Response(link=link, sharpness=1.5, lapse=lapse), DELTAS)
    np.testing.assert_allclose(np.exp(log_p), lapse + (1 - 2 * lapse) * CDF[link](1.5 * DELTAS), rtol=1e-12)


@pytest.mark.parametrize("link", response.LINKS)
def test_the_two_answers_have_probability_one(link):
    hp = Response(link=link, lapse=0.05)
    total = sum(np.exp(jax.jit(response.log_probability)(hp, sign * array(DELTAS))) for sign in (1, -1))
    np.testing.assert_allclose(total, 1, rtol=1e-5)


@pytest.mark.parametrize("lapse", [0.0, 1e-30, 0.1])
@pytest.mark.parametrize("link", response.LINKS)
def test_large_differences_have_finite_values_and_derivatives(link, lapse):
    def log_p(sharpness, lapse, delta):
        return response.log_probability(Response(link=link, sharpness=sharpness, lapse=lapse), delta)

    @jax.jit
    @partial(jax.vmap, in_axes=(None, None, 0))
    def value_and_slopes(*args):
        return log_p(*args), jax.grad(log_p, (0, 1, 2))(*args)

    value, slopes = value_and_slopes(1.0, lapse, array(LARGE))
    assert np.isfinite(value).all()
    assert all(np.isfinite(slope).all() for slope in slopes)
    if lapse == 0 and link == "logistic":
        np.testing.assert_allclose(value, np.minimum(LARGE, 0), atol=1e-6)
        np.testing.assert_allclose(slopes[2], LARGE < 0, atol=1e-6)


@pytest.mark.parametrize("link", response.LINKS)
def test_derivatives_are_those_of_the_probability(link):
    def log_p(sharpness, lapse, delta):
        return jnp.sum(response.log_probability(Response(link=link, sharpness=sharpness, lapse=lapse), delta))

    with jax.enable_x64(True):
        check_grads(jax.jit(log_p), (1.5, 0.1, jnp.asarray(DELTAS)), order=2, modes=["fwd", "rev"])
        at_zero = jax.jit(jax.vmap(jax.grad(log_p, 1), in_axes=(None, None, 0)))(1.5, 0.0, jnp.asarray(DELTAS))
    p = CDF[link](1.5 * DELTAS)
    np.testing.assert_allclose(at_zero, (1 - 2 * p) / p, rtol=1e-9)


def test_answers_are_drawn_with_their_probability():
    hp = Response(link="probit", sharpness=2.0, lapse=0.1)
    prefers = answering(hp, jax.tree_util.Partial(utility))
    x, a, b = jnp.zeros(1), jnp.array([0.3]), jnp.array([0.1])

    @jax.jit
    def draws(key):
        return jax.vmap(lambda key: prefers(key, x, a, b))(jax.random.split(key, NUM))

    answers = draws(jax.random.key(0))
    p = 0.1 + 0.8 * stats.norm.cdf(0.4)
    assert answers.dtype == bool
    assert abs(np.mean(answers) - p) < 4 * np.sqrt(p * (1 - p) / NUM)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"link": "cauchy"}, "link: must be one of"),
        ({"sharpness": -1.0}, "sharpness: must be at least 0"),
        ({"lapse": 0.6}, "lapse: must be from 0 to 0.5"),
        ({"lapse": -0.1}, "lapse: must be from 0 to 0.5"),
    ],
)
def test_wrong_parameters_are_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        answering(Response(**wrong), jax.tree_util.Partial(utility))
