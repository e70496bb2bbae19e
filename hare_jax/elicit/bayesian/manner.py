"""How a person answers: the error rate, the width of ties and the memory, by their posterior on a grid.

An answer is flipped with the rate `lapse`. Two recourses whose losses differ by less than `width` are tied. With a
`memory` below 1 the error rate of older answers is larger, `1/2 - (1/2 - lapse) memory^age`, as those of a person whose
preferences drift say less about the present ones. The likelihood of a point of the grid is the product, over the
answers, of the probability of each answer given all others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr

from hare_jax.elicit.bayesian.propagation import Normal


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
    """The posterior mean of each parameter."""
    sd = jnp.sqrt(answered.gap.variance)
    width = grid.width.value[:, None] * answered.slope[None, :]
    above, below = (ndtr((sign * answered.gap.mean - width) / sd) for sign in (1, -1))
    probability = jnp.where(answered.tied, 1 - above - below, above)  # (W, T)
    rates = error_rate(grid.lapse.value[:, None, None], grid.memory.value[:, None], answered.age)  # (L, M, T)
    rates = rates[:, None]
    log_p = jnp.where(answered.told, jnp.log(rates + (1 - 2 * rates) * probability[None, :, None]), 0)
    score = jnp.sum(log_p, axis=-1)  # (L, W, M)
    score += grid.lapse.log_prior[:, None, None] + grid.width.log_prior[:, None] + grid.memory.log_prior
    weight = jnp.exp(score - jax.nn.logsumexp(score))
    return Manner(
        lapse=jnp.sum(weight * grid.lapse.value[:, None, None]),
        width=jnp.sum(weight * grid.width.value[:, None]),
        memory=jnp.sum(weight * grid.memory.value),
    )


def error_rate(lapse: Array, memory: Array, age: Array) -> Array:
    """The error rate of answers of this `age`."""
    return 0.5 - (0.5 - lapse) * memory**age
