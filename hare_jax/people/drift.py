"""Persons with an ideal that moves during the session, from a first to a last one; the loss is that of the last.

At question k, from 0, the ideal is `first + min(k / 29, 1) (last - first)`: it is the last from the 30th question on.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people import ideal as ideals
from hare_jax.people.base import Moment, Person, Population, User
from hare_jax.space import ActionSpace, bounds

_LENGTH = 30  # questions until the ideal stays
_MOVE = 0.5  # distance between the ideals, in units of that between the last and the factual; less where out of bounds


class Drift(NamedTuple):
    """The hidden parameters."""

    first: Array  # (d,)
    last: Array  # (d,) an accepted recourse


def draw(
    hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, ideal: User | None = None
) -> User:
    """Draw the first ideal for `x` (d,): a random perturbation, within the bounds, of the last one.

    The last ideal is drawn unless it is given as `ideal`.
    """
    ideal, key_others = ideals.given_or_drawn(hp, key, logit_fn, x, space, ideal)
    last = ideal.hidden
    noise = jnp.where(space.mutable, jax.random.uniform(key_others, x.shape, x.dtype, minval=-1.0), 0)
    size = _MOVE * jnp.linalg.norm(last - x) / jnp.maximum(jnp.linalg.norm(noise), jnp.finfo(x.dtype).tiny)
    first = jnp.where(space.mutable, jnp.clip(last + size * noise, *bounds(space, x)), last)
    return User(Drift(first.astype(x.dtype), last), ideal.valid)


def at(hidden: Drift, number: Array) -> Moment:
    """The parameters at question `number` (), from 0: `last` is the ideal of that moment."""
    share = jnp.minimum(jnp.asarray(number, hidden.last.dtype) / (_LENGTH - 1), 1)
    return Moment(hidden._replace(last=hidden.first + share * (hidden.last - hidden.first)))


def utility(hidden: Drift, x: Array, z: Array) -> Array:
    """`-||z - last||^2`: ()."""
    return ideals.utility(hidden.last, x, z)


def loss(hidden: Drift, x: Array, z: Array) -> Array:
    """Distance `||z - last||` to the last ideal: ()."""
    return ideals.loss(hidden.last, x, z)


def target(hidden: Drift) -> Array:
    """The point (d,) of highest utility: the last ideal."""
    return hidden.last


PERSON = Person(
    draw=draw, utility=utility, loss=loss, label="distance to last ideal", target=target, of_ideal=True, at=at
)
