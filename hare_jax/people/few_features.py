"""Persons with a preference for few changes: the number of changed features counts first, then the cost."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, Population, User, negative
from hare_jax.people.changes import changed, first_columns
from hare_jax.people.weights import cost_weights, weights_of
from hare_jax.space import ActionSpace, weighted_l1


class FewFeatures(NamedTuple):
    """The hidden parameters."""

    weights: Array  # (d,)
    feature: Array  # (d,) int32: first column of each column's feature


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw cost weights for `x` (d,), distributed as `cost_weights`."""
    return User(FewFeatures(cost_weights(key, x), first_columns(space)), jnp.array(True))


def loss(hidden: FewFeatures, x: Array, z: Array) -> Array:
    """`n + cost / (1 + cost)`: (), with n changed features and `cost = sum_j weights_j |z_j - x_j|`."""
    cost = weighted_l1(hidden.weights, x, z)
    return jnp.sum(changed(hidden.feature, x, z)) + cost / (1 + cost)


PERSON = Person(
    draw=draw,
    utility=negative(loss),
    loss=loss,
    label="changed features, then cost",
    l1_weights=weights_of,
    of_own_changes=True,
)
