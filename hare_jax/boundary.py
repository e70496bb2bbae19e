"""Boundary search: the nearest accepted point on the way from a factual to an accepted recourse, differentiable.

The bisection runs over points that the action space allows (`space.along`), so categories and steps never turn
fractional, and its answer is the accepted end of the bracket, a point that was evaluated itself. Its derivative is that
of the root `t` of `logit_fn(along(t)) = margin`: by the implicit function theorem, whatever number of steps found it.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse
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
    rounding = 64 * float(jnp.finfo(x.dtype).eps)  # of a logit: another program may round the same one otherwise
    width = jnp.maximum(jnp.exp2(-one * num_steps), rounding)

    def excess(t: Array) -> Array:
        return logit_fn(along(space, x, x_cf, t)) - margin

    def bisect(_: object, t: Array) -> tuple[Array, Array]:
        def halve(_: int, bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            refused, accepted, best = bracket
            middle = (refused + accepted) / 2
            point = jax.lax.optimization_barrier(along(space, x, x_cf, middle))  # what is kept is what was evaluated
            inside = logit_fn(point) - margin >= 0
            return (
                jnp.where(inside, refused, middle),
                jnp.where(inside, middle, accepted),
                jnp.where(inside, point, best),
            )

        return jax.lax.fori_loop(0, num_steps, halve, (jnp.zeros_like(t), t, x_cf))[1:]

    def residual(t: Array) -> Array:
        """`excess`, or a residual that only the present `t` solves, whatever the rest is."""
        back = jnp.maximum(t - width, 0)
        same = along(space, x, x_cf, back) == along(space, x, x_cf, t)
        smooth = jnp.all((space.step == 0) | same) & (excess(back) < rounding)
        return jnp.where(smooth, excess(t), t - jax.lax.stop_gradient(t))

    valid = excess(one) >= 0
    t, best = jax.lax.custom_root(residual, one, bisect, _divide, has_aux=True)
    point = along(space, x, x_cf, t)
    point += jax.lax.stop_gradient(best - point)  # computed again, a step may be rounded the other way
    return Recourse(jnp.where(valid, point, x_cf), valid)


def _divide(tangent: object, value: Array) -> Array:
    """Solve the scalar linear equation `tangent(t) = value`; 0 where the classifier is flat along the way."""
    slope = tangent(jnp.ones_like(value))  # type: ignore[operator]
    rises = slope > 0
    return jnp.where(rises, value / jnp.where(rises, slope, 1), 0)
