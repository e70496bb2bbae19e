"""Descent with restarts: how the gradient methods get from a factual to an accepted point. Not a method itself.

Adam descends an objective over relaxed points z, fractional categories and all, and stops at the first z whose
projection scores enough. Where that fails, as on the flat parts of a classifier, it starts again from a random point.
Adam's steps are as long in a column that hardly matters as in one that decides; ours are scaled by each column's slope
over the steepest, which ends nearer in L1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.space import ActionSpace, project, relax

Objective = Callable[[Array, Array], Array]  # relaxed point (d,), number of the step () -> ()
Score = Callable[[Array], Array]  # point (d,) -> ()


def search(
    hp: Any, key: Array, objective: Objective, score_fn: Score, x: Array, space: ActionSpace, begin: Array | None = None
) -> Array:
    """The first allowed point (d,) that the descent finds with `score_fn` at least `hp.margin`, or the last it tried.

    It is `begin` (d,), by default `x` (d,) itself, if that has the score already. `hp` has the fields `num_steps` (of
    one attempt), `num_attempts` (the first starts at `x`, the others at random points further and further away),
    `num_starts` (random points of one attempt: the one with the highest score is its start), `learning_rate`,
    `restart_scale` (s.d. of the second attempt's start around `x`; grows with each attempt) and `margin`.
    """

    def attempt(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        index, _, done = carry
        noise = jax.random.normal(jax.random.fold_in(key, index), (hp.num_starts, x.shape[0]), x.dtype)
        starts = jax.vmap(lambda move: relax(space, x, x + move))(hp.restart_scale * index * noise)
        start = starts[jnp.argmax(jax.vmap(score_fn)(starts))]
        point = _descend(hp, objective, score_fn, x, start, space, done)
        return index + 1, point, score_fn(point) >= hp.margin

    point = x if begin is None else begin
    unfinished = (jnp.zeros((), jnp.int32), point, score_fn(point) >= hp.margin)
    return jax.lax.while_loop(lambda c: ~c[2] & (c[0] < hp.num_attempts), attempt, unfinished)[1]


def _descend(
    hp: Any, objective: Objective, score_fn: Score, x: Array, start: Array, space: ActionSpace, done: Array
) -> Array:
    """Descend from `start` (d,) until the projected point scores enough, nothing moves, or the steps are over.

    A row that is `done` () takes no step: under `vmap` it waits for the others of its batch.
    """
    optimiser = optax.adam(hp.learning_rate)

    def enough(z: Array) -> Array:
        return score_fn(project(space, x, z)) >= hp.margin

    def step(carry: tuple) -> tuple:
        index, z, state, _ = carry
        slope = jnp.where(space.mutable, jax.grad(objective)(z, index), 0)
        updates, state = optimiser.update(slope, state)
        steepness = jnp.abs(slope) / jnp.maximum(jnp.max(jnp.abs(slope)), jnp.finfo(slope.dtype).tiny)
        moved = relax(space, x, z + steepness * updates)
        return index + 1, moved, state, enough(moved) | jnp.all(moved == z)

    first = (jnp.zeros((), jnp.int32), start, optimiser.init(start), done | enough(start))
    _, z, _, _ = jax.lax.while_loop(lambda c: ~c[3] & (c[0] < hp.num_steps), step, first)
    return project(space, x, z)
