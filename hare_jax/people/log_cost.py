"""Persons for whom the first part of a change costs most: `loss = sum_j weights_j log(1 + k |z_j - x_j|)`."""

import jax.numpy as jnp
from jax import Array

from hare_jax.people.base import Person, negative
from hare_jax.people.weights import draw, given_weights

_STEEPNESS = 10.0  # k: a change of 1 / k costs log(2) / log(1 + k), 29 %, of a change of 1


def loss(weights: Array, x: Array, z: Array) -> Array:
    """`sum_j weights_j log(1 + k |z_j - x_j|)`: (), concave in each change."""
    return jnp.sum(weights * jnp.log1p(_STEEPNESS * jnp.abs(z - x)))


PERSON = Person(
    draw=draw,
    utility=negative(loss),
    loss=loss,
    label="logarithmic cost",
    l1_weights=given_weights,
    of_own_changes=True,
)
