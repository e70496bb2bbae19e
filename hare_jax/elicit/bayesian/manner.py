"""How a person answers: the error rate, the width of ties and the memory, by their posterior on a grid.

An answer is flipped with the rate `lapse`. Two recourses whose losses differ by less than `width` are tied. With a
`memory` below 1 the error rate of older answers is larger, `1/2 - (1/2 - lapse) memory^age`, as those of a person whose
preferences drift say less about the present ones. The likelihood of a point of the grid is the product, over the
answers, of the probability of each answer given all others.
"""

import operator
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr

from hare_jax.elicit.bayesian.propagation import Normal

_FACTORS_PER_LOG = 8
_LEAST_LIKELIHOOD = 1e-4  # of an answer, so that a product of so many is a normal number in float32


class Axis(NamedTuple):
    """The values of one parameter, and their prior probabilities."""

    value: Array  # (n,)
    log_prior: Array  # (n,)


class Grid(NamedTuple):
    """Prior of the manner of answering."""

    lapse: Axis
    width: Axis  # in units of the loss
    memory: Axis


class Manner(NamedTuple):
    """Posterior means."""

    lapse: Array  # ()
    width: Array  # ()
    memory: Array  # ()


class Answered(NamedTuple):
    """T answers, about the difference of utilities of two recourses."""

    gap: Normal  # (T,) given all other answers, with the noise of the answer
    slope: Array  # (T,) difference of utilities over difference of losses
    tied: Array  # (T,) bool
    told: Array  # (T,) bool: there is an answer
    age: Array  # (T,) number of later answers


def prior_mean(grid: Grid) -> Manner:
    """The manner before any answer; the width is 0 until there is a tie."""
    lapse, memory = (jnp.sum(jnp.exp(axis.log_prior) * axis.value) for axis in (grid.lapse, grid.memory))
    return Manner(lapse, jnp.zeros_like(lapse), memory)


def fit(grid: Grid, answered: Answered) -> Manner:
    """The posterior mean of each parameter; the width is 0 until there is a tie."""
    mean, sd = answered.gap.mean[None, :], jnp.sqrt(answered.gap.variance)[None, :]
    width = grid.width.value[:, None] * answered.slope[None, :]
    above, below = (ndtr((sign * mean - width) / sd) for sign in (1, -1))
    probability = jnp.where(answered.tied[None, :], jnp.maximum(1 - above - below, 0), above)  # (W, T)
    lapse, memory = grid.lapse.value[:, None, None], grid.memory.value[None, :, None]
    rates = error_rate(lapse, memory, answered.age[None, None, :])[:, None]  # (L, 1, M, T)
    score = log_likelihood(rates, probability[None, :, None], answered.told)
    weight = jax.nn.softmax(score + sum(_aligned(*(axis.log_prior for axis in grid))), axis=(0, 1, 2))
    found = Manner(*(jnp.sum(weight * values) for values in _aligned(*(axis.value for axis in grid))))
    return found._replace(width=jnp.where(jnp.any(answered.tied & answered.told), found.width, 0))


def error_rate(lapse: Array, memory: Array, age: Array) -> Array:
    """The error rate of answers of this `age`."""
    return 0.5 - (0.5 - lapse) * memory**age


def log_likelihood(rates: Array, probability: Array, told: Array) -> Array:
    """The log probability (...) of T answers, each with an error rate of `rates` and a `probability` without errors.

    These are of shapes (..., T) that broadcast; `told` (T,) is whether there is an answer. There is one logarithm for
    several answers, and no array of all factors: the answers are a loop at trace time.
    """

    def factor(at: int) -> Array:
        rate = rates[..., at]
        likelihood = rate + (1 - 2 * rate) * probability[..., at]
        return jnp.where(told[at], jnp.maximum(likelihood, _LEAST_LIKELIHOOD), 1)

    num = len(told)
    parts = (range(first, min(first + _FACTORS_PER_LOG, num)) for first in range(0, num, _FACTORS_PER_LOG))
    return reduce(operator.add, (jnp.log(reduce(operator.mul, map(factor, part))) for part in parts))


def _aligned(lapse: Array, width: Array, memory: Array) -> tuple[Array, Array, Array]:
    """Arrays (L,), (W,) and (M,) with the axes of the grid."""
    return lapse[:, None, None], width[None, :, None], memory[None, None, :]
