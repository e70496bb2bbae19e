"""The cost of recourse for the rows that a classifier refuses, as a differentiable function of the classifier.

The direction of a recourse is held constant, and its length is differentiated: at a recourse of least cost the
derivative of the direction drops out (the envelope theorem), and elsewhere the derivative is that of a fixed plan.
`recourse_cost` measures the cost with any method; `linear_cost` is the cheap estimate for training.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import Generate, LogitFn, check_row, check_shapes
from hare_jax.recourse.knapsack import ranks_before
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, bounds, is_coarse, weighted_l1

_OVERSHOOT = 1.1  # largest fraction of the way to a recourse, so that the segment crosses the boundary
_MAX_PRICE = 1.0  # cost of a logit: where the classifier is flat, the price has no limit
_FURTHEST = 1e3  # encoded units, where there is no bound


class Costs(NamedTuple):
    """The costs that the mean is taken of, for n rows."""

    cost: Array  # (n,) sum_j weights_j |x'_j - x_j|; 0 where not valid
    refused: Array  # (n,) bool
    valid: Array  # (n,) bool: refused, and there is a recourse


def smoothed(space: ActionSpace) -> ActionSpace:
    """`space` with ordered columns of more than two steps as continuous ones; categories keep their steps.

    A recourse that moves by steps, and its cost, are piecewise constant in the classifier. The derivative between the
    steps is that of the continuous columns.

    >>> from hare_jax.space import action_space
    >>> smoothed(action_space([True, True], [0.0, 0.0], [1.0, 1.0], step=[0.25, 1.0])).step.tolist()
    [0.0, 1.0]
    """
    return space._replace(step=jnp.where(is_coarse(space), space.step, 0))


class _Extension(NamedTuple):
    """The segment on which a recourse is moved, as columns held constant and a fraction of its change."""

    held: Array  # (d,) bool
    fraction: Array  # () at most _OVERSHOOT; the others reach no bound before it


def on_boundary(
    logit_fn: LogitFn, x: Array, x_cf: Array, space: ActionSpace, *, margin: float = MARGIN, num_steps: int = 30
) -> Array:
    """An accepted recourse `x_cf` (d,) for `x` (d,), moved with the classifier's boundary: (d,).

    Categories and columns at a bound keep their value in `x_cf`. The other columns count as continuous (`smoothed`) and
    are bisected on the segment from `x` through `x_cf`, with the derivatives of `boundary`. If the end of the segment
    is refused, the answer is `x_cf`, a constant.
    """
    check_row(x, space, x_cf=x_cf)
    space, change = smoothed(space), x_cf - x
    held, fraction = jax.lax.stop_gradient(_extension(x, change, space))
    start, end = jnp.where(held, x_cf, x), jnp.where(held, x_cf, x + fraction * change)
    found = boundary(logit_fn, start, end, space, margin=margin, num_steps=num_steps)
    return jnp.where(found.valid, found.x, x_cf)


def _extension(x: Array, change: Array, space: ActionSpace) -> _Extension:
    """How far `x` (d,) can go in the direction of `change` (d,)."""
    lower, upper = bounds(space, x)
    room = jnp.where(change > 0, upper - x, x - lower)
    held = (space.step > 0) | (room <= jnp.abs(change))
    fraction = jnp.where(held | (change == 0), _OVERSHOOT, room / jnp.where(change == 0, 1, jnp.abs(change)))
    return _Extension(held, jnp.minimum(jnp.min(fraction), _OVERSHOOT))


def recourse_cost(
    params: Any,
    logit: Callable[[Any, Array], Array],
    generate: Generate,
    key: Array,
    x: Array,
    space: ActionSpace,
    weights: Array,
    *,
    margin: float = MARGIN,
) -> tuple[Array, Costs]:
    """Mean cost () of recourse for those rows of `x` (n, d) that `logit(params, .)` refuses, and each row's `Costs`.

    `weights` (n, d) are each row's cost of a unit of change. `generate` is any method; its recourse is held constant
    and then moved with the boundary (`on_boundary`), so the mean is differentiable in `params`, `x` and `weights`:
    `jax.grad(recourse_cost, has_aux=True)`. It is 0 if no refused row has a recourse.
    """
    check_shapes(x=(x, (None, len(space.mutable))), weights=(weights, x.shape))
    logit_fn, fixed_fn = Partial(logit, params), Partial(logit, jax.lax.stop_gradient(params))

    def one(key: Array, x: Array, weights: Array) -> Costs:
        plan = jax.lax.stop_gradient(generate(key, fixed_fn, jax.lax.stop_gradient(x), space))
        refused = fixed_fn(x) < 0
        valid = refused & plan.valid
        cost = weighted_l1(weights, x, on_boundary(logit_fn, x, plan.x, space, margin=margin))
        return Costs(jnp.where(valid, cost, 0), refused, valid)

    costs = jax.vmap(one)(jax.random.split(key, x.shape[0]), x, weights)
    return jnp.sum(costs.cost) / jnp.maximum(jnp.sum(costs.valid), 1).astype(x.dtype), costs


def cheapest_move(
    logit_fn: LogitFn, x: Array, space: ActionSpace, weights: Array, *, margin: float = MARGIN, num_steps: int = 3
) -> Array:
    """The point (d,) after `num_steps` cheapest steps from `x` (d,), each computed on the classifier's tangent plane.

    Each step moves the columns in the order of their slope per unit of cost, as far as their bounds allow, until the
    plane reaches the margin. Ordered columns count as continuous, and one-hot groups stay.
    """
    check_row(x, space, weights=weights)
    lower, upper = bounds(space, x)
    movable = space.mutable & (space.group < 0)

    def step(z: Array, _: None) -> tuple[Array, None]:
        logit, slope = jax.value_and_grad(logit_fn)(z)
        room = jnp.where(movable, jnp.minimum(jnp.where(slope > 0, upper - z, z - lower), _FURTHEST), 0)
        gain = jnp.abs(slope) * room
        before = ranks_before(jnp.abs(slope) / weights)  # comparing all pairs is faster than sorting
        need = margin - logit - jnp.sum(jnp.where(before, gain[None, :], 0), axis=1)
        fraction = jnp.clip(need / jnp.maximum(gain, jnp.finfo(x.dtype).tiny), 0, 1)
        return z + jnp.sign(slope) * room * fraction, None

    return jax.lax.scan(step, x, length=num_steps)[0]


def linear_cost(logit_fn: Partial, x: Array, space: ActionSpace, weights: Array, *, margin: float = MARGIN) -> Array:
    """Estimate of the cheapest recourse's cost () for `x` (d,), 0 if it is accepted; for training a classifier.

    The value is that of `cheapest_move`. The derivative is by the classifier alone: minus the mean price of a logit
    along the move times the derivative of the logit at its end. `weights` (d,) are positive.
    """
    fixed_fn = jax.lax.stop_gradient(logit_fn)
    end = cheapest_move(fixed_fn, x, space, weights, margin=margin)
    logit, end_logit = fixed_fn(x), fixed_fn(end)
    cost = weighted_l1(weights, x, end)
    price = jnp.minimum(cost / jnp.maximum(end_logit - logit, jnp.finfo(x.dtype).eps), _MAX_PRICE)
    return jnp.where(logit < 0, cost + price * (end_logit - logit_fn(end)), 0)


def penalty(strength: float | Array, space: ActionSpace, weights: Array | None = None) -> Partial:
    """A `penalty` for `models.fit`: `strength` times `linear_cost` under the cost `weights` (d,), 1 where left out."""
    return Partial(_penalty, strength, space, weights)


def _penalty(strength: float | Array, space: ActionSpace, weights: Array | None, logit_fn: Partial, x: Array) -> Array:
    return strength * linear_cost(logit_fn, x, space, jnp.ones_like(x) if weights is None else weights)
