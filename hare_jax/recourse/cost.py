"""The cost of recourse for the rows that a classifier refuses, as a differentiable function of the classifier.

`recourse_cost` is its mean for any method and any kind of person. `linear_cost` is an estimate without a search, and
`penalty` makes either a term of the training loss. A method holds its direction constant and differentiates its length:
at a recourse of least cost the derivative of the direction drops out (envelope theorem), and elsewhere the derivative
is that of a fixed plan.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import (
    Generate,
    LogitFn,
    as_partial,
    check_key,
    check_leaves,
    check_row,
    check_shapes,
    holds,
    require,
)
from hare_jax.hyperparams import NonNegative, check_values
from hare_jax.recourse.cheapest_path import at_gain, path
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import FURTHEST, ActionSpace, costs, follow, is_coarse, own_bounds, weighted_cost

LossFn = Callable[[Any, Array, Array], Array]  # hidden, x (d,), x_cf (d,) -> ()

_MAX_PRICE = 1.0  # cost of a logit: where the classifier is flat, the price has no limit


class Costs(NamedTuple):
    """The costs that the mean is taken of, for n rows."""

    cost: Array  # (n,) the loss of the recourse; 0 where not valid
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


def recourse_cost(
    generate: Generate,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    space: ActionSpace,
    hidden: Any = None,
    *,
    loss_fn: LossFn | None = None,
) -> tuple[Array, Costs]:
    """Mean cost () of the recourses of `generate` for the rows of `x` (n, d) that `logit_fn` refuses, and the `Costs`.

    The cost of row i is `loss_fn(hidden_i, x_i, x_cf_i)`, where `hidden` is a pytree with leaves (n, ...) and `loss_fn`
    that of a kind of person, `people.PERSONS[kind].loss`. By default it is `sum_j hidden_ij |own change_ij|`, and
    `hidden` (n, d) is the cost of the space where left out. The mean is over the refused rows with a valid recourse, 0
    if there are none.

    `generate` is any method bound by `recourse.bind`. As a method is differentiable, so is the mean, in the arrays of
    `logit_fn`, in `x` and in `hidden`. With ordered columns it is piecewise constant in the classifier: see `smoothed`.

    Raises:
        ValueError: `x` is no batch of rows of the space, or a leaf of `hidden` has not one entry per row.

    >>> from hare_jax.solvers.boundary import boundary
    >>> from hare_jax.space import action_space
    >>> space, x = action_space([True], [0.0], [1.0]), jnp.array([[0.1], [0.3], [0.9]])
    >>> generate = lambda key, logit_fn, x, space: boundary(logit_fn, x, jnp.ones(1), space)
    >>> cost = lambda cutoff: recourse_cost(generate, jax.random.key(0), lambda x: x[0] - cutoff, x, space)[0]
    >>> [round(float(value), 2) for value in jax.jit(jax.value_and_grad(cost))(0.5)]
    [0.3, 1.0]
    """
    _check_rows(key, x, space)
    require(callable(generate), "generate", "must be a method bound by recourse.bind", generate)
    check_leaves(hidden=(hidden, len(x)))
    loss = loss_fn or Partial(_own_cost, space)

    def one(hidden: Any, key: Array, x: Array) -> Costs:
        return _cost(generate, loss, space, hidden, key, logit_fn, x)

    costs = jax.vmap(one)(hidden, jax.random.split(key, x.shape[0]), x)
    return jnp.sum(costs.cost) / jnp.maximum(jnp.sum(costs.valid), 1).astype(x.dtype), costs


def _check_rows(key: Array, x: Array, space: ActionSpace) -> None:
    check_key(key)
    require(isinstance(space, ActionSpace), "space", "must be an ActionSpace", type(space).__name__)
    check_shapes(x=(x, (None, len(space.mutable))))
    require(holds(np.isfinite, x), "x", "must be finite", x)


def _cost(
    generate: Generate, loss_fn: LossFn, space: ActionSpace, hidden: Any, key: Array, logit_fn: LogitFn, x: Array
) -> Costs:
    """The cost of one row: `Costs` with fields ()."""
    found = generate(key, logit_fn, x, space)
    refused = logit_fn(x) < 0
    valid = refused & found.valid
    return Costs(jnp.where(valid, loss_fn(hidden, x, found.x), 0), refused, valid)


def _own_cost(space: ActionSpace, weights: Array | None, x: Array, x_cf: Array) -> Array:
    """`space.weighted_cost`, with the weights of the space where left out."""
    return weighted_cost(space, costs(space, x) if weights is None else weights, x, x_cf)


def cheapest_move(
    logit_fn: LogitFn, x: Array, space: ActionSpace, weights: Array, *, margin: float = MARGIN, num_steps: int = 3
) -> Array:
    """The point (d,) after `num_steps` cheapest steps from `x` (d,), each computed on the classifier's tangent plane.

    Each step moves the columns in the order of their slope per unit of cost, as far as their bounds allow, until the
    plane reaches the margin. Ordered columns count as continuous, and one-hot groups stay. Columns that follow others
    follow; inequalities and a limit on the number of changes are left out.

    Raises:
        ValueError: a row is not as wide as the space.
    """
    check_row(x, space, weights=weights)
    lower, upper = own_bounds(space, x)
    movable = space.mutable & (space.group < 0)
    after = partial(follow, space, x, smooth=True)

    def step(z: Array, _: None) -> tuple[Array, None]:
        logit, slope = jax.value_and_grad(lambda z: logit_fn(after(z)))(z)
        room = jnp.clip(jnp.where(slope > 0, upper - z, lower - z), -FURTHEST, FURTHEST)
        return at_gain(path(z, jnp.where(movable, room, 0), slope, weights), margin - logit), None

    return after(jax.lax.scan(step, x, length=num_steps)[0])


def linear_cost(logit_fn: Partial, x: Array, space: ActionSpace, weights: Array, *, margin: float = MARGIN) -> Array:
    """Estimate of the cheapest recourse's cost () for `x` (d,), 0 if it is accepted; for training a classifier.

    The value is that of `cheapest_move`. The derivative is by the classifier alone: minus the mean price of a logit
    along the move times the derivative of the logit at its end. `weights` (d,) are positive.
    """
    fixed_fn = jax.lax.stop_gradient(logit_fn)
    end = cheapest_move(fixed_fn, x, space, weights, margin=margin)
    logit, end_logit = fixed_fn(x), fixed_fn(end)
    cost = weighted_cost(space._replace(step=jnp.zeros_like(x)), weights, x, end)
    price = jnp.minimum(cost / jnp.maximum(end_logit - logit, jnp.finfo(x.dtype).eps), _MAX_PRICE)
    return jnp.where(logit < 0, cost + price * (end_logit - logit_fn(end)), 0)


def penalty(
    strength: float | Array, space: ActionSpace, generate: Generate | None = None, *, loss_fn: LossFn | None = None
) -> Partial:
    """A `penalty` for `models.fit`: `strength` times the cost of recourse of each refused row.

    `fit(..., given=hidden)` passes the `hidden` parameters (n, ...) of a person for each training row; they and
    `loss_fn` are those of `recourse_cost`. Without `generate` the cost is the estimate `linear_cost`, which needs no
    search, and the person has cost weights. With it, the recourse of each row is computed anew in each step, with new
    random draws: choose hyperparameters of a small search. A method that is fitted to a classifier and training rows
    stays fitted to those. Rows without a valid recourse have no penalty.

    The derivative is that of the recourse, `-price * (derivative of the logit)`, in which the price of a logit is at
    most 1 unit of cost: where the classifier is flat, it has no limit. Ordered columns are continuous (`smoothed`). The
    recourses of NNCE and FACE are training rows, constant in the classifier: they do not change the training.

    Raises:
        ValueError: `strength` is no number of at least 0, `space` or `generate` is of another kind, or there is a
            `loss_fn` without a `generate`.

    >>> from hare_jax.space import action_space
    >>> space = action_space([True], [0.0], [1.0])
    >>> logit_fn = Partial(lambda x: x[0] - 0.5)
    >>> round(float(penalty(0.1, space)(None, jax.random.key(0), logit_fn, jnp.array([0.2]))), 3)
    0.03
    """
    check_values(strength=(strength, NonNegative))
    require(isinstance(space, ActionSpace), "space", "must be an ActionSpace", type(space).__name__)
    require(generate is None or callable(generate), "generate", "must be a method bound by recourse.bind", generate)
    if generate is None:
        require(loss_fn is None, "generate", "must be given with a loss_fn, as linear_cost has its own", generate)
        return Partial(_linear_penalty, strength, space)
    return Partial(
        _penalty, strength, smoothed(space), as_partial(generate), as_partial(loss_fn or Partial(_own_cost, space))
    )


def _linear_penalty(
    strength: float | Array, space: ActionSpace, weights: Array | None, key: Array, logit_fn: Partial, x: Array
) -> Array:
    return strength * linear_cost(logit_fn, x, space, costs(space, x) if weights is None else weights)


def _penalty(
    strength: float | Array,
    space: ActionSpace,
    generate: Generate,
    loss_fn: LossFn,
    hidden: Any,
    key: Array,
    logit_fn: Partial,
    x: Array,
) -> Array:
    """The loss of the recourse, with its derivative scaled down where a logit costs more than `_MAX_PRICE`."""

    def cost(shift: Array) -> Array:
        return _cost(generate, loss_fn, space, hidden, key, Partial(_shifted, logit_fn, shift), x).cost

    value, by_shift = jax.jvp(cost, (jnp.zeros((), x.dtype),), (jnp.ones((), x.dtype),))
    price = jnp.abs(jax.lax.stop_gradient(by_shift))
    scale = _MAX_PRICE / jnp.maximum(price, _MAX_PRICE)
    fixed = jax.lax.stop_gradient(value)
    return strength * (fixed + scale * (value - fixed))


def _shifted(logit_fn: LogitFn, shift: Array, x: Array) -> Array:
    return logit_fn(x) + shift
