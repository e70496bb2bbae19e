"""Expectation propagation for categories: each one-hot group is one site, with an atom for each level.

Notation: w (k,) are the probabilities of the k levels of a group. Its columns have mean w and covariance
`diag(w) - w w^T`, whose pseudo-inverse is `C diag(1 / w) C` with the centring matrix `C = I - 1 1^T / k`. All sums of
the columns of a group are 1 in the prior, and updates keep them. A site for each column alone would allow no level, or
two, and in loops between them one level wins without evidence.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.people.levels import Levels
from hare_jax.solvers import linalg

_LEAST_PROBABILITY = 0.01  # of a level, so that its precision is bounded
_MOST_TOGETHER = 0.5  # of the least probabilities of all levels


class LevelSites(NamedTuple):
    """The Gaussian sites of all groups; zeros between columns of different groups."""

    precision: Array  # (d, d)
    shift: Array  # (d,) precision times mean


class _Group(NamedTuple):
    """One group."""

    member: Array  # (d,) bool
    centring: Array  # (d, d) zeros outside of the group


def prior_sites(levels: Levels) -> LevelSites:
    """The sites of the prior itself, before any answer."""
    zero = jnp.zeros_like(levels.log_mass)
    none = LevelSites(jnp.diag(zero), zero)

    def add(at: Array, sites: LevelSites) -> LevelSites:
        group = _group(levels, at)
        probability = _probabilities(group, levels.log_mass)
        precision = _precision(group, probability)
        return LevelSites(sites.precision + precision, sites.shift + precision @ probability)

    return jax.lax.fori_loop(0, jnp.max(levels.group) + 1, add, none)


def sweep(mean: Array, cov: Array, levels: Levels, sites: LevelSites) -> tuple[Array, Array, LevelSites]:
    """Update the sites of all groups once: the posterior's `mean` (d,) and `cov` (d, d), and the sites."""

    def step(at: Array, carry: tuple[Array, Array, LevelSites]) -> tuple[Array, Array, LevelSites]:
        return _update(*carry, levels, _group(levels, at))

    return jax.lax.fori_loop(0, jnp.max(levels.group) + 1, step, (mean, cov, sites))


def _update(
    mean: Array, cov: Array, sites: LevelSites, levels: Levels, group: _Group
) -> tuple[Array, Array, LevelSites]:
    """Match the moments of the cavity times the prior of one `group`; the other columns follow by regression."""
    inside = group.member[:, None] & group.member[None, :]
    precision = _inverse(group, jnp.where(inside, cov, 0))
    cavity = jnp.where(inside, precision - sites.precision, 0)
    cavity_shift = precision @ mean - jnp.where(group.member, sites.shift, 0)
    probability = _at_least(group, _probabilities(group, levels.log_mass - jnp.diagonal(cavity) / 2 + cavity_shift))
    new = _precision(group, probability)
    new_cov = jnp.diag(probability) - probability[:, None] * probability[None, :]
    regression = cov @ precision
    mean = mean + regression @ (probability - jnp.where(group.member, mean, 0))
    cov = cov + regression @ (new_cov - jnp.where(inside, cov, 0)) @ regression.T
    fitted = LevelSites(
        jnp.where(inside, new - cavity, sites.precision),
        jnp.where(group.member, new @ probability - cavity_shift, sites.shift),
    )
    return mean, (cov + cov.T) / 2, fitted


def _group(levels: Levels, at: Array) -> _Group:
    member = levels.group == at
    share = member / jnp.maximum(jnp.sum(member), 1).astype(levels.log_mass.dtype)
    return _Group(member, jnp.diag(member.astype(share.dtype)) - member[:, None] * share[None, :])


def _probabilities(group: _Group, log_mass: Array) -> Array:
    """Normalised probabilities (d,) of the levels; zeros outside of the group."""
    return jnp.where(group.member, jax.nn.softmax(jnp.where(group.member, log_mass, -jnp.inf)), 0)


def _at_least(group: _Group, probability: Array) -> Array:
    """Mix in the least probability of each level."""
    num = jnp.maximum(jnp.sum(group.member), 1).astype(probability.dtype)
    least = jnp.minimum(_LEAST_PROBABILITY, _MOST_TOGETHER / num)
    return jnp.where(group.member, least + (1 - num * least) * probability, 0)


def _precision(group: _Group, probability: Array) -> Array:
    """Pseudo-inverse (d, d) of the covariance of a group."""
    inverse = jnp.where(group.member, 1 / jnp.where(group.member, probability, 1), 0)
    return group.centring @ (inverse[:, None] * group.centring)


def _inverse(group: _Group, cov: Array) -> Array:
    """Pseudo-inverse (d, d) of a covariance with the sum of a group as its null space."""
    mean = jnp.diag(group.member.astype(cov.dtype)) - group.centring  # the projection onto the null space
    root = linalg.whitening(cov + mean, group.member)
    return root.T @ root - mean
