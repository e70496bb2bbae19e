"""Wachter's method as the original's loop: plain AMSGrad steps, and a weight of the cost that is halved in between."""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.space import ActionSpace

_COST_WEIGHT = 0.1  # of the L1 distance, at the first step
_STEPS = 2500  # after which it is halved
_HALVINGS = 10  # in the place of the original's limit of 42 seconds
_OPTIMISER = optax.amsgrad(0.01)


def wachter(key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """The first accepted point of the descent from `x` (d,) over the mutable columns, within the unit box.

    All columns take steps of about the same length, unlike those of `hare_jax.recourse.descent`. The `key` is unused.
    """

    def objective(z: Array, index: Array) -> Array:
        weight = _COST_WEIGHT * 0.5 ** (index // _STEPS)
        return jax.nn.softplus(-logit_fn(z)) + weight * jnp.sum(jnp.abs(z - x))

    def step(now: tuple[Array, Array, optax.OptState]) -> tuple[Array, Array, optax.OptState]:
        index, z, state = now
        slope = jnp.where(space.mutable, jax.grad(objective)(z, index), 0)
        move, state = _OPTIMISER.update(slope, state)
        return index + 1, jnp.clip(z + move, 0, 1), state

    def refused(now: tuple[Array, Array, optax.OptState]) -> Array:
        return (logit_fn(now[1]) < 0) & (now[0] < _STEPS * _HALVINGS)

    _, z, _ = jax.lax.while_loop(refused, step, (jnp.zeros((), jnp.int32), x, _OPTIMISER.init(x)))
    return Recourse(z, logit_fn(z) >= 0)
