"""Prior of one hidden parameter: a normal distribution within an interval, and atoms, such as those at its ends.

A target point that is clipped to the bounds of its column lies exactly on a bound with positive probability, and a
category has atoms alone. Expectation propagation approximates such a prior by a Gaussian site for each column.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr, ndtr

NUM_ATOMS = 2
_TINY = 1e-12
_MOST_SD = 12.9  # of the end of an interval from the mean: the mass beyond it is no normal number in float32
_LEAST_MASS = 1e-37
_LEAST_SHARE = 1e-3  # of the prior variance, in a tilted distribution


class Marginal(NamedTuple):
    """The prior of a column; leaves () of one, (d,) of all columns."""

    atom: Array  # (..., NUM_ATOMS)
    log_mass: Array  # (..., NUM_ATOMS) of each atom; -inf where there is none
    centre: Array  # () of the normal density, of mass exp(log_inside) inside and outside of the interval
    variance: Array  # ()
    lower: Array  # () of the interval
    upper: Array  # ()
    log_inside: Array  # () -inf where there are atoms alone


@jax.jit  # one trace for all columns' priors
def clipped_normal(centre: Array, sd: Array, lower: Array, upper: Array) -> Marginal:
    """The prior of a normal variable that is clipped to an interval, which may be infinite."""
    below, above = log_ndtr((lower - centre) / sd), log_ndtr((centre - upper) / sd)
    atom = jnp.stack([jnp.where(jnp.isfinite(lower), lower, centre), jnp.where(jnp.isfinite(upper), upper, centre)], -1)
    return Marginal(
        atom=atom,
        log_mass=jnp.stack([below, above], -1),
        centre=centre,
        variance=sd**2,
        lower=lower,
        upper=upper,
        log_inside=jnp.zeros_like(centre),
    )


@jax.jit
def moments(marginal: Marginal) -> tuple[Array, Array]:
    """Mean () and variance () of the prior itself."""
    return _mixed(marginal, marginal.centre, marginal.variance, jnp.zeros_like(marginal.centre), marginal.log_mass)


def tilted_moments(marginal: Marginal, mean: Array, variance: Array) -> tuple[Array, Array]:
    """Mean () and variance () of the prior times a normal density of this `mean` and `variance`, normalised."""
    total = marginal.variance + variance
    product_variance = marginal.variance * variance / total
    centre = (marginal.centre * variance + mean * marginal.variance) / total
    log_overlap = -((marginal.centre - mean) ** 2 / total + jnp.log(total)) / 2
    offset = marginal.atom - mean[..., None]
    log_atoms = marginal.log_mass - (offset**2 / variance[..., None] + jnp.log(variance)[..., None]) / 2
    return _mixed(marginal, centre, product_variance, log_overlap, log_atoms)


def _mixed(
    marginal: Marginal, centre: Array, variance: Array, log_overlap: Array, log_atoms: Array
) -> tuple[Array, Array]:
    """Moments of a mixture of the atoms and of a normal distribution within the interval."""
    inside = _truncated(centre, variance, marginal.lower, marginal.upper)
    log_weight = jnp.concatenate([log_atoms, (marginal.log_inside + log_overlap + inside[2])[..., None]], -1)
    weight = jax.nn.softmax(log_weight, axis=-1)
    means = jnp.concatenate([marginal.atom, inside[0][..., None]], -1)
    mean = jnp.sum(weight * means, -1)
    return mean, jnp.sum(weight * (means - mean[..., None]) ** 2, -1) + weight[..., -1] * inside[1]


def _truncated(mean: Array, variance: Array, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
    """Mean, variance and log mass of a normal distribution within [lower, upper]."""
    sd = jnp.sqrt(jnp.maximum(variance, _TINY))
    low, high = (lower - mean) / sd, (upper - mean) / sd
    flip = low > 0  # so that both tails are left tails: no cancellation
    left, right = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    mass = jnp.maximum(ndtr(right) - ndtr(left), _LEAST_MASS)
    ends = tuple(jnp.clip(end, -_MOST_SD, _MOST_SD) for end in (low, high))
    density = tuple(jnp.exp(-(end**2) / 2) / jnp.sqrt(2 * jnp.pi) for end in ends)
    shift = (density[0] - density[1]) / mass
    narrowing = (ends[0] * density[0] - ends[1] * density[1]) / mass
    inner = jnp.clip(mean + sd * shift, lower, upper)
    return inner, variance * jnp.clip(1 + narrowing - shift**2, _LEAST_SHARE, 1), jnp.log(mass)
