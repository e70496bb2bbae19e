"""Persons with a hidden ideal whose answers become less reliable from question to question.

The probability of a flipped answer rises linearly to 30 % at the 30th question, and stays there.
"""

import jax.numpy as jnp
from jax import Array

from hare_jax.people.base import Moment, Person
from hare_jax.people.ideal import loss, target, utility
from hare_jax.people.l1_ideal import draw

_MOST = 0.3  # probability of a flipped answer in the end
_LENGTH = 30  # questions until then


def at(ideal: Array, number: Array) -> Moment:
    """The ideal (d,), and the probability of a flipped answer to question `number` (), from 0."""
    share = jnp.minimum((jnp.asarray(number, ideal.dtype) + 1) / _LENGTH, 1)
    return Moment(ideal, _MOST * share)


PERSON = Person(
    draw=draw, utility=utility, loss=loss, label="distance to ideal, tiring", target=target, of_ideal=True, at=at
)
