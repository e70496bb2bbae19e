"""What recourse costs the people whom a classifier refuses, as a differentiable function of the classifier.

Which way to go is held constant, and how far is differentiated: at a recourse of least cost the derivative of the way
drops out (the envelope theorem), and elsewhere it is the derivative of a person who keeps to the plan they were given.
`recourse_cost` is for measuring, with any method; `linear_cost` is the cheap estimate for training.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import Generate, LogitFn
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, bounds, is_coarse, weighted_l1

_OVERSHOOT = 1.1  # of the way to a recourse, so that the boundary is crossed on it
_DEAREST = 1.0  # cost of a logit: flat classifiers would ask for steps of any length
_FURTHEST = 1e3  # in encoded units, where there is no bound


class Costs(NamedTuple):
    """What the mean stands on; n people."""

    cost: Array  # (n,) sum_j weights_j |x'_j - x_j|, 0 where it doesn't count
    refused: Array  # (n,) bool
    valid: Array  # (n,) bool: refused, and there is a recourse


def smoothed(space: ActionSpace) -> ActionSpace:
    """`space` with ordered columns of more than two steps as continuous ones.

    A recourse that moves by steps is constant but for its jumps, and so is its cost: to be told which way a jump is
    near, take the derivative between the steps. Categories keep theirs.

    >>> from hare_jax.space import action_space
    >>> smoothed(action_space([True, True], [0.0, 0.0], [1.0, 1.0], step=[0.25, 1.0])).step.tolist()
    [0.0, 1.0]
    """
    return space._replace(step=jnp.where(is_coarse(space), space.step, 0))


def on_boundary(
    logit_fn: LogitFn, x: Array, x_cf: Array, space: ActionSpace, *, margin: float = MARGIN, num_steps: int = 30
) -> Array:
    """An accepted recourse `x_cf` (d,) for `x` (d,), which now moves with the classifier's boundary: (d,).

    Categories, and columns at a bound, stay as `x_cf` has them; the others, between their steps too (`smoothed`), are
    bisected on the way through it, with the derivatives of `boundary`. Where there is nothing beyond `x_cf`, it counts
    as constant.
    """
    space = smoothed(space)
    lower, upper = bounds(space, x)
    change = x_cf - x
    room = jnp.where(change > 0, upper - x, x - lower)
    held = (space.step > 0) | (room <= jnp.abs(change))
    most = jnp.min(jnp.where(held | (change == 0), _OVERSHOOT, room / jnp.where(change == 0, 1, jnp.abs(change))))
    fixed = jax.lax.stop_gradient((held, jnp.minimum(most, _OVERSHOOT)))
    start, end = jnp.where(fixed[0], x_cf, x), jnp.where(fixed[0], x_cf, x + fixed[1] * change)
    found = boundary(logit_fn, start, end, space, margin=margin, num_steps=num_steps)
    return jnp.where(found.valid, found.x, x_cf)


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
    """Mean cost () of recourse for those of `x` (n, d) whom `logit(params, .)` refuses, and what it stands on.

    `weights` (n, d) are each person's cost of a unit of change. `generate` is any method; its recourse is held constant
    and then moved with the boundary (`on_boundary`), so the mean is differentiable in `params`, `x` and `weights`:
    `jax.grad(recourse_cost, has_aux=True)`. It is 0 where nobody is refused.
    """
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
    """Where `x` (d,) gets to by `num_steps` times the cheapest way over the classifier's tangent plane: (d,).

    Each time, columns are moved in the order of their slope per unit of cost, as far as their bounds allow, until the
    plane reaches the margin. Steps count as continuous, and one-hot groups stay.
    """
    lower, upper = bounds(space, x)
    movable = space.mutable & (space.group < 0)
    earlier = jnp.tri(x.shape[0], k=-1, dtype=bool)  # comparing all pairs of columns is faster than sorting them

    def step(z: Array, _: None) -> tuple[Array, None]:
        value, slope = jax.value_and_grad(logit_fn)(z)
        room = jnp.where(movable, jnp.minimum(jnp.where(slope > 0, upper - z, z - lower), _FURTHEST), 0)
        rate, gain = jnp.abs(slope) / weights, jnp.abs(slope) * room
        ahead = (rate[None, :] > rate[:, None]) | ((rate[None, :] == rate[:, None]) & earlier)
        lacking = margin - value - jnp.sum(jnp.where(ahead, gain[None, :], 0), axis=1)
        share = jnp.clip(lacking / jnp.maximum(gain, jnp.finfo(x.dtype).tiny), 0, 1)
        return z + jnp.sign(slope) * room * share, None

    return jax.lax.scan(step, x, length=num_steps)[0]


def linear_cost(logit_fn: Partial, x: Array, space: ActionSpace, weights: Array, *, margin: float = MARGIN) -> Array:
    """Estimate of the cheapest recourse's cost () for `x` (d,), 0 if it is accepted; for training a classifier.

    The value is that of `cheapest_move`. The derivative is by the classifier alone: minus the price of a logit on the
    way times the derivative of the logit at its end, which a person needs not pay for. `weights` are positive, (d,).
    """
    fixed_fn = jax.lax.stop_gradient(logit_fn)
    end = cheapest_move(fixed_fn, x, space, weights, margin=margin)
    before, after = fixed_fn(x), fixed_fn(end)
    cost = weighted_l1(weights, x, end)
    price = jnp.minimum(cost / jnp.maximum(after - before, jnp.finfo(x.dtype).eps), _DEAREST)
    return jnp.where(before < 0, cost + price * (after - logit_fn(end)), 0)


def penalty(strength: float | Array, space: ActionSpace, weights: Array | None = None) -> Partial:
    """A `penalty` for `models.fit`: `strength` times `linear_cost` under the cost `weights` (d,), 1 where left out."""
    return Partial(_penalty, strength, space, weights)


def _penalty(strength: float | Array, space: ActionSpace, weights: Array | None, logit_fn: Partial, x: Array) -> Array:
    return strength * linear_cost(logit_fn, x, space, jnp.ones_like(x) if weights is None else weights)
