"""Persons with a hidden ideal and hidden weights of the columns: `loss^2 = sum_j weights_j (z_j - ideal_j)^2`."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, Population, User, root
from hare_jax.people.ideal import given_or_drawn
from hare_jax.people.weights import cost_weights
from hare_jax.space import ActionSpace


class WeightedIdeal(NamedTuple):
    """The hidden parameters."""

    ideal: Array  # (d,)
    weights: Array  # (d,)


def draw(
    hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, ideal: User | None = None
) -> User:
    """Draw weights for the columns of `x` (d,), distributed as `cost_weights`, and the ideal unless it is given."""
    ideal, key_others = given_or_drawn(hp, key, logit_fn, x, space, ideal)
    return User(WeightedIdeal(ideal.hidden, cost_weights(key_others, x)), ideal.valid)


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
