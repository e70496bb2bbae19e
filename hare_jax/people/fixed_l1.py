"""Persons for whom each changed feature has a fixed cost, beside a weighted cost of its change."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, Population, User, negative
from hare_jax.people.changes import changed, first_columns
from hare_jax.people.weights import cost_weights, weights_of
from hare_jax.space import ActionSpace, weighted_l1


class FixedCosts(NamedTuple):
    """The hidden parameters."""

    fixed: Array  # (d,) of a change of the feature that begins at a column
    weights: Array  # (d,)
    feature: Array  # (d,) int32: first column of each column's feature


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw costs for `x` (d,): fixed ones uniform in [0, 1), and weights distributed as `cost_weights`."""
    key_fixed, key_weights = jax.random.split(key)
    fixed = jax.random.uniform(key_fixed, x.shape, x.dtype)
    return User(FixedCosts(fixed, cost_weights(key_weights, x), first_columns(space)), jnp.array(True))


def loss(hidden: FixedCosts, x: Array, z: Array) -> Array:
    """Sum of `fixed_f` over the changed features f, plus `sum_j weights_j |z_j - x_j|`: ()."""
    fixed = jnp.sum(jnp.where(changed(hidden.feature, x, z), hidden.fixed, 0))
    return fixed + weighted_l1(hidden.weights, x, z)


PERSON = Person(
    draw=draw,
    utility=negative(loss),
    loss=loss,
    label="fixed and weighted cost",
    l1_weights=weights_of,
    of_own_changes=True,
)
