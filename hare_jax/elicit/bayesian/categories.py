"""Expectation propagation for categories: each one-hot group is one site, with an atom for each level.

Notation: w (k,) are the probabilities of the k levels of a group. Its columns have mean w and covariance
`diag(w) - w w^T`, whose pseudo-inverse is `C diag(1 / w) C` with the centring matrix `C = I - 1 1^T / k`. All sums of
the columns of a group are 1 in the prior, and updates keep them. A site for each column alone would allow no level, or
two, and in loops between them one level wins without evidence.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.people.levels import Levels, moments, same_category
from hare_jax.solvers import linalg

_LEAST_PROBABILITY = 0.01  # of a level, so that its precision is bounded
_MOST_TOGETHER = 0.5  # of the least probabilities of all levels
_ROUNDING = 1e-3  # of a precision; so near to 0 either decision is fine


class LevelSites(NamedTuple):
    """The Gaussian sites of all groups; zeros between columns of different groups."""

    precision: Array  # (d, d)
    shift: Array  # (d,) precision times mean


class _Groups(NamedTuple):
    """One group, or several."""

    together: Array  # (d, d) bool: both columns belong to the same of them
    centring: Array  # (d, d) zeros between columns of different groups

    @property
    def member(self) -> Array:
        """Which columns (d,) belong to one."""
        return jnp.diagonal(self.together)


def prior_sites(levels: Levels) -> LevelSites:
    """The sites of the prior itself, before any answer."""
    probability, _ = moments(levels)
    precision = _precision(_groups(same_category(levels), probability.dtype), probability)
    return LevelSites(precision, precision @ probability)


def sweep(mean: Array, cov: Array, levels: Levels, sites: LevelSites) -> tuple[Array, Array, LevelSites]:
    """Update the sites of all groups once: the posterior's `mean` (d,) and `cov` (d, d), and the sites."""

    def step(at: Array, carry: tuple[Array, Array, LevelSites]) -> tuple[Array, Array, LevelSites]:
        member = levels.group == at
        return _update(*carry, levels.log_mass, _groups(member[:, None] & member[None, :], mean.dtype))

    return jax.lax.fori_loop(0, jnp.max(levels.group) + 1, step, (mean, cov, sites))


def _update(
    mean: Array, cov: Array, sites: LevelSites, log_mass: Array, group: _Groups
) -> tuple[Array, Array, LevelSites]:
    """Match the moments of the cavity times the prior of one `group`; the other columns follow by regression.

    A site that would take precision away from a level, or from the difference of two, keeps its parameters, as where
    answers have made a level all but certain: when those are fitted again and say less, nothing would be left.
    """
    inside, member = group.together, group.member
    precision = _inverse(group, jnp.where(inside, cov, 0))
    cavity = jnp.where(inside, precision - sites.precision, 0)
    cavity_shift = precision @ mean - jnp.where(member, sites.shift, 0)
    probability = _at_least(member, _probabilities(member, log_mass - jnp.diagonal(cavity) / 2 + cavity_shift))
    new = _precision(group, probability)
    new_cov = jnp.diag(probability) - probability[:, None] * probability[None, :]
    regression, site = cov @ precision, new - cavity
    usable = _adds_precision(group, site)
    mean = mean + jnp.where(usable, regression @ (probability - jnp.where(member, mean, 0)), 0)
    cov = cov + jnp.where(usable, regression @ (new_cov - jnp.where(inside, cov, 0)) @ regression.T, 0)
    fitted = LevelSites(
        jnp.where(inside & usable, site, sites.precision),
        jnp.where(member & usable, new @ probability - cavity_shift, sites.shift),
    )
    return mean, (cov + cov.T) / 2, fitted


def _adds_precision(group: _Groups, precision: Array) -> Array:
    """Whether a site adds precision to each level of a group, and to the difference of any two.

    That is necessary for it to be positive semi-definite, and cheap.
    """
    own = jnp.where(group.member, jnp.diagonal(precision), 0)
    difference = jnp.where(group.together, own[:, None] + own[None, :] - 2 * precision, 0)
    return (jnp.min(own) > -_ROUNDING) & (jnp.min(difference) > -_ROUNDING)


def _groups(together: Array, dtype: Any) -> _Groups:
    share = together / jnp.maximum(jnp.sum(together, axis=1, keepdims=True), 1).astype(dtype)
    return _Groups(together, jnp.diag(jnp.diagonal(together).astype(dtype)) - share)


def _probabilities(member: Array, log_mass: Array) -> Array:
    """Normalised probabilities (d,) of the levels of one group; zeros outside of it."""
    return jnp.where(member, jax.nn.softmax(jnp.where(member, log_mass, -jnp.inf)), 0)


def _at_least(member: Array, probability: Array) -> Array:
    """Mix in the least probability of each level."""
    num = jnp.maximum(jnp.sum(member), 1).astype(probability.dtype)
    least = jnp.minimum(_LEAST_PROBABILITY, _MOST_TOGETHER / num)
    return jnp.where(member, least + (1 - num * least) * probability, 0)


def _precision(groups: _Groups, probability: Array) -> Array:
    """Pseudo-inverse (d, d) of the covariance of groups."""
    inverse = jnp.where(groups.member, 1 / jnp.where(groups.member, probability, 1), 0)
    return groups.centring @ (inverse[:, None] * groups.centring)


def _inverse(group: _Groups, cov: Array) -> Array:
    """Pseudo-inverse (d, d) of a covariance with the sum of a group as its null space."""
    mean = jnp.diag(group.member.astype(cov.dtype)) - group.centring  # the projection onto the null space
    root = linalg.whitening(cov + mean, group.member)
    return root.T @ root - mean
