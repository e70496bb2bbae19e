"""Wachter et al.: gradient descent from the factual to the accepted side, with a cost for the way.

Descends `softplus(-logit(z)) + cost_weight * ||z - x||_1` over relaxed points z, and lets the cost's weight decay until
the snapped z is accepted. Where the classifier is flat (dead units), it starts again from a random point.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows, project, relax


@hyperparams
class Wachter:
    """How Wachter's method descends."""

    num_steps: int = 200  # Adam steps of one attempt
    num_attempts: int = 20  # the first starts at the factual, the others at random points further and further away
    num_starts: int = 16  # random points of one attempt: the one with the highest logit is its start
    learning_rate: float = 0.03  # of Adam
    cost_weight: float = 0.1  # of the L1 distance, at the first step
    cost_decay: float = 0.97  # of the cost's weight, a step
    restart_scale: float = 0.1  # s.d. of the second attempt's start around the factual; grows with each attempt
    margin: float = MARGIN  # the least logit of a recourse


def generate(hp: Wachter, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Wachter, Mittelstadt and Russell (2018), https://arxiv.org/abs/1711.00399.

    Ours are the relaxed categories, the restarts, and the last step: a boundary search from the accepted point back
    towards `x`, which undoes what the last descent step did too much.
    """

    def attempt(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        index, _, done = carry
        noise = jax.random.normal(jax.random.fold_in(key, index), (hp.num_starts, x.shape[0]), x.dtype)
        starts = jax.vmap(lambda move: relax(space, x, x + move))(hp.restart_scale * index * noise)
        start = starts[jnp.argmax(jax.vmap(logit_fn)(starts))]
        point = _descend(hp, logit_fn, x, start, space, done)
        return index + 1, point, logit_fn(point) >= hp.margin

    index = jnp.zeros((), jnp.int32)
    accepted = logit_fn(x) >= hp.margin
    unfinished = (index, x, accepted)
    _, point, accepted = jax.lax.while_loop(lambda c: ~c[2] & (c[0] < hp.num_attempts), attempt, unfinished)
    found = boundary(logit_fn, x, point, space, margin=hp.margin)
    return Recourse(found.x, found.valid & allows(space, x, found.x))


def _descend(hp: Wachter, logit_fn: LogitFn, x: Array, start: Array, space: ActionSpace, done: Array) -> Array:
    """Descend from `start` (d,) until the snapped point is accepted, the classifier is flat, or the steps are over.

    A row that is `done` () takes no step: under `vmap` it waits for the others of its batch.
    """
    optimiser = optax.adam(hp.learning_rate)

    def objective(z: Array, cost_weight: Array) -> Array:
        return jax.nn.softplus(-logit_fn(z)) + cost_weight * jnp.sum(jnp.abs(z - x))

    def step(carry: tuple) -> tuple:
        index, z, state, _ = carry
        slope = jax.grad(objective)(z, hp.cost_weight * hp.cost_decay**index)
        updates, state = optimiser.update(jnp.where(space.mutable, slope, 0), state)
        moved = relax(space, x, z + updates)
        stop = (logit_fn(project(space, x, moved)) >= hp.margin) | jnp.all(moved == z)
        return index + 1, moved, state, stop

    begin = (
        jnp.zeros((), jnp.int32),
        start,
        optimiser.init(start),
        done | (logit_fn(project(space, x, start)) >= hp.margin),
    )
    _, z, _, _ = jax.lax.while_loop(lambda c: ~c[3] & (c[0] < hp.num_steps), step, begin)
    return project(space, x, z)
