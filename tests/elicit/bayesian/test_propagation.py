"""Sites against sums over a fine grid of one projection of theta."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from spaces import array, jit

from hare_jax.elicit.bayesian.propagation import ColumnSites, Site, sweep, sweep_columns, update_site
from hare_jax.people.marginals import Marginal

GRID = np.linspace(-12, 12, 200_001)
MEAN, COV = array([0.3, -0.2]), array([[0.5, 0.2], [0.2, 0.4]])
PLANE = array([1.0, -0.5])


class Told(NamedTuple):
    """An answer about `PLANE . theta + offset`."""

    offset: float
    sd: float
    width: float
    lapse: float
    tied: bool


ANSWERS = [
    Told(0.2, 0.2, 0.0, 0.01, False),
    Told(0.2, 0.2, 0.5, 0.01, False),  # the difference is above the width
    Told(-1.5, 0.1, 0.3, 0.1, False),
    Told(0.2, 0.05, 0.3, 0.01, True),  # or within it
    Told(-0.6, 0.3, 0.2, 0.002, True),
    Told(0.0, 0.02, 1.0, 0.05, True),
]


def site_of(told):
    zero = array(0.0)
    values = (array(value) for value in (told.offset, told.sd**2, told.width, told.lapse))
    return Site(PLANE, *values, np.array(told.tied), zero, zero)


update = jit(update_site)


def exact(told):
    """The mean and variance of `PLANE . theta`, and the log probability of the answer."""
    mean, variance = PLANE @ MEAN, PLANE @ COV @ PLANE
    density = np.exp(-((GRID - mean) ** 2) / (2 * variance))
    gap = GRID + told.offset
    above, below = ndtr((gap - told.width) / told.sd), ndtr((-gap - told.width) / told.sd)
    p = told.lapse + (1 - 2 * told.lapse) * (1 - above - below if told.tied else above)
    share = density * p
    average = share @ GRID / share.sum()
    return average, share @ (GRID - average) ** 2 / share.sum(), np.log(share.sum() / density.sum())


@pytest.mark.parametrize("told", ANSWERS)
def test_a_site_has_the_moments_of_the_exact_likelihood(told):
    mean, cov, fit = jax.device_get(update(MEAN, COV, site_of(told)))
    average, variance, log_p = exact(told)
    np.testing.assert_allclose(fit.log_likelihood, log_p, atol=1e-3)
    np.testing.assert_allclose(PLANE @ mean, average, atol=1e-3)
    before = PLANE @ COV @ PLANE
    np.testing.assert_allclose(PLANE @ cov @ PLANE, min(variance, before), atol=2e-3)  # a site takes no precision away
    other = array([0.5, 1.0]) @ COV  # what the answer does not concern, given what it does
    residual = np.linalg.solve(COV, other) - PLANE * (other @ np.linalg.solve(COV, COV @ PLANE)) / before
    np.testing.assert_allclose(residual @ cov @ residual, residual @ COV @ residual, rtol=0.5)


@pytest.mark.parametrize(("precision", "kept"), [(0.9, False), (1.2, True)])
def test_a_site_that_is_most_of_the_precision_is_not_given_up(precision, kept):
    """All else says that the difference is 3, where the answer says nothing; a bit more, or less, than half is left."""
    plane, variance = array([1.0, 0.0]), 1 / (1 + precision)
    site = site_of(Told(0.0, 0.1, 0.0, 0.01, False))._replace(plane=plane, precision=array(precision))
    mean, cov = array([3 * variance, 0.0]), array([[variance, 0.0], [0.0, 1.0]])
    new_mean, new_cov, fit = jax.device_get(update(mean, cov, site))
    assert fit.precision == pytest.approx(precision if kept else 0, abs=0.02)
    assert new_mean[0] == pytest.approx(mean[0] if kept else 3, abs=0.05)
    assert new_cov[0, 0] == pytest.approx(variance if kept else 1, abs=0.02)


def test_sweeps_of_one_site_change_nothing_more():
    sites = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], site_of(ANSWERS[3]))
    once = jit(sweep)(MEAN, COV, sites)
    again = jit(sweep)(*once)
    jax.tree.map(lambda new, old: np.testing.assert_allclose(new, old, atol=1e-4, rtol=1e-4), again, once)


def category(share):
    """The priors of two columns: a category with this probability of 1, and nothing."""
    both = array([[0.0, 1.0]] * 2)
    log_mass = array(np.log([[1 - share, share]] * 2))
    ones, infinite = np.ones(2, MEAN.dtype), np.full(2, -np.inf, MEAN.dtype)
    return Marginal(both, log_mass, 0 * ones, 0.25 * ones, 0 * ones, ones, infinite)


@pytest.mark.parametrize(
    ("share", "measured", "sd"),
    [(0.5, 0.9, 0.6), (0.1, 0.6, 0.4), (0.02, 1.0, 0.6), (0.3, -0.4, 0.5), (0.02, 1.0, 0.4)],
)
def test_a_column_of_two_values_has_the_exact_posterior(share, measured, sd):
    """A Bernoulli variable with one normal measurement, and beside it a column without a site."""
    sweeps = 60
    prior, varies = category(share), np.array([True, False])
    precision = array([1 / (share * (1 - share)), 0.0])  # the first site has the moments of the prior
    total = precision[0] + 1 / sd**2
    mean = array([(precision[0] * share + measured / sd**2) / total, 0.0])
    cov = array(np.diag([1 / total, 1.0]))
    carry = mean, cov, ColumnSites(precision, array([precision[0] * share, 0.0]))

    @jit
    def many(carry):
        def step(carry, _):
            return sweep_columns(carry[0], carry[1], prior, varies, carry[2]), None

        return jax.lax.scan(step, carry, length=sweeps)[0]

    mean, cov, (precision, shift) = jax.device_get(many(carry))
    odds = share / (1 - share) * np.exp((2 * measured - 1) / (2 * sd**2))
    p = odds / (1 + odds)
    np.testing.assert_allclose(mean[0], p, atol=0.01)
    np.testing.assert_allclose(cov[0, 0], min(p * (1 - p), sd**2), atol=0.01)  # a site has no negative precision
    np.testing.assert_allclose([mean[1], cov[1, 1], precision[1], shift[1]], [0, 1, 0, 0])


@pytest.mark.parametrize(("lapse", "least"), [(0.0, 0.001), (0.05, 0.05), (0.4, 0.1)])
def test_an_error_rate_keeps_a_column_of_two_values_open(lapse, least):
    """The variance of the site and of the evidence together is that of the tilted distribution, which is bounded."""
    prior, sd = category(0.5), 0.05
    first = ColumnSites(array([4.0, 0.0]), array([2.0, 0.0]))
    total = 4.0 + 1 / sd**2
    mean, cov = array([(2.0 + 1.0 / sd**2) / total, 0.0]), array(np.diag([1 / total, 1.0]))
    carry = mean, cov, first
    for _ in range(20):
        carry = jit(sweep_columns)(carry[0], carry[1], prior, np.array([True, False]), carry[2], lapse)
    cavity = sd**2
    np.testing.assert_allclose(carry[1][0, 0], min(cavity, max(least * prior.variance[0], 1e-9)), rtol=0.05)
