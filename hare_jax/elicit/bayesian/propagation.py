"""Expectation propagation for one Gaussian posterior: each answer is a site that depends on one projection of theta.

Notation: `theta ~ N(mean, cov)` (d,); an answer about recourses a and b depends on `f = plane . theta + offset`, the
difference of their utilities. Its likelihood is a probit with lapses,
`lapse + (1 - 2 lapse) Phi(f / sqrt(noise))`, or, for a tie, `N(0 | f, noise)`. Each is approximated by an unnormalised
Gaussian site in `plane . theta` with a precision and a shift (precision times mean). The cavity is the posterior
without the site; the tilted distribution is the cavity times the exact likelihood; the new site makes the moments of
the approximation equal to those of the tilted distribution. Minka (2001), https://arxiv.org/abs/1301.2294; Rasmussen
and Williams (2006), "Gaussian Processes for Machine Learning", section 3.6.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

from hare_jax.people.marginals import Marginal, tilted_moments

TINY = 1e-12  # added to a variance that may be zero
_LEAST_KEPT = 1e-3  # of the marginal precision, in a cavity
_LEAST_PROBABILITY = 1e-8  # of an answer
_LEAST_CURVATURE = 0.0
_LEAST_SCALE = 1e-3  # of the marginal precision, after an update
_LEAST_TILTED = 1e-3  # of a column's prior variance
_DAMPING = 0.8  # share of the new parameters of a column's site
_MOST_CURVATURE = 0.999  # -d^2 log Z / d mean^2 of a cavity, relative to its precision


class Site(NamedTuple):
    """One answer, and its Gaussian approximation."""

    plane: Array  # (d,); zeros where there is no answer
    offset: Array  # ()
    noise: Array  # () variance
    width: Array  # () least difference of utilities that is told apart
    lapse: Array  # ()
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


def update_site(mean: Array, cov: Array, site: Site) -> tuple[Array, Array, SiteFit]:
    """Fit one site again: the posterior's new `mean` (d,) and `cov` (d, d), and the site's new parameters."""
    along = cov @ site.plane
    marginal = Normal(site.plane @ mean, jnp.maximum(site.plane @ along, TINY))
    cavity = _cavity(marginal, site)
    probit, tie = _fit_probit(cavity, site), _fit_tie(cavity, site)
    fit = jax.tree.map(lambda tie, probit: jnp.where(site.tied, tie, probit), tie, probit)
    answered = jnp.any(site.plane != 0)
    safe = 1 + (fit.precision - site.precision) * marginal.variance > _LEAST_SCALE
    kept = SiteFit(site.precision, site.shift, jnp.zeros_like(fit.log_likelihood))
    fit = jax.tree.map(lambda new, old: jnp.where(safe & jnp.isfinite(new), new, old), fit, kept)
    fit = jax.tree.map(lambda leaf: jnp.where(answered, leaf, 0), fit)
    mean, cov = _rank_one_update(mean, cov, along, marginal, fit.precision - site.precision, fit.shift - site.shift)
    return mean, cov, fit


def sweep(mean: Array, cov: Array, sites: Site) -> tuple[Array, Array, Site]:
    """Update all T sites (leaves (T, ...)) once, in order."""

    def step(carry: tuple[Array, Array], site: Site) -> tuple[tuple[Array, Array], Site]:
        mean, cov, fit = update_site(*carry, site)
        return (mean, cov), site._replace(precision=fit.precision, shift=fit.shift)

    (mean, cov), sites = jax.lax.scan(step, (mean, cov), sites)
    return mean, (cov + cov.T) / 2, sites


def _cavity(marginal: Normal, site: Site) -> Normal:
    """The marginal of `plane . theta` without the site: R&W, equation 3.56."""
    kept = jnp.maximum(1 - site.precision * marginal.variance, _LEAST_KEPT)
    return Normal((marginal.mean - site.shift * marginal.variance) / kept, marginal.variance / kept)


def _fit_probit(cavity: Normal, site: Site) -> SiteFit:
    """Match the moments of the cavity times the probability that the difference exceeds the width."""
    sd = jnp.sqrt(cavity.variance + site.noise + TINY)
    t = (cavity.mean + site.offset - site.width) / sd
    return _matched(cavity, site.lapse, norm.cdf(t), norm.pdf(t) / sd, -t * norm.pdf(t) / sd**2)


def _fit_tie(cavity: Normal, site: Site) -> SiteFit:
    """Match the moments of the cavity times the probability that the difference is within the width."""
    sd = jnp.sqrt(cavity.variance + site.noise + TINY)
    middle = cavity.mean + site.offset
    low, high = (-site.width - middle) / sd, (site.width - middle) / sd
    slope = (norm.pdf(low) - norm.pdf(high)) / sd
    return _matched(
        cavity, site.lapse, norm.cdf(high) - norm.cdf(low), slope, (low * norm.pdf(low) - high * norm.pdf(high)) / sd**2
    )


def _matched(cavity: Normal, lapse: Array, probability: Array, slope: Array, curvature: Array) -> SiteFit:
    """The site of an answer of this `probability`, with its derivatives by the cavity's mean: R&W, 3.58 and 3.59."""
    z = jnp.maximum(lapse + (1 - 2 * lapse) * probability, _LEAST_PROBABILITY)
    slope, curvature = (1 - 2 * lapse) * slope / z, (1 - 2 * lapse) * curvature / z
    precision = jnp.clip(slope**2 - curvature, _LEAST_CURVATURE / cavity.variance, _MOST_CURVATURE / cavity.variance)
    kept = 1 - precision * cavity.variance
    return SiteFit(precision / kept, (slope + cavity.mean * precision) / kept, jnp.log(z))


def _rank_one_update(
    mean: Array, cov: Array, along: Array, marginal: Normal, precision: Array, shift: Array
) -> tuple[Array, Array]:
    """Add `precision` and `shift` along the plane, `along = cov @ plane`: R&W, equation 3.70."""
    scale = 1 / (1 + precision * marginal.variance)
    mean = mean + along * ((shift - precision * marginal.mean) * scale)
    return mean, cov - along[:, None] * along[None, :] * (precision * scale)


def held_out(mean: Array, cov: Array, site: Site) -> Normal:
    """The difference of utilities of an answer, given all other answers."""
    along = cov @ site.plane
    cavity = _cavity(Normal(site.plane @ mean, jnp.maximum(site.plane @ along, TINY)), site)
    return Normal(cavity.mean + site.offset, cavity.variance + site.noise + TINY)


def sweep_columns(
    mean: Array, cov: Array, marginals: Marginal, precision: Array, shift: Array, mask: Array
) -> tuple[Array, Array, Array, Array]:
    """Update the site of each column's prior once, in order; `mask` (d,) are the columns that have one."""

    def step(carry: tuple[Array, Array], row: Any) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        mean, cov = carry
        at, marginal, old_precision, old_shift, has = row
        along = cov[:, at]
        now = Normal(mean[at], jnp.maximum(along[at], TINY))
        kept = jnp.maximum(1 - old_precision * now.variance, _LEAST_KEPT)
        cavity = Normal((now.mean - old_shift * now.variance) / kept, now.variance / kept)
        tilted_mean, tilted_variance = tilted_moments(marginal, cavity.mean, cavity.variance)
        tilted_variance = jnp.maximum(tilted_variance, _LEAST_TILTED * marginal.variance)
        new = jnp.maximum(1 / tilted_variance - 1 / cavity.variance, 0)
        full = new + 1 / cavity.variance
        new_shift = tilted_mean * full - cavity.mean / cavity.variance
        new = old_precision + _DAMPING * (new - old_precision)
        new_shift = old_shift + _DAMPING * (new_shift - old_shift)
        has &= (1 + (new - old_precision) * now.variance > _LEAST_SCALE) & jnp.isfinite(new) & jnp.isfinite(new_shift)
        new, new_shift = jnp.where(has, new, old_precision), jnp.where(has, new_shift, old_shift)
        mean, cov = _rank_one_update(mean, cov, along, now, new - old_precision, new_shift - old_shift)
        return (mean, cov), (new, new_shift)

    rows = jnp.arange(len(mean)), marginals, precision, shift, mask
    (mean, cov), (precision, shift) = jax.lax.scan(step, (mean, cov), rows)
    return mean, (cov + cov.T) / 2, precision, shift


def along_plane(mean: Array, cov: Array, plane: Array, precision: Array, shift: Array) -> tuple[Array, Array]:
    """Add a Gaussian site with this `precision` and `shift` of `plane . theta`."""
    along = cov @ plane
    return _rank_one_update(mean, cov, along, Normal(plane @ mean, plane @ along), precision, shift)
