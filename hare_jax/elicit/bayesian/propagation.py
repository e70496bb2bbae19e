"""Expectation propagation for one Gaussian posterior: each answer is a site that depends on one projection of theta.

Notation: `theta ~ N(mean, cov)` (d,); an answer about recourses a and b depends on `f = plane . theta + offset`, the
difference of their utilities. The probability of "a rather than b" is `lapse + (1 - 2 lapse) Phi((f - width) / sd)` and
that of a tie `lapse + (1 - 2 lapse) (Phi((width - f) / sd) - Phi((-width - f) / sd))`, with the s.d. `sd` of the noise.
Each is approximated by an unnormalised Gaussian site in `plane . theta` with a precision and a shift (precision times
mean). The cavity is the posterior without the site; the tilted distribution is the cavity times the exact likelihood;
the new site makes the moments of the approximation equal to those of the tilted distribution. The prior of a column is
a site in the same way, in the column itself. Minka (2001), https://arxiv.org/abs/1301.2294; Rasmussen and Williams
(2006), "Gaussian Processes for Machine Learning", section 3.6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

from hare_jax.people.marginals import Marginal, moments, tilted_moments

TINY = 1e-12  # added to a variance that may be zero
_LEAST_KEPT = 1e-3  # of the marginal precision, in a cavity, or after an update of a column or the boundary
_LEAST_KEPT_BY_ANSWERS = 0.5  # after an update of an answer: several that each give up more in one sweep diverge
_LEAST_PROBABILITY = 1e-8  # of an answer
_MOST_CURVATURE = 0.999  # -d^2 log Z / d mean^2 of a cavity, relative to its precision
_LEAST_TILTED, _MOST_TILTED = 1e-3, 0.1  # bounds of the least variance of a tilted column
_MOST_RELATIVE = 100.0  # precision of a site that is to be removed again, relative to that of its cavity
_DAMPING = 0.8  # share of the new parameters of a column's site


class Site(NamedTuple):
    """One answer, and its Gaussian approximation."""

    plane: Array  # (d,); zeros where there is no answer
    offset: Array  # ()
    noise: Array  # () variance
    width: Array  # () difference of utilities below which recourses are tied
    lapse: Array  # () error rate of this answer
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


class Plane(NamedTuple):
    """A Gaussian site of `normal . theta`."""

    normal: Array  # (d,)
    precision: Array  # ()
    shift: Array  # () precision times mean


class ColumnSites(NamedTuple):
    """The Gaussian sites of the priors of all columns."""

    precision: Array  # (d,)
    shift: Array  # (d,) precision times mean


class _Derivatives(NamedTuple):
    """A probability and its first two derivatives by the mean of the difference."""

    value: Array  # ()
    first: Array  # ()
    second: Array  # ()


def update_site(mean: Array, cov: Array, site: Site) -> tuple[Array, Array, SiteFit]:
    """Fit one site again: the posterior's new `mean` (d,) and `cov` (d, d), and the site's new parameters.

    A site whose update would leave less than half of the precision along its plane keeps its parameters, even if all
    else contradicts it.
    """
    along = cov @ site.plane
    marginal = Normal(site.plane @ mean, jnp.maximum(site.plane @ along, TINY))
    fit = _fit(_cavity(marginal, site.precision, site.shift), site)
    answered = jnp.any(site.plane != 0)
    change = fit.precision - site.precision
    usable = _is_safe(marginal, change, _LEAST_KEPT_BY_ANSWERS) & jnp.isfinite(fit.shift)
    old = SiteFit(site.precision, site.shift, fit.log_likelihood)
    fit = jax.tree.map(lambda new, old: jnp.where(answered, jnp.where(usable, new, old), 0), fit, old)
    mean, cov = _rank_one_update(mean, cov, along, marginal, fit.precision - site.precision, fit.shift - site.shift)
    return mean, cov, fit


def sweep(mean: Array, cov: Array, sites: Site) -> tuple[Array, Array, Site]:
    """Update all T sites (leaves (T, ...)) once, in order."""

    def step(carry: tuple[Array, Array], site: Site) -> tuple[tuple[Array, Array], Site]:
        mean, cov, fit = update_site(*carry, site)
        return (mean, cov), site._replace(precision=fit.precision, shift=fit.shift)

    (mean, cov), sites = jax.lax.scan(step, (mean, cov), sites)
    return mean, (cov + cov.T) / 2, sites


def prior_sites(prior: Marginal, varies: Array) -> ColumnSites:
    """The sites of the `prior` (d, ...) of all columns that have one (`varies`), before any answer."""
    mean, variance = moments(prior)
    precision = jnp.where(varies, 1 / jnp.maximum(variance, TINY), 0)
    return ColumnSites(precision, precision * mean)


def sweep_columns(
    mean: Array, cov: Array, prior: Marginal, varies: Array, sites: ColumnSites, lapse: Array | float = 0.0
) -> tuple[Array, Array, ColumnSites]:
    """Update the sites of the `prior` (d, ...) of all columns that have one (`varies`) once, in order.

    The variance of a tilted column is at least `lapse` times that of the normal density of its prior, within bounds:
    answers of which some are wrong do not settle it. Returns the `mean` (d,) and `cov` (d, d), and the sites.
    """
    least = jnp.clip(lapse, _LEAST_TILTED, _MOST_TILTED) * prior.variance

    def step(
        carry: tuple[Array, Array], row: tuple[Array, Marginal, Array, ColumnSites, Array]
    ) -> tuple[tuple[Array, Array], ColumnSites]:
        (mean, cov), (at, prior, varies, (precision, shift), least) = carry, row
        along = cov[:, at]
        marginal = Normal(mean[at], jnp.maximum(along[at], TINY))
        new = _fit_column(_cavity(marginal, precision, shift), prior, least, ColumnSites(precision, shift))
        usable = varies & _is_safe(marginal, new[0] - precision) & jnp.isfinite(new[1])
        new = ColumnSites(jnp.where(usable, new[0], precision), jnp.where(usable, new[1], shift))
        return _rank_one_update(mean, cov, along, marginal, new.precision - precision, new.shift - shift), new

    (mean, cov), sites = jax.lax.scan(step, (mean, cov), (jnp.arange(len(mean)), prior, varies, sites, least))
    return mean, (cov + cov.T) / 2, sites


def add_site(mean: Array, cov: Array, site: Plane) -> tuple[Array, Array]:
    """Add a Gaussian site to the posterior: the new `mean` (d,) and `cov` (d, d)."""
    return _add(mean, cov, site.normal, site.precision, site.shift)


def replace_site(mean: Array, cov: Array, old: Plane, new: Plane) -> tuple[Array, Array, Plane]:
    """Replace a Gaussian site of the posterior by another: the new `mean` (d,) and `cov` (d, d), and the site.

    The precision of the new one is bounded, relative to that of the posterior without it, so that it can be removed
    again in float32. The old one is kept where its removal would leave no precision.
    """
    without = _add(mean, cov, old.normal, -old.precision, -old.shift)
    variance = jnp.maximum(new.normal @ without[1] @ new.normal, TINY)
    most = jnp.minimum(new.precision, _MOST_RELATIVE / variance)
    shift = new.shift * most / jnp.where(new.precision > 0, new.precision, 1)
    replaced = (*_add(*without, new.normal, most, shift), Plane(new.normal, most, shift))
    usable = _is_safe(_marginal(mean, cov, old.normal), -old.precision)
    return jax.tree.map(lambda new, old: jnp.where(usable, new, old), replaced, (mean, cov, old))


def _add(mean: Array, cov: Array, plane: Array, precision: Array, shift: Array) -> tuple[Array, Array]:
    """Add a Gaussian site of `plane . theta`, or remove one, with the opposite signs."""
    return _rank_one_update(mean, cov, cov @ plane, _marginal(mean, cov, plane), precision, shift)


def _marginal(mean: Array, cov: Array, plane: Array) -> Normal:
    return Normal(plane @ mean, jnp.maximum(plane @ cov @ plane, TINY))


def held_out(mean: Array, cov: Array, site: Site) -> Normal:
    """The difference of utilities that an answer is about, given all other answers, with the noise of the answer."""
    cavity = _cavity(_marginal(mean, cov, site.plane), site.precision, site.shift)
    return Normal(cavity.mean + site.offset, cavity.variance + site.noise + TINY)


def log_likelihood(mean: Array, cov: Array, site: Site) -> Array:
    """Log of the marginal likelihood () of an answer, given all other answers."""
    return _fit(_cavity(_marginal(mean, cov, site.plane), site.precision, site.shift), site).log_likelihood


def _cavity(marginal: Normal, precision: Array, shift: Array) -> Normal:
    """A marginal without one of its sites: R&W, equation 3.56."""
    kept = jnp.maximum(1 - precision * marginal.variance, _LEAST_KEPT)
    return Normal((marginal.mean - shift * marginal.variance) / kept, marginal.variance / kept)


def _is_safe(marginal: Normal, precision: Array, least: float = _LEAST_KEPT) -> Array:
    """Whether the marginal keeps more than the share `least` of its precision when `precision` is added."""
    return 1 + precision * marginal.variance > least


def _fit(cavity: Normal, site: Site) -> SiteFit:
    """Match the moments of the cavity times the likelihood, by the derivatives of log Z: R&W, 3.58 and 3.59."""
    sd = jnp.sqrt(cavity.variance + site.noise + TINY)
    probability = _probability((cavity.mean + site.offset) / sd, site.width / sd, site.tied)
    right = 1 - 2 * site.lapse
    z = jnp.maximum(site.lapse + right * probability.value, _LEAST_PROBABILITY)
    slope, second = right * probability.first / (z * sd), right * probability.second / (z * sd**2)
    curvature = jnp.clip(slope**2 - second, 0, _MOST_CURVATURE / cavity.variance)  # -d^2 log Z / d mean^2
    kept = 1 - curvature * cavity.variance
    return SiteFit(curvature / kept, (slope + cavity.mean * curvature) / kept, jnp.log(z))


def _probability(t: Array, width: Array, tied: Array) -> _Derivatives:
    """Probability of the answer without lapses, given the difference and the width in s.d.s."""
    above, below = t - width, t + width
    within = norm.cdf(below) - norm.cdf(above)
    return _Derivatives(
        value=jnp.where(tied, within, norm.cdf(above)),
        first=jnp.where(tied, norm.pdf(below) - norm.pdf(above), norm.pdf(above)),
        second=jnp.where(tied, above * norm.pdf(above) - below * norm.pdf(below), -above * norm.pdf(above)),
    )


def _fit_column(cavity: Normal, prior: Marginal, least: Array, old: ColumnSites) -> tuple[Array, Array]:
    """Match the moments of the cavity times the prior of a column, with the `least` variance; damped from the `old`."""
    mean, variance = tilted_moments(prior, cavity.mean, cavity.variance)
    variance = jnp.maximum(variance, least)
    new = jnp.maximum(1 / variance - 1 / cavity.variance, 0)
    new_shift = mean * (new + 1 / cavity.variance) - cavity.mean / cavity.variance
    return old.precision + _DAMPING * (new - old.precision), old.shift + _DAMPING * (new_shift - old.shift)


def _rank_one_update(
    mean: Array, cov: Array, along: Array, marginal: Normal, precision: Array, shift: Array
) -> tuple[Array, Array]:
    """Add `precision` and `shift` along the plane, `along = cov @ plane`: R&W, equation 3.70."""
    scale = 1 / (1 + precision * marginal.variance)
    mean = mean + along * ((shift - precision * marginal.mean) * scale)
    return mean, cov - along[:, None] * along[None, :] * (precision * scale)
