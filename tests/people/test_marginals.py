"""Closed forms of the prior of a column against sums over a fine grid."""

from typing import NamedTuple

import jax
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from spaces import array, jit

from hare_jax.people.marginals import Marginal, clipped_normal, moments, tilted_moments

NUM_POINTS = 20_001
MOST_SDS = 5
SPAN, TAIL = 12, 60  # s.d.s, and lengths of an exponential tail


class Clipped(NamedTuple):
    """Normal variables that are clipped to an interval."""

    centre: np.ndarray
    sd: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


CLIPPED = Clipped(
    centre=array([0.5, 0.0, 1.0, -0.4, 2.0, 0.3, 1.0]),
    sd=array([0.3, 0.3, 2.0, 0.2, 1.5, 5.0, 0.05]),
    lower=array([0.0, 0.0, 0.0, 0.0, 0.1, -np.inf, 0.0]),
    upper=array([1.0, 1.0, 1.0, 1.0, np.inf, np.inf, 1.0]),
)
CATEGORY = Marginal(  # atoms alone
    atom=array([0.0, 1.0]),
    log_mass=array(np.log([0.98, 0.02])),
    centre=array(0.0),
    variance=array(0.25),
    lower=array(0.0),
    upper=array(1.0),
    log_inside=array(-np.inf),
)
NEAR = [(0.4, 0.3), (0.5, 3.0), (0.02, 0.01), (0.95, 0.1)]  # mean and s.d. of a cavity
FAR = [(-3.0, 0.2), (4.0, 0.3), (1.3, 0.02), (60.0, 0.5), (-60.0, 0.1), (0.5, 1e-3), (0.5, 1e3)]

marginals = jit(lambda clipped: clipped_normal(*clipped))
own_moments = jit(moments)
tilted = jit(jax.vmap(tilted_moments, in_axes=(None, 0, 0)))


def points_of(mean, sd, lower, upper):
    """Points where the mass of a normal variable within an interval is."""
    low, high = max(lower, mean - SPAN * sd), min(upper, mean + SPAN * sd)
    if low >= high:  # an exponential tail from the nearer end
        end = lower if mean < lower else upper
        low, high = sorted([end, end + np.sign(end - mean) * TAIL * sd**2 / abs(end - mean)])
        low, high = max(low, lower), min(high, upper)
    return np.linspace(low, high, NUM_POINTS)


def by_sum(clipped, mean=0.0, sd=1e9):
    """Mean and variance of a clipped normal variable times a normal density, in logarithms and float64."""
    centre, scale, lower, upper = (float(value) for value in clipped)
    total = scale**2 + sd**2
    points = points_of((centre * sd**2 + mean * scale**2) / total, scale * sd / np.sqrt(total), lower, upper)
    log_p = norm.logpdf(points, centre, scale) + np.log(points[1] - points[0])
    log_p[[0, -1]] -= np.log(2)
    points = np.append(points, [lower, upper])
    log_p = np.append(log_p, [norm.logcdf(lower, centre, scale), norm.logsf(upper, centre, scale)])
    points, log_p = points[np.isfinite(points)], log_p[np.isfinite(points)]
    log_p = log_p - ((points - mean) / sd) ** 2 / 2
    share = np.exp(log_p - logsumexp(log_p))
    average = share @ points
    return average, share @ (points - average) ** 2


def test_the_moments_of_clipped_normal_variables():
    exact = np.array([by_sum(each) for each in zip(*CLIPPED, strict=True)])
    mean, variance = jax.device_get(own_moments(marginals(CLIPPED)))
    np.testing.assert_allclose(mean, exact[:, 0], atol=1e-4)
    np.testing.assert_allclose(variance, exact[:, 1], rtol=1e-3, atol=1e-5)
    draws = np.clip(np.random.default_rng(0).normal(CLIPPED.centre, CLIPPED.sd, (100_000, 7)), *CLIPPED[2:])
    np.testing.assert_allclose(mean, draws.mean(0), atol=0.05)
    np.testing.assert_allclose(np.sqrt(variance), draws.std(0), rtol=0.05)


@pytest.mark.parametrize("cavities", [NEAR, FAR], ids=["near", "far"])
def test_the_tilted_moments_of_clipped_normal_variables(cavities):
    """In float32, and where the cavity is many s.d.s from the interval."""
    priors = list(zip(*CLIPPED, strict=True))
    exact = np.array([[by_sum(each, *cavity) for each in priors] for cavity in cavities])
    means, sds = (np.repeat(array(values)[:, None], len(priors), axis=1) for values in zip(*cavities, strict=True))
    mean, variance = jax.device_get(tilted(marginals(CLIPPED), means, sds**2))
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, exact[..., 0], atol=2e-3, rtol=1e-3)
    close = distances(means, sds) < MOST_SDS
    np.testing.assert_allclose(np.sqrt(variance)[close], np.sqrt(exact[..., 1])[close], atol=2e-3, rtol=0.01)
    # where the closed form has no precision left, it is too wide at most
    assert np.all(np.sqrt(variance)[~close] <= sds[~close] * (1 + 1e-3))


def distances(means, sds):
    """How far the interval is from the mean of the product of prior and cavity, in its s.d.s."""
    total = CLIPPED.sd**2 + sds**2
    centre, sd = (CLIPPED.centre * sds**2 + means * CLIPPED.sd**2) / total, CLIPPED.sd * sds / np.sqrt(total)
    return np.maximum(np.maximum(CLIPPED.lower - centre, centre - CLIPPED.upper), 0) / sd


@pytest.mark.parametrize("cavity", [*NEAR, *FAR])
def test_the_tilted_moments_of_a_category(cavity):
    mean, sd = cavity
    log_p = np.log([0.98, 0.02]) - (np.array([0, 1]) - mean) ** 2 / (2 * sd**2)
    share = np.exp(log_p - logsumexp(log_p))[1]
    found = jax.device_get(jit(tilted_moments)(CATEGORY, array(mean), array(sd) ** 2))
    np.testing.assert_allclose(found, [share, share * (1 - share)], atol=2e-5, rtol=1e-3)


def test_what_is_far_stays_finite_and_inside():
    clipped = marginals(CLIPPED)
    means = array(np.tile(np.array([-1e4, -40, 0.5, 40, 1e4])[:, None], (1, 7)))
    for sd in (1e-4, 1e-2, 1.0, 1e3):
        mean, variance = jax.device_get(tilted(clipped, means, np.full_like(means, sd**2)))
        assert np.isfinite(mean).all()
        assert np.isfinite(variance).all()
        assert np.all(variance >= 0)
        assert np.all((mean >= CLIPPED.lower - 1e-5) & (mean <= CLIPPED.upper + 1e-5))
