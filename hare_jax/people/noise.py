"""Noise of answers: wraps a noiseless `Prefers` into one with errors and ties."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import CANNOT_TELL, PREFERS_A, PREFERS_B, Prefers, pytree_dataclass, require
from hare_jax.hyperparams import NonNegative, Positive, Share, check_fields, check_values
from hare_jax.people.simulated import Simulated


@pytree_dataclass
class Noise:
    """Errors and ties of answers; temperature and tie are in units of the person's loss."""

    flip: Share = 0.0  # probability of a flipped answer, unless `logistic`
    logistic: bool = False  # flip probability of `logistic_flipped`
    temperature: float | Array | None = None  # of Bradley and Terry's errors: see `Simulated`; None: no such errors
    tie: float | Array | None = None  # recourses whose losses differ by less get `CANNOT_TELL`; None: none do


@pytree_dataclass
class Noisy:
    """The answers of `prefers` with noise: () bool, or, with a tie, () int as `Tell` takes it."""

    hp: Noise
    prefers: Any

    @property
    def numbered(self) -> bool:
        """Whether answers depend on the number of the question."""
        return getattr(self.prefers, "numbered", False)

    def at_question(self, number: Array | int) -> "Noisy":
        """The answers to question `number` () of a session, from 0; `prefers` has to be `numbered`."""
        return dataclasses.replace(self, prefers=self.prefers.at_question(number))

    def __call__(self, key: Array, x: Array, a: Array, b: Array) -> Array:
        """The answer () for the factual `x` (d,) and the recourses `a` and `b` (d,)."""
        if self.hp.logistic:
            answer = logistic_flipped(self.prefers, key, x, a, b)
        else:
            answer = flipped(self.hp.flip, self.prefers, key, x, a, b)
        if self.hp.tie is None:
            return answer
        gap = jnp.abs(self.prefers.loss_of(x, a) - self.prefers.loss_of(x, b))
        return jnp.where(gap < self.hp.tie, CANNOT_TELL, jnp.where(answer, PREFERS_A, PREFERS_B))


def noisy(hp: Noise, prefers: Prefers) -> Noisy:
    """The answers of `prefers` with noise; a temperature or a tie requires those of `people.prefers`.

    Of several kinds of noise, ties come first; the other answers are drawn at the temperature and then flipped.

    Raises:
        ValueError: the error rate is not from 0 to 1, the temperature not above 0, the tie below 0, or one of
            the latter two given for answers without a loss.
    """
    check_fields(hp, Noise)
    require(callable(prefers), "prefers", "must be a function of a key, a row and two recourses", prefers)
    if hp.tie is not None:
        check_values(tie=(hp.tie, NonNegative))
    if hp.temperature is not None:
        check_values(temperature=(hp.temperature, Positive))
    if hp.tie is not None or hp.temperature is not None:
        known = isinstance(prefers, Simulated)
        require(known, "prefers", "must be answers of people.prefers for a temperature or a tie", prefers)
    if hp.temperature is not None:
        prefers = dataclasses.replace(prefers, temperature=hp.temperature)  # type: ignore[type-var]
    return Noisy(hp=hp, prefers=prefers)


def flipped(probability: Array | float, prefers: Prefers, key: Array, x: Array, a: Array, b: Array) -> Array:
    """The answer of `prefers`, flipped with `probability` () (Bernoulli noise).

    Raises:
        ValueError: the probability is not from 0 to 1.
    """
    check_values(probability=(probability, Share))
    key_answer, key_flip = jax.random.split(key)
    return prefers(key_answer, x, a, b) ^ (jax.random.uniform(key_flip) < probability)


def logistic_flipped(prefers: Prefers, key: Array, x: Array, a: Array, b: Array) -> Array:
    """The answer of `prefers`, flipped with probability `sigmoid(-2 (||a - b||_2 + 1))`, at most 0.119."""
    return flipped(jax.nn.sigmoid(-2 * (jnp.linalg.norm(a - b) + 1)), prefers, key, x, a, b)
