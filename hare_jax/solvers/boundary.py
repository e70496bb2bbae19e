"""Boundary search: the nearest accepted point on the way from a factual to an accepted recourse, differentiable.

The bisection runs over points that the action space allows (`space.along`), so categories and steps never turn
fractional, and its answer is the accepted end of the bracket, a point that was evaluated itself. Its derivative is that
of the root `t` of `logit_fn(along(t)) = margin`: by the implicit function theorem, whatever number of steps found it.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, as_partial
from hare_jax.space import ActionSpace, along

MARGIN = 1e-3  # logits; a point bisected to logit 0 is refused in one of seven separate evaluations in float32


def boundary(
    logit_fn: LogitFn, x: Array, x_cf: Array, space: ActionSpace, *, margin: float | Array = MARGIN, num_steps: int = 20
) -> Recourse:
    """Move `x_cf` (d,), allowed from `x` (d,), back towards `x` until just before the classifier refuses it.

    Bisects `logit_fn(along(t)) = margin` over `t` in [0, 1] to 2^-num_steps; where the segment crosses the boundary
    more than once it finds one crossing. `valid` tells whether `x_cf` itself reaches the margin; if not, it is returned
    as it came. HARE (TMLR 2025), algorithm 2; the margin and the snapped path are ours.

    Differentiable to any order, forward and reverse, in the arrays bound to `logit_fn`, in `x`, `x_cf` and `margin`.
    Where `t` is no root of a smooth function (a category switches there, or all of the way is accepted) it counts as
    constant.

    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True], lower=[0.0], upper=[1.0])
    >>> move = jax.jit(lambda x: boundary(lambda x: x[0] - 0.5, x, jnp.array([1.0]), space, margin=0.0).x[0])
    >>> round(float(move(jnp.array([0.0]))), 4), jax.grad(move)(jnp.array([0.0])).tolist()
    (0.5, [0.0])
    """
    one = jnp.ones((), x.dtype)
    logit_fn = as_partial(logit_fn)
    call, closure = jax.closure_convert(lambda logit_fn, x: logit_fn(x), logit_fn, x)
    way = _Way(logit_fn, tuple(closure), x, x_cf, space, jnp.asarray(margin, x.dtype))
    constant = jax.lax.stop_gradient(way)  # a search compares: there is nothing to differentiate

    def halve(_: int, bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        refused, accepted, best = bracket
        middle = (refused + accepted) / 2
        point, excess = _at(call, constant, middle)
        inside = excess >= 0
        return (
            jnp.where(inside, refused, middle),
            jnp.where(inside, middle, accepted),
            jnp.where(inside, point, best),
        )

    bracket = jnp.zeros_like(one), one, jax.lax.stop_gradient(x_cf)
    _, t, best = jax.lax.fori_loop(0, num_steps, halve, bracket)
    point = along(space, x, x_cf, _root(call, way, t, jnp.exp2(-one * num_steps)))
    point += jax.lax.stop_gradient(best - point)  # computed again, a step may be rounded the other way
    valid = _at(call, constant, one)[1] >= 0
    return Recourse(jnp.where(valid, point, x_cf), valid)


class _Way(NamedTuple):
    """A way to walk, and the classifier on it; all that the root may be differentiated in."""

    logit_fn: Partial
    closure: tuple[Array, ...]  # what `logit_fn` has from elsewhere
    x: Array  # (d,)
    x_cf: Array  # (d,)
    space: ActionSpace
    margin: Array  # ()


def _at(call: Callable[..., Array], way: _Way, t: Array) -> tuple[Array, Array]:
    """The point (d,) of the `way` at `t` (), and by how much its logit exceeds the margin ()."""
    point = jax.lax.optimization_barrier(along(way.space, way.x, way.x_cf, t))  # what is kept is what was evaluated
    return point, call(way.logit_fn, point, *way.closure) - way.margin


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _root(call: Callable[..., Array], way: _Way, t: Array, width: Array) -> Array:
    """`t` (), known to be within `width` () above a root of the excess, with the derivative of that root."""
    return t


@_root.defjvp
def _implicit(call: Callable[..., Array], primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (way, _, width), (change, _, _) = primals, tangents
    t = _root(call, *primals)
    constant, here = jax.lax.stop_gradient((way, t))
    rounding = 64 * float(jnp.finfo(t.dtype).eps)  # of a logit: another program may round the same one otherwise
    before, refused = _at(call, constant, jnp.maximum(here - jnp.maximum(width, rounding), 0))
    stays = jnp.all((way.space.step == 0) | (before == _at(call, constant, here)[0]))
    slope = jax.jvp(lambda t: _at(call, way, t)[1], (t,), (jnp.ones_like(t),))[1]
    shift = jax.jvp(lambda way: _at(call, way, t)[1], (way,), (change,))[1]
    smooth = stays & (refused < rounding) & (slope > 0)
    return t, jnp.where(smooth, -shift / jnp.where(smooth, slope, 1), 0)
