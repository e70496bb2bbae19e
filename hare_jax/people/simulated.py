"""The answers of one simulated person to comparisons: a `Prefers` that also knows the utility and the loss."""

import dataclasses
from typing import Any

import jax
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import as_partial, pytree_dataclass
from hare_jax.people.base import Person, in_space, prefers_by
from hare_jax.space import ActionSpace


@pytree_dataclass
class Simulated:
    """The answers of a person: of two recourses the one of higher utility is preferred.

    With a `temperature` T, `a` is preferred to `b` with probability `sigmoid((loss(b) - loss(a)) / T)` (Bradley and
    Terry 1952): T is in units of the person's loss.
    """

    hidden: Any
    utility: Partial  # hidden, x, z -> ()
    loss: Partial  # hidden, x, z -> ()
    at: Partial | None = None  # hidden, number of the question () -> Moment
    temperature: Array | float | None = None  # (); None: the answers are deterministic
    flip: Array | float | None = None  # () probability of a flipped answer; None: 0

    @property
    def numbered(self) -> bool:
        """Whether answers depend on the number of the question; a call then answers as if they did not."""
        return self.at is not None

    def at_question(self, number: Array | int) -> "Simulated":
        """The answers to question `number` () of a session, from 0."""
        if self.at is None:
            return self
        moment = self.at(self.hidden, number)
        return dataclasses.replace(self, hidden=moment.hidden, flip=moment.flip, at=None)

    def loss_of(self, x: Array, z: Array) -> Array:
        """The loss () of the recourse `z` (d,) for the factual `x` (d,)."""
        return self.loss(self.hidden, x, z)

    def __call__(self, key: Array, x: Array, a: Array, b: Array) -> Array:
        """Whether `a` (d,) is preferred to `b` (d,) for the factual `x` (d,): () bool."""
        key_choice, key_flip = (key, key) if self.flip is None else jax.random.split(key)
        if self.temperature is None:
            answer = prefers_by(Partial(self.utility, self.hidden), key_choice, x, a, b)
        else:
            odds = (self.loss_of(x, b) - self.loss_of(x, a)) / self.temperature
            answer = jax.random.uniform(key_choice, (), odds.dtype) < jax.nn.sigmoid(odds)
        return answer if self.flip is None else answer ^ (jax.random.uniform(key_flip) < self.flip)


def simulate(person: Person, hidden: Any, space: ActionSpace | None) -> Simulated:
    """The noiseless answers of a `person` with parameters `hidden`, about recourses of the `space`."""
    utility, loss = (as_partial(in_space(person, fn, space)) for fn in (person.utility, person.loss))
    return Simulated(hidden=hidden, utility=utility, loss=loss, at=None if person.at is None else as_partial(person.at))
