"""Directions that are far apart and lead to accepted points, optimised for many users at once.

Notation: B users, in the last axis of each array, along which the loops of a CPU vectorise; N directions; `unit`
(d, N, B) are their unit vectors. The objective of a user is
`mean_i validity_loss(unit_i) + spread_weight * mean_i max_{j != i} unit_i . unit_j`.

The solver of the paper takes steps of Adam along a subgradient: of each row of cosines, that of the largest alone. The
annealed one replaces the maximum by `log(sum_j exp(s unit_i . unit_j)) / s`, whose gradient moves all pairs, and
raises the sharpness s while the learning rate falls to 0: a quarter of the steps reach the same maximum.

The annealed solver writes sums over columns and directions as sums of their terms: a CPU vectorises these, and neither
a reduction over the first axis nor many products of small matrices.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import DTypeLike

from hare_jax.base import exact_products

_PAPER_DECAYS = (0.9, 0.999)  # of Adam's first and second moment
_ANNEALED_DECAYS = (0.5, 0.8)  # short memories: the objective changes from step to step
_LEAST_MOMENT = 1e-20  # added to the second moment, whose root has no derivative at 0, as in a column that is not moved
_MOST_TERMS = 64  # of a sum that is written out; more take long to compile
_FIRST_SHARPNESS, _LAST_SHARPNESS = 5.0, 40.0

Slope = Callable[[Array], Array]  # unit (d, N, B) -> gradient (d, N, B) of the validity loss


class Solver(NamedTuple):
    """The T steps of a solver."""

    rates: Array  # (T,) learning rates
    sharpness: Array | None  # (T,) of the smooth maximum; None: the maximum itself
    decays: tuple[float, float]  # of Adam


class _State(NamedTuple):
    free: Array  # (d, N, B) the directions, of any length
    adam: optax.OptState


def paper(num_steps: int, learning_rate: float | Array, dtype: DTypeLike) -> Solver:
    """The paper's solver: `num_steps` of Adam at a constant rate, on the largest cosines."""
    return Solver(jnp.full(num_steps, learning_rate, dtype), None, _PAPER_DECAYS)


def annealed(num_steps: int, learning_rate: float | Array, dtype: DTypeLike) -> Solver:
    """As `paper`, on smooth maxima of growing sharpness, at rates that fall linearly to 0."""
    done = jnp.arange(num_steps, dtype=dtype) / max(num_steps, 1)
    sharpness = _FIRST_SHARPNESS * (_LAST_SHARPNESS / _FIRST_SHARPNESS) ** done
    return Solver(learning_rate * (1 - done), sharpness, _ANNEALED_DECAYS)


def spread(
    solver: Solver, spread_weight: float | Array, validity_slope: Slope | None, noise: Array, mutable: Array
) -> Array:
    """Unit vectors (d, N, B) of least objective, from `noise` (d, N, B); zeros in columns that are not `mutable` (d,).

    `validity_slope` is the gradient of the validity loss; None leaves this loss out.
    """
    adam = optax.scale_by_adam(*solver.decays, eps_root=_LEAST_MOMENT)
    moving = jnp.broadcast_to(mutable[:, None, None], noise.shape)
    first = jnp.where(moving, noise, 0)
    step = partial(_step, adam, spread_weight, validity_slope, moving)
    last, _ = jax.lax.scan(step, _State(first, adam.init(first)), (solver.rates, solver.sharpness))
    return last.free * jax.lax.rsqrt(_squares(last.free))[None]


def _step(
    adam: optax.GradientTransformation,
    spread_weight: float | Array,
    validity_slope: Slope | None,
    moving: Array,
    state: _State,
    row: tuple[Array, Array | None],
) -> tuple[_State, None]:
    rate, sharpness = row
    squares = _squares(state.free)
    scale = jax.lax.rsqrt(squares)[None]
    unit = state.free * scale
    slope_fn = partial(_slope, spread_weight, validity_slope, sharpness)
    slope = jax.lax.cond(rate > 0, slope_fn, jnp.zeros_like, unit)  # kept: without it XLA repeats the sums for each use
    radial = _inner(slope, state.free) / squares
    tangent = scale * (slope - state.free * radial[None])
    updates, moments = adam.update(jnp.where(moving, tangent, 0), state.adam)
    return _State(state.free - rate * updates, moments), None


def _slope(spread_weight: float | Array, validity_slope: Slope | None, sharpness: Array | None, unit: Array) -> Array:
    """Gradient (d, N, B) of the objective in `unit` (d, N, B)."""
    slope = spread_weight * spread_gradient(unit, sharpness)
    return slope if validity_slope is None else slope + validity_slope(unit)


def spread_gradient(unit: Array, sharpness: Array | None) -> Array:
    """Gradient (d, N, B) of `mean_i max_{j != i} unit_i . unit_j`, or of the smooth maximum of this `sharpness` ().

    With a maximum, the nearest other direction of each is constant.
    """
    return _of_largest(unit) if sharpness is None else _of_smooth(unit, sharpness)


@exact_products
def _of_largest(unit: Array) -> Array:
    """The gradient of the mean of the largest cosines; a nearest pair contributes to both of its directions."""
    num = unit.shape[1]
    cosine = jnp.einsum("dib,djb->ijb", unit, unit) - 2 * jnp.eye(num, dtype=unit.dtype)[:, :, None]
    nearest = jnp.max(cosine, axis=0)  # of i as of j: the matrix is symmetric
    pairs = (cosine == nearest[None]).astype(unit.dtype) + (cosine == nearest[:, None]).astype(unit.dtype)
    return jnp.einsum("ijb,djb->dib", pairs, unit) / num


@exact_products
def _of_smooth(unit: Array, sharpness: Array) -> Array:
    """The gradient of the mean of the smooth maxima: the pair i, j is weighted by its softmax in both rows."""
    num = unit.shape[1]
    weight = jnp.where(jnp.eye(num, dtype=bool)[:, :, None], 0, jnp.exp(sharpness * _cosines(unit)))
    total = jnp.maximum(jnp.sum(weight, axis=0), jnp.finfo(unit.dtype).tiny)
    pairs = weight * (1 / total[None] + 1 / total[:, None])
    if num > _MOST_TERMS:
        return jnp.einsum("ijb,djb->dib", pairs, unit) / num
    return _sum([pairs[j][None] * unit[:, j][:, None] for j in range(num)]) / num


def _cosines(unit: Array) -> Array:
    """Products (N, N, B) of all pairs of directions (d, N, B)."""
    if len(unit) > _MOST_TERMS:
        return jnp.einsum("dib,djb->ijb", unit, unit)
    return _sum([row[:, None] * row[None] for row in unit])


def _inner(a: Array, b: Array) -> Array:
    """Inner product (N, B) of each direction of `a` with that of `b`, both (d, N, B)."""
    if len(a) > _MOST_TERMS:
        return jnp.sum(a * b, axis=0)
    return _sum([one * other for one, other in zip(a, b, strict=True)])


def _squares(free: Array) -> Array:
    """Squared Euclidean norm (N, B) of directions (d, N, B), at least the smallest normal number."""
    return jnp.maximum(_inner(free, free), jnp.finfo(free.dtype).tiny)


def _sum(terms: Sequence[Array]) -> Array:
    """Sum of the `terms`."""
    return sum(terms[1:], terms[0])
