"""Persons for whom a change costs the share of the population that it passes.

`loss = sum_j weights_j |F_j(z_j) - F_j(x_j)|`, with the cdf F_j of column j. A draw has no training rows, so F_j is not
the empirical cdf: with u in [0, 1] the position between the bounds of the column, it is `1 - (1 - u)^3`, the cdf of a
population of which most are near the lower bound (Kumaraswamy 1980, with exponents 1 and 3).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, Population, User, negative
from hare_jax.people.weights import cost_weights, weights_of
from hare_jax.space import ActionSpace

_SKEW = 3  # exponent of the cdf; 1 is a uniform population


class Percentile(NamedTuple):
    """The hidden parameters."""

    weights: Array  # (d,)
    lower: Array  # (d,) bounds of the population
    width: Array  # (d,)


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw weights for `x` (d,), distributed as `cost_weights`.

    The bounds are those of the space, with 0 and 1 in place of infinite ones, extended to contain `x`.
    """
    lower = jnp.minimum(jnp.where(jnp.isfinite(space.lower), space.lower, 0), x).astype(x.dtype)
    upper = jnp.maximum(jnp.where(jnp.isfinite(space.upper), space.upper, 1), x).astype(x.dtype)
    width = jnp.where(upper > lower, upper - lower, 1)
    return User(Percentile(cost_weights(key, x), lower, width), jnp.array(True))


def quantile(hidden: Percentile, z: Array) -> Array:
    """`F_j(z_j)` (d,): share of the population below `z` (d,); it is constant outside of the bounds."""
    position = jnp.clip((z - hidden.lower) / hidden.width, 0, 1)
    return 1 - (1 - position) ** _SKEW


def loss(hidden: Percentile, x: Array, z: Array) -> Array:
    """`sum_j weights_j |F_j(z_j) - F_j(x_j)|`: ()."""
    return jnp.sum(hidden.weights * jnp.abs(quantile(hidden, z) - quantile(hidden, x)))


PERSON = Person(
    draw=draw,
    utility=negative(loss),
    loss=loss,
    label="weighted shift in quantile",
    l1_weights=weights_of,
    of_own_changes=True,
)
