"""Noise of answers: wraps a noiseless `Prefers` into one with errors."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import Prefers, pytree_dataclass, require
from hare_jax.hyperparams import Share, check_fields, check_values


@pytree_dataclass
class Noise:
    """Error rate of answers."""

    flip: Share = 0.0  # probability of a flipped answer, unless `logistic`
    logistic: bool = False  # flip probability of `logistic_flipped`


def noisy(hp: Noise, prefers: Prefers) -> Partial:
    """The `Prefers` whose answers are those of `prefers` with noise.

    Raises:
        ValueError: the error rate is not from 0 to 1.
    """
    check_fields(hp, Noise)
    require(callable(prefers), "prefers", "must be a function of a key, a row and two recourses", prefers)
    return Partial(logistic_flipped, prefers) if hp.logistic else Partial(flipped, hp.flip, prefers)


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
