"""Prior of the levels of categories that are encoded as one-hot groups."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.space import ActionSpace


class Levels(NamedTuple):
    """Which columns are the levels of one category, and the prior of each level."""

    group: Array  # (d,) int, from 0; -1: none
    log_mass: Array  # (d,) up to a constant of each group


def none(like: Array) -> Levels:
    """No category among the columns of `like` (d,)."""
    return Levels(jnp.full(like.shape, -1, jnp.int32), jnp.zeros_like(like))


def of_space(space: ActionSpace, varies: Array, log_mass: Array) -> Levels:
    """The one-hot groups of the `space` whose columns vary (d,), with the `log_mass` (d,) of each level."""
    return Levels(jnp.where(varies, space.group, -1).astype(jnp.int32), log_mass)


def same_category(levels: Levels) -> Array:
    """Whether two columns are levels of the same category: (d, d) bool."""
    return (levels.group[:, None] == levels.group[None, :]) & (levels.group >= 0)[:, None]


def moments(levels: Levels) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d) of the indicators of all levels; zeros in the other columns."""
    member, together = levels.group >= 0, same_category(levels)
    log_total = jax.nn.logsumexp(jnp.where(together, levels.log_mass[None, :], -jnp.inf), axis=1)
    probability = jnp.where(member, jnp.exp(levels.log_mass - jnp.where(member, log_total, 0)), 0)
    return probability, jnp.diag(probability) - jnp.where(together, probability[:, None] * probability[None, :], 0)
