"""How a person answers: the error rate, the width of ties and the memory, by their posterior on a grid.

Recourses whose losses differ by less than `width` are tied. Any other answer is flipped with the rate `lapse`; a flip
makes no tie. With a `memory` below 1 that rate of older answers is larger, `1/2 - (1/2 - lapse) memory^age`, as those
of a person whose preferences drift say less about the present ones. The likelihood of a value is the product,
over the answers, of the probability of each answer given all others, after Geisser and Eddy (1979), "A predictive
approach to model selection": of a width given the prior mean of the errors, then of a lapse and a memory given that
width.
"""

import operator
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.elicit.bayesian.losses import Foci, in_utilities
from hare_jax.elicit.bayesian.probit import cdf
from hare_jax.elicit.bayesian.propagation import Normal

_BLOCK = 128  # answers
_FACTORS_PER_LOG = 8
_RATE_OF_TIES = 1e-3  # of errors: a flip makes no tie, but one mistaken tie must not rule out what is true
_LEAST_RATE = 1e-4  # of errors, so that a product of so many factors is a normal number in float32


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


class Errors(NamedTuple):
    """The E pairs of a lapse and a memory."""

    lapse: Array  # (E,)
    memory: Array  # (E,)
    rate: Array  # (T, E) error rate of each answer
    log_prior: Array  # (E,)


class Answered(NamedTuple):
    """T answers, about the difference of utilities of two recourses."""

    gap: Normal  # (T,) given all other answers, with the noise of the answer
    foci: Foci  # (T,) the recourses
    tied: Array  # (T,) bool
    told: Array  # (T,) bool: there is an answer
    age: Array  # (T,) number of later answers


def prior_mean(grid: Grid) -> Manner:
    """The manner before any answer; the width is 0 until there is a tie."""
    lapse, memory = (jnp.sum(jnp.exp(axis.log_prior) * axis.value) for axis in (grid.lapse, grid.memory))
    return Manner(lapse, jnp.zeros_like(lapse), memory)


def fit(grid: Grid, answered: Answered) -> Manner:
    """The posterior mean of each parameter: the width given the prior means of the errors, then the errors given it.

    The width is 0 until there is a tie.
    """
    mean, sd = answered.gap.mean[:, None], jnp.sqrt(answered.gap.variance)[:, None]
    foci, tied = jax.tree.map(lambda leaf: leaf[:, None], (answered.foci, answered.tied))

    def probability(width: Array) -> Array:
        return without_errors(mean, sd, in_utilities(foci, width), tied)

    first = prior_mean(grid)
    rate = error_rate(first.lapse, first.memory, answered.age, answered.tied)
    score = log_likelihood(rate[:, None], probability(grid.width.value[None, :]), answered.told)  # (W,)
    of_width = jax.nn.softmax(score + grid.width.log_prior)
    width = jnp.where(jnp.any(answered.tied & answered.told), jnp.sum(of_width * grid.width.value), 0)
    errors = error_grid(grid, answered.age, answered.tied)
    score = log_likelihood(errors.rate, probability(width), answered.told)  # (E,)
    of_errors = jax.nn.softmax(score + errors.log_prior)
    return Manner(jnp.sum(of_errors * errors.lapse), width, jnp.sum(of_errors * errors.memory))


def without_errors(gap: Array, sd: Array, width: Array, tied: Array) -> Array:
    """The probability of an answer, given without an error, whose difference of utilities has the mean `gap`."""
    above, below = (cdf((sign * gap - width) / sd) for sign in (1, -1))
    return jnp.where(tied, jnp.maximum(1 - above - below, 0), above)


def error_grid(grid: Grid, age: Array, tied: Array, power: Array | float = 1.0) -> Errors:
    """All pairs of a lapse and a memory, for answers of this `age` (T,), of which the `tied` (T,) are ties.

    The prior of lapses is raised to a `power`.
    """
    lapse, memory = (leaf.ravel() for leaf in jnp.meshgrid(grid.lapse.value, grid.memory.value, indexing="ij"))
    log_prior = jax.nn.log_softmax(power * grid.lapse.log_prior)[:, None] + grid.memory.log_prior[None, :]
    rate = error_rate(lapse[None, :], memory[None, :], age[:, None], tied[:, None])
    return Errors(lapse, memory, rate, log_prior.ravel())


def error_rate(lapse: Array, memory: Array, age: Array, tied: Array) -> Array:
    """The error rate of answers of this `age`, of which the `tied` are ties."""
    return jnp.where(tied, _RATE_OF_TIES, 0.5 - (0.5 - lapse) * memory**age)


def log_likelihood(rates: Array, probability: Array, told: Array) -> Array:
    """The log probability (...) of T answers, each with an error rate of `rates` and a `probability` without errors.

    These are of shapes (T, ...) that broadcast; `told` (T,) is whether there is an answer. There is one logarithm for
    several answers, and no array of all factors: the answers of a block are a loop at trace time.
    """
    num, left = divmod(len(told), _BLOCK)
    given = rates, probability, told
    parts = [_of_block(*(leaf[num * _BLOCK :] for leaf in given))] if left else []
    if num:
        blocks = tuple(leaf[: num * _BLOCK].reshape(num, _BLOCK, *leaf.shape[1:]) for leaf in given)
        parts.append(jnp.sum(jax.lax.map(lambda block: _of_block(*block), blocks), axis=0))
    return reduce(operator.add, parts)


def _of_block(rates: Array, probability: Array, told: Array) -> Array:
    """The log probability (...) of the answers of one block."""
    known = told.reshape(-1, *[1] * (rates.ndim - 1))
    rates, probability = jnp.where(known, jnp.maximum(rates, _LEAST_RATE), 0), jnp.where(known, probability, 1)
    rates, slopes, probability = jax.lax.optimization_barrier((rates, 1 - 2 * rates, probability))
    factors = [rates[at] + slopes[at] * probability[at] for at in range(len(told))]
    parts = (factors[first : first + _FACTORS_PER_LOG] for first in range(0, len(told), _FACTORS_PER_LOG))
    return reduce(operator.add, (jnp.log(reduce(operator.mul, part)) for part in parts))
