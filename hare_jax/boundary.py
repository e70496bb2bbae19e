"""Boundary search: the nearest accepted point on the way from a factual to an accepted recourse.

The bisection runs over points that the action space allows (`space.along`), so categories and steps never turn
fractional, and its answer is the accepted end of the bracket, a point that was evaluated itself.
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

    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True], lower=[0.0], upper=[1.0])
    >>> boundary(lambda x: x[0] - 0.5, jnp.array([0.0]), jnp.array([1.0]), space, margin=0.0).x.round(4).tolist()
    [0.5]
    """
    valid = logit_fn(x_cf) >= margin

    def halve(_: int, bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        refused, accepted, best = bracket
        middle = (refused + accepted) / 2
        point = along(space, x, x_cf, middle)
        inside = logit_fn(point) >= margin
        return (
            jnp.where(inside, refused, middle),
            jnp.where(inside, middle, accepted),
            jnp.where(inside, point, best),
        )

    zero, one = jnp.zeros((), x.dtype), jnp.ones((), x.dtype)
    *_, best = jax.lax.fori_loop(0, num_steps, halve, (zero, one, x_cf))
    return Recourse(jnp.where(valid, best, x_cf), valid)
