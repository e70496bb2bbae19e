"""Persons with a hidden ideal and hidden weights of the columns: `loss^2 = sum_j weights_j (z_j - ideal_j)^2`."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, User, root
from hare_jax.people.weights import cost_weights
from hare_jax.space import ActionSpace


class WeightedIdeal(NamedTuple):
    """The hidden parameters."""

    ideal: Array  # (d,)
    weights: Array  # (d,)


def draw(ideal: User, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw weights for the columns of `x` (d,), distributed as `cost_weights`, beside the `ideal`."""
    return User(WeightedIdeal(ideal.hidden, cost_weights(key, x)), ideal.valid)


def utility(hidden: WeightedIdeal, x: Array, z: Array) -> Array:
    """`-sum_j weights_j (z_j - ideal_j)^2`: ()."""
    return -jnp.sum(hidden.weights * (z - hidden.ideal) ** 2)


def loss(hidden: WeightedIdeal, x: Array, z: Array) -> Array:
    """`sqrt(sum_j weights_j (z_j - ideal_j)^2)`: (); its derivative at the ideal itself is 0."""
    return root(-utility(hidden, x, z))


def target(hidden: WeightedIdeal) -> Array:
    """The point (d,) of highest utility: the ideal itself."""
    return hidden.ideal


PERSON = Person(draw=draw, utility=utility, loss=loss, label="weighted distance to ideal", target=target, of_ideal=True)
