"""The derivative of a recourse method: its search is held constant, and its point moves with the decision boundary.

A search compares, so it is not differentiated: its arguments are stopped. The recourse that it finds is scaled back to
the decision boundary in its own direction (`solvers.boundary.scale_back`), and its derivative is that of the boundary
in this direction, by the implicit function theorem. At a recourse of least cost, the derivative of the cost is that of
the search itself, because the derivative of the direction drops out (envelope theorem).
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, as_partial
from hare_jax.solvers.boundary import scale_back, with_value
from hare_jax.space import ActionSpace, is_follower, is_held, own_change, with_own_change

FittedGenerate = Callable[[Any, Array, LogitFn, Array, ActionSpace], Recourse]  # fitted, key, logit_fn, x (d,), space
R = TypeVar("R")
Score = Callable[[Any, LogitFn, Array], LogitFn]  # hp, logit_fn, x_cf (d,) -> the score that reaches the margin at x_cf


def on_boundary(generate: FittedGenerate, score: Score | None = None) -> FittedGenerate:
    """Decorate the `generate` of a method whose recourse lies on the decision boundary: it becomes differentiable.

    The recourse is scaled back to where `score`, by default the logit, reaches the margin of the hyperparameters, by
    their `num_boundary_steps`. It is differentiable to any order, forward and reverse, in the arrays of `logit_fn`, in
    `x` and in the margin; the other hyperparameters only steer the search. See `scale_back` for what is constant.
    """

    @wraps(generate)
    def differentiable(fitted: Any, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
        found = hold(generate, fitted, key, logit_fn, x, space)
        hp = getattr(fitted, "hp", fitted)
        score_fn = logit_fn if score is None else score(hp, logit_fn, found.x)
        return scale_back(score_fn, x, found, space, margin=hp.margin, num_steps=hp.num_boundary_steps)

    return differentiable


def constant(generate: Callable[..., R]) -> Callable[..., R]:
    """Decorate the `generate` of a method whose recourse does not lie on the boundary, such as a training row.

    It is constant in the classifier: the derivative is 0. Columns that did not change, and ordered columns, move with
    `x`; continuous columns and categories that changed are constant, and columns that follow others follow. A point
    that is not valid moves with `x` as a whole. `generate` may return several points (n, d).
    """

    @wraps(generate)
    def differentiable(fitted: Any, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Any:
        found: Any = hold(generate, fitted, key, logit_fn, x, space)
        move = partial(_move_with, x, space)
        valid = jnp.broadcast_to(found.valid, found.x.shape[:-1])
        return found._replace(x=(move if found.x.ndim == 1 else jax.vmap(move))(found.x, valid))

    return differentiable


def _move_with(x: Array, space: ActionSpace, x_cf: Array, valid: Array) -> Array:
    """`x_cf` (d,), of which the unchanged and the ordered columns, and all if not `valid` (), move with `x` (d,)."""
    fixed_x = jax.lax.stop_gradient(x)
    own = jax.lax.stop_gradient(own_change(space, fixed_x, x_cf))
    held = valid & (own != 0) & ((space.step == 0) | is_held(space, fixed_x, x_cf)) & ~is_follower(space)
    moving = with_own_change(space, x, jnp.where(held, own + (fixed_x - x), own))
    return with_value(jnp.where(held, x_cf, moving), x_cf)


def hold(generate: Callable[..., R], fitted: Any, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> R:
    """The result of `generate`, constant in all of its arguments and in all arrays that `logit_fn` closes over."""
    fixed_fitted, fixed_x, fixed_space = jax.lax.stop_gradient((fitted, x, space))
    return jax.lax.stop_gradient(generate(fixed_fitted, key, held_classifier(logit_fn, x), fixed_x, fixed_space))


def held_classifier(logit_fn: LogitFn, x: Array) -> Partial:
    """`logit_fn`, constant in its own arrays and in all arrays that it closes over; for rows like `x` (d,)."""
    logit_fn = as_partial(logit_fn)
    call, constants = jax.closure_convert(lambda logit_fn, x: logit_fn(x), logit_fn, x)
    if constants:
        logit_fn = Partial(partial(_call_converted, call), logit_fn, tuple(constants))
    return jax.lax.stop_gradient(logit_fn)


def _call_converted(call: Callable[..., Array], logit_fn: LogitFn, constants: tuple[Array, ...], x: Array) -> Array:
    return call(logit_fn, x, *constants)
