"""Expectation propagation for one Gaussian posterior: each answer is a site that depends on one projection of theta.

Notation: `theta ~ N(mean, cov)` (d,); an answer about recourses a and b depends on `f = plane . theta + offset`, the
difference of their utilities. Its likelihood is a probit with lapses,
`lapse + (1 - 2 lapse) Phi(f / sqrt(noise))`, or, for a tie, `N(0 | f, noise)`. Each is approximated by an unnormalised
Gaussian site in `plane . theta` with a precision and a shift (precision times mean). The cavity is the posterior
without the site; the tilted distribution is the cavity times the exact likelihood; the new site makes the moments of
the approximation equal to those of the tilted distribution. Minka (2001), https://arxiv.org/abs/1301.2294; Rasmussen
and Williams (2006), "Gaussian Processes for Machine Learning", section 3.6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

TINY = 1e-12  # added to a variance that may be zero
_LEAST_KEPT = 1e-3  # of the marginal precision, in a cavity
_LEAST_PROBABILITY = 1e-8  # of an answer
_MOST_CURVATURE = 0.999  # -d^2 log Z / d mean^2 of a cavity, relative to its precision


class Site(NamedTuple):
    """One answer, and its Gaussian approximation."""

    plane: Array  # (d,); zeros where there is no answer
    offset: Array  # ()
    noise: Array  # () variance
    tied: Array  # () bool
    precision: Array  # () of the approximation, along `plane . theta`
    shift: Array  # () precision times mean


class Normal(NamedTuple):
    """A univariate normal distribution."""

    mean: Array  # ()
    variance: Array  # ()


class SiteFit(NamedTuple):
    """Natural parameters of a site, and its contribution to the marginal likelihood."""

    precision: Array  # ()
    shift: Array  # ()
    log_likelihood: Array  # () log of the cavity's expectation of the likelihood


def update_site(mean: Array, cov: Array, lapse: Array, site: Site) -> tuple[Array, Array, SiteFit]:
    """Fit one site again: the posterior's new `mean` (d,) and `cov` (d, d), and the site's new parameters."""
    along = cov @ site.plane
    marginal = Normal(site.plane @ mean, jnp.maximum(site.plane @ along, TINY))
    cavity = _cavity(marginal, site)
    probit, tie = _fit_probit(cavity, lapse, site), _fit_tie(cavity, site)
    fit = jax.tree.map(lambda tie, probit: jnp.where(site.tied, tie, probit), tie, probit)
    answered = jnp.any(site.plane != 0)
    fit = jax.tree.map(lambda leaf: jnp.where(answered, leaf, 0), fit)
    mean, cov = _rank_one_update(mean, cov, along, marginal, fit.precision - site.precision, fit.shift - site.shift)
    return mean, cov, fit


def sweep(mean: Array, cov: Array, lapse: Array, sites: Site) -> tuple[Array, Array, Site]:
    """Update all T sites (leaves (T, ...)) once, in order."""

    def step(carry: tuple[Array, Array], site: Site) -> tuple[tuple[Array, Array], Site]:
        mean, cov, fit = update_site(*carry, lapse, site)
        return (mean, cov), site._replace(precision=fit.precision, shift=fit.shift)

    (mean, cov), sites = jax.lax.scan(step, (mean, cov), sites)
    return mean, (cov + cov.T) / 2, sites


def _cavity(marginal: Normal, site: Site) -> Normal:
    """The marginal of `plane . theta` without the site: R&W, equation 3.56."""
    kept = jnp.maximum(1 - site.precision * marginal.variance, _LEAST_KEPT)
    return Normal((marginal.mean - site.shift * marginal.variance) / kept, marginal.variance / kept)


def _fit_probit(cavity: Normal, lapse: Array, site: Site) -> SiteFit:
    """Match the moments of the cavity times a probit with lapses, by the derivatives of log Z: R&W, 3.58 and 3.59."""
    sd = jnp.sqrt(cavity.variance + site.noise + TINY)
    t = (cavity.mean + site.offset) / sd
    z = jnp.maximum(lapse + (1 - 2 * lapse) * norm.cdf(t), _LEAST_PROBABILITY)
    slope = (1 - 2 * lapse) * norm.pdf(t) / (z * sd)  # d log Z / d mean
    curvature = jnp.clip(slope * (slope + t / sd), 0, _MOST_CURVATURE / cavity.variance)  # -d^2 log Z / d mean^2
    kept = 1 - curvature * cavity.variance
    return SiteFit(curvature / kept, (slope + cavity.mean * curvature) / kept, jnp.log(z))


def _fit_tie(cavity: Normal, site: Site) -> SiteFit:
    """The exact site of a tie, a Gaussian measurement of the difference as 0, and its log likelihood over its peak."""
    precision = 1 / (site.noise + TINY)
    variance = cavity.variance + site.noise + TINY
    t = (cavity.mean + site.offset) / jnp.sqrt(variance)
    return SiteFit(precision, -site.offset * precision, -(t**2 + jnp.log(variance * precision)) / 2)


def _rank_one_update(
    mean: Array, cov: Array, along: Array, marginal: Normal, precision: Array, shift: Array
) -> tuple[Array, Array]:
    """Add `precision` and `shift` along the plane, `along = cov @ plane`: R&W, equation 3.70."""
    scale = 1 / (1 + precision * marginal.variance)
    mean = mean + along * ((shift - precision * marginal.mean) * scale)
    return mean, cov - along[:, None] * along[None, :] * (precision * scale)
