"""Persons with a hidden ideal, the distance to which is measured in L1."""

import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, User
from hare_jax.people.ideal import target
from hare_jax.space import ActionSpace


def draw(ideal: User, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """The hidden parameters for `x` (d,) are the `ideal` alone."""
    return ideal


def loss(ideal: Array, x: Array, z: Array) -> Array:
    """`||z - ideal||_1`: ()."""
    return jnp.sum(jnp.abs(z - ideal))


def utility(ideal: Array, x: Array, z: Array) -> Array:
    """`-||z - ideal||_1`: ()."""
    return -loss(ideal, x, z)


PERSON = Person(draw=draw, utility=utility, loss=loss, label="L1 distance to ideal", target=target, of_ideal=True)
