"""Valid recourses to ask about: all over what the person may reach, or around what they are believed to wish for."""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace, project

_BOUNDARY_STEPS = 10  # bisections that bring a wish to the accepted side


def all_over(
    key: Array, logit_fn: LogitFn, x: Array, base: Recourse, space: ActionSpace, num: int, reach: float, margin: float
) -> Recourse:
    """Recourses (num, d) for `x` (d,): wishes in all directions, up to `reach` away, brought to the accepted side."""
    noise = jax.random.uniform(key, (num, x.shape[0]), x.dtype, -1, 1)
    noise = jnp.where(space.mutable[None, :], noise, 0)
    length = jnp.maximum(jnp.linalg.norm(noise, axis=1, keepdims=True), jnp.finfo(x.dtype).tiny)
    radius = reach * (jnp.arange(num, dtype=x.dtype) + 0.5) / num
    wishes = jax.vmap(lambda move: project(space, x, x + move))(radius[:, None] * noise / length)
    anchors = put_in_front(base, Recourse(wishes, jax.vmap(logit_fn)(wishes) >= margin))
    return to_accepted(logit_fn, wishes, anchors, space, margin)


def put_in_front(one: Recourse, others: Recourse) -> Recourse:
    """The recourse `one` (d,) before the `others` (m, d): (m + 1, d)."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), one, others)


def to_accepted(logit_fn: LogitFn, wishes: Array, anchors: Recourse, space: ActionSpace, margin: float) -> Recourse:
    """For each of the allowed `wishes` (n, d), the first accepted point on the way to the nearest valid `anchor`."""

    def one(wish: Array) -> Recourse:
        distance = jnp.where(anchors.valid, jnp.sum((anchors.x - wish[None, :]) ** 2, axis=1), jnp.inf)
        near = jnp.argmin(distance)
        found = boundary(logit_fn, wish, anchors.x[near], space, margin=margin, num_steps=_BOUNDARY_STEPS)
        wish = jax.lax.optimization_barrier(wish)
        accepted = logit_fn(wish) >= margin
        return Recourse(jnp.where(accepted, wish, found.x), accepted | (found.valid & anchors.valid[near]))

    return jax.vmap(one)(wishes)
