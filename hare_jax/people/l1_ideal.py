"""Persons with a hidden ideal, the distance to which is measured in L1."""

import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, Population, User, negative
from hare_jax.people.ideal import given_or_drawn, target
from hare_jax.space import ActionSpace


def draw(
    hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, ideal: User | None = None
) -> User:
    """Draw a hidden ideal for `x` (d,), unless it is given."""
    return given_or_drawn(hp, key, logit_fn, x, space, ideal)[0]


def loss(ideal: Array, x: Array, z: Array) -> Array:
    """`||z - ideal||_1`: ()."""
    return jnp.sum(jnp.abs(z - ideal))


PERSON = Person(
    draw=draw,
    utility=negative(loss),
    loss=loss,
    label="L1 distance to ideal",
    target=target,
    of_ideal=True,
)
