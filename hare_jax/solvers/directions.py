"""Random directions of rays: target points that differ from the factual, or from a given point, in some columns.

Each function turns a tuple of uniform numbers into one target (d,), within the region's bounds but not yet allowed: the
caller projects it. Targets are own values: `x` plus own changes, without what only follows other columns.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.space import FURTHEST, ActionSpace, is_category, own_bounds

NUM_SPARSE, NUM_PERTURBED = 3, 2  # columns of a sparse direction, and of a perturbation, at most

_FAIR = 0.5  # probability of either side of a coin
_RESET, _RESET_OR_REDRAWN = 0.3, 0.65  # probabilities of what a perturbation does to a column; else it is scaled
_MAX_SCALE = 2  # of a column's change
_SMALL_MOVES = 3  # power of a uniform fraction: perturbations are more often small than large
_COIN_FACTOR = 7  # see `_coin`


class Region(NamedTuple):
    """Where the targets lie."""

    x: Array  # (d,) factual
    group: Array  # (d,) int32 one-hot groups of the action space
    lower: Array  # (d,) finite
    upper: Array  # (d,) finite
    columns: Array  # (d,) int32 indices, mutable columns first
    num_mutable: Array  # () int32
    categories: Array  # (d,) bool


class SparseDraw(NamedTuple):
    """Uniform numbers of a sparse direction."""

    column: Array  # (3,) which columns move
    position: Array  # (3,) towards which bound, and how far relative to each other
    length: Array  # (1,) of the direction


class DenseDraw(NamedTuple):
    """Uniform numbers of a dense direction."""

    position: Array  # (d,) towards which bound, and how far
    included: Array  # (d,) whether the column moves


class PerturbationDraw(NamedTuple):
    """Uniform numbers of a perturbation."""

    column: Array  # (2,) which columns change, and, from the first number, whether the second one does
    position: Array  # (2,) towards which bound, and how far
    kind: Array  # (2,) reset, redrawn or scaled


def region_around(x: Array, space: ActionSpace) -> Region:
    """The region of targets around `x` (d,)."""
    lower, upper = own_bounds(space, x)
    lower, upper = jnp.maximum(lower, x - FURTHEST), jnp.minimum(upper, x + FURTHEST)
    columns, num_mutable = jnp.argsort(~space.mutable), jnp.sum(space.mutable)
    return Region(x, space.group, lower, upper, columns, num_mutable, is_category(space))


def uniform_moves(key: Array, length: Array, space: ActionSpace) -> Array:
    """Changes (n, d) of the mutable columns of this L2 `length` (n,), in the directions of uniform points in a cube."""
    noise = jax.random.uniform(key, (len(length), len(space.mutable)), length.dtype, minval=-1.0)
    noise = jnp.where(space.mutable[None, :], noise, 0)
    norm = jnp.maximum(jnp.linalg.norm(noise, axis=1, keepdims=True), jnp.finfo(noise.dtype).tiny)
    return length[:, None] * noise / norm


def sparse_target(region: Region, draw: SparseDraw) -> Array:
    """The target (d,) of a ray in a random direction of one to three columns."""
    column = _random_columns(region, draw.column)
    origin = region.x[column]
    bound, fraction = _random_move(draw.position, region.lower[column], region.upper[column])
    length = jnp.minimum(2 * draw.length, 1) / jnp.max(fraction)  # half of the rays end at a bound
    value = origin + length * fraction * (bound - origin)
    target, reset = region.x, jnp.array(False)
    for index in range(NUM_SPARSE):
        target = _set_column(region, target, column[index], value[index], reset)
    return target


def dense_target(region: Region, draw: DenseDraw) -> Array:
    """The target (d,) of a ray in a random direction of about half of the columns."""
    bound, fraction = _random_move(draw.position, region.lower, region.upper)
    return jnp.where(draw.included < _FAIR, region.x + fraction * (bound - region.x), region.x)


def perturbed_target(region: Region, draw: PerturbationDraw, z: Array) -> Array:
    """The target (d,) of a ray in the direction of `z` (d,), but for one or two columns."""
    column = _random_columns(region, draw.column)
    origin = region.x[column]
    bound, fraction = _random_move(draw.position, region.lower[column], region.upper[column])
    redrawn = origin + fraction**_SMALL_MOVES * (bound - origin)
    scaled = origin + _MAX_SCALE * fraction**_SMALL_MOVES * (z[column] - origin)
    reset = draw.kind < _RESET
    value = jnp.where(reset, origin, jnp.where(draw.kind < _RESET_OR_REDRAWN, redrawn, scaled))
    one = _set_column(region, z, column[0], value[0], reset[0])
    both = _set_column(region, one, column[1], value[1], reset[1])
    return jnp.where(_coin(draw.column[0]), one, both)


def _set_column(region: Region, z: Array, column: Array, value: Array, reset: Array) -> Array:
    """`z` (d,) with `value` () in a `column` (); a category switches to its level, or on `reset` to that of `x`."""
    x, group = region.x, region.group
    in_group = (group == group[column]) & (group[column] >= 0)
    one_hot = jnp.where(reset, x, jnp.arange(len(x)) == column)
    other_level = (region.lower + region.upper - x)[column]  # of a category with two
    value = jnp.where(region.categories[column] & ~reset, other_level, value)
    return jnp.where(in_group, one_hot, z.at[column].set(value))


def _random_columns(region: Region, uniform: Array) -> Array:
    """Mutable columns (k,), with replacement."""
    return region.columns[jnp.floor(uniform * region.num_mutable).astype(jnp.int32)]


def _random_move(uniform: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """One of the two bounds (k,) with equal probability, and a uniform fraction (k,): both from one number a column."""
    falls = uniform < _FAIR
    return jnp.where(falls, lower, upper), jnp.where(falls, 2 * uniform, 2 * uniform - 1)


def _coin(uniform: Array) -> Array:
    """A fair coin () from a uniform number () that is in use already, which saves a draw: the fraction of 7 u.

    It is not independent of the other use. Given the column that `u` chooses out of n, it is fair for n = 7, biased
    for other n, and for n = 14 determined.
    """
    return uniform * _COIN_FACTOR % 1 < _FAIR
