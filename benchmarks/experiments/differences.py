"""Central differences of a pipeline of which the search is held, by other means than those of the package.

The direction of the change from `x` to the recourse is constant; its length is solved for by Newton's method, so that
the score of the point stays what it was. See `recourse.derivative` for the columns that are constant.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.space import ActionSpace, is_held

_WIDTH = 2.0**-18  # of the change: a point on the boundary is refused when its change is this much shorter
_NEWTON_STEPS = 4
_STEP = 1e-7  # of the central differences, in float64: so small that almost no row crosses a kink


class Held(NamedTuple):
    """The result of a search, and how each of its columns moves."""

    x_cf: Array  # (d,)
    change: Array  # (d,) from the factual of the search
    constant: Array  # (d,) bool: equal to that of `x_cf`
    scaled: Array  # (d,) bool: moves with the boundary, in proportion to its change; the others move with the factual
    level: Array  # () score of `x_cf`


def hold(hp: Any, score_fn: LogitFn, x: Array, found: Recourse, space: ActionSpace) -> Held:
    """The recourse that the method with the hyperparameters `hp` has `found` for `x` (d,).

    `score_fn` is what reaches the margin at the boundary. A method without bisections returns training rows.
    """
    change = found.x - x
    continuous = (change != 0) & (space.step == 0)
    if hasattr(hp, "num_boundary_steps"):
        constant = found.valid & is_held(space, x, found.x)
    else:
        constant = found.valid & (continuous | is_held(space, x, found.x))
    scaled = continuous & ~constant
    shorter = x + jnp.where(scaled, 1 - _WIDTH, 1) * change
    on_boundary = found.valid & (score_fn(shorter) < hp.margin)
    return Held(found.x, change, constant, scaled & on_boundary, score_fn(found.x))


def resolve(held: Held, score_fn: LogitFn, x: Array) -> Array:
    """The point (d,) of the `held` change from another `x` (d,), or for the score of another classifier."""

    def along(t: Array) -> Array:
        return jnp.where(held.constant, held.x_cf, x + jnp.where(held.scaled, t, 1) * held.change)

    def newton(_: int, t: Array) -> Array:
        score, slope = jax.value_and_grad(lambda t: score_fn(along(t)))(t)
        return t - jnp.where(slope == 0, 0, (score - held.level) / jnp.where(slope == 0, 1, slope))

    return along(jax.lax.fori_loop(0, _NEWTON_STEPS, newton, jnp.ones_like(held.level)))


def random_direction(key: Array, like: Any) -> Any:
    """Standard normal arrays in the shape of those of `like`."""
    leaves, shape = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(shape, drawn)


def inner(a: Any, b: Any) -> Array:
    """Inner product () of two pytrees."""
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), a, b)), jnp.zeros(()))


def central(fn: Callable, args: tuple, way: tuple, index: int) -> Array:
    """Central difference of `fn` in its argument `index`, in the direction `way[index]`."""

    def moved(size: float) -> Array:
        end = jax.tree.map(lambda leaf, way: leaf + size * way, args[index], way[index])
        return fn(*args[:index], end, *args[index + 1 :])

    return (moved(_STEP) - moved(-_STEP)) / (2 * _STEP)
