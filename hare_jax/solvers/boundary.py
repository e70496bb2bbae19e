"""Boundary search: the first accepted point on the segment from a factual to an accepted recourse, differentiable.

With `along(t)` the point at fraction `t` of the segment, the *slack* is `s(t, theta) = logit_fn(along(t)) - margin`,
where `theta` stands for the classifier's arrays, both ends of the segment and the margin. Bisection over `t` keeps a
bracket with `s < 0` at the lower end and `s >= 0` at the upper end. It evaluates only points that the action space
allows (`space.along`), so categories and steps never become fractional, and it returns the upper end, a point that was
evaluated itself. For a classifier on the host (`calls_host`) a section search replaces bisection: each round divides
the bracket into equal sections, evaluates the ends of all of them in one call, and keeps the section before the first
accepted end. The derivative is that of the root `s(t, theta) = 0`, by the implicit function theorem:

    dt = -(ds/dtheta . dtheta) / (ds/dt),

independent of the number of bisections.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, as_partial, check_row, is_known
from hare_jax.solvers.host import calls_host
from hare_jax.space import (
    GRID_TOLERANCE,
    ActionSpace,
    allows,
    along,
    between,
    is_follower,
    is_held,
    keeps_relations,
    own_change,
    tightening,
    with_own_change,
)

MARGIN = 1e-3  # logits; a point bisected to logit 0 is refused in one of seven separate evaluations in float32
_ROUND_STEPS = 3  # bisections that one round of the section search replaces, by 2^3 sections
_ROUNDING_ULPS = 64  # a second program may evaluate the same logit this many units of rounding differently


class _Segment(NamedTuple):
    """The segment from `x` to `x_cf` and the classifier on it: everything that the root is differentiable in."""

    logit_fn: Partial
    constants: tuple[Array, ...]  # arrays that `logit_fn` closes over
    x: Array  # (d,)
    x_cf: Array  # (d,)
    space: ActionSpace
    margin: Array  # ()
    factual: Array | None = None  # (d,) from which the points have to be allowed; None = `x`


class _Bracket(NamedTuple):
    """An interval of fractions `t` that contains a root of the slack."""

    lower: Array  # () slack < 0, or 0
    upper: Array  # () slack >= 0, or 1
    point: Array  # (d,) at the upper end


def boundary(
    logit_fn: LogitFn,
    x: Array,
    x_cf: Array,
    space: ActionSpace,
    *,
    margin: float | Array = MARGIN,
    num_steps: int = 20,
    width: float | None = None,
    factual: Array | None = None,
) -> Recourse:
    """Move `x_cf` (d,), allowed from `x` (d,), back towards `x` until just before the classifier refuses it.

    Bisects `logit_fn(along(t)) = margin` over `t` in [0, 1] to 2^-num_steps; where the segment crosses the boundary
    more than once, it finds one crossing. `valid` is whether `x_cf` itself reaches the margin; if not, `x_cf` is
    returned unchanged. HARE (TMLR 2025), algorithm 2; the margin and the snapped path are ours.

    With a `factual` (d,), both `x` and `x_cf` are points allowed from it, and so is the one returned, which is then a
    constant in a space with relations.

    A classifier on the host is called once, with 8 rows, in place of three bisections.

    Differentiable to any order, forward and reverse, in the arrays bound to `logit_fn`, in `x`, `x_cf` and `margin`.
    `t` is constant where it is no root of a smooth function: where the slack has the same sign at `t - width` (by
    default the precision of the bisection), or where a category or a step changes in between.

    Raises:
        ValueError: a row is not as wide as the space.

    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True], lower=[0.0], upper=[1.0])
    >>> move = jax.jit(lambda x: boundary(lambda x: x[0] - 0.5, x, jnp.array([1.0]), space, margin=0.0).x[0])
    >>> round(float(move(jnp.array([0.0]))), 4), jax.grad(move)(jnp.array([0.0])).tolist()
    (0.5, [0.0])
    """
    check_row(x, space, x_cf=x_cf)
    logit_fn, one = as_partial(logit_fn), jnp.ones((), x.dtype)
    find = _by_sections if _takes_sections(num_steps) and calls_host(logit_fn, x) else _by_bisection
    call, constants = jax.closure_convert(lambda logit_fn, x: logit_fn(x), logit_fn, x)
    factual = None if space.relations is None else factual
    segment = _Segment(logit_fn, tuple(constants), x, x_cf, space, jnp.asarray(margin, x.dtype), factual)
    fixed = jax.lax.stop_gradient(segment)  # bisection only compares: nothing in it is differentiated
    bracket, slack = find(call, fixed, _Bracket(jnp.zeros_like(one), one, fixed.x_cf), num_steps)
    t = _implicit_root(call, segment, bracket.upper, jnp.exp2(-one * num_steps) if width is None else width * one)
    point = _point_at(segment, t)
    point += jax.lax.stop_gradient(bracket.point - point)  # a step may be rounded the other way when recomputed
    reached = slack >= -_ROUNDING_ULPS * float(jnp.finfo(x.dtype).eps)  # what another program has accepted moves, too
    return Recourse(jnp.where(reached, point, x_cf), slack >= 0)


def scale_back(
    logit_fn: LogitFn,
    x: Array,
    recourse: Recourse,
    space: ActionSpace,
    *,
    margin: float | Array = MARGIN,
    num_steps: int = 20,
    width: float | None = None,
) -> Recourse:
    """Scale the change from `x` (d,) to a `recourse` (d,) back until just before the classifier refuses it.

    Only continuous columns that are not at a bound are scaled: categories, columns at a bound and ordered columns keep
    their values. Columns in inequalities without slack are scaled in the direction that keeps them so, and columns that
    follow others follow. The validity is that of `recourse`; an invalid one is returned unchanged.

    The derivative is that of `boundary`, with the direction of the change held constant. Columns that did not change,
    and ordered ones, move with `x`; a changed category and a column that has changed to its bound are constant. Where
    `boundary` has no smooth root, or the recourse is not valid, the change is constant.

    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True, True], lower=[0.0, 0.0], upper=[1.0, 1.0])
    >>> far = Recourse(jnp.array([0.5, 1.0]), jnp.array(True))  # the second column is at its bound
    >>> scale_back(lambda x: jnp.sum(x) - 1.25, jnp.zeros(2), far, space, margin=0.0).x.tolist()
    [0.25, 1.0]
    """
    ends = _ends(x, recourse, space) if space.relations is None else _related_ends(x, recourse, space)
    continuous = space._replace(step=jnp.where(is_follower(space), space.step, 0))
    found = boundary(logit_fn, *ends, continuous, margin=margin, num_steps=num_steps, width=width, factual=x)
    accepted = jax.lax.stop_gradient(logit_fn(jax.lax.stop_gradient(ends.start)) >= margin)
    scaled = jnp.where(accepted & (num_steps > 0), ends.start, found.x)
    usable = recourse.valid
    if space.relations is not None:
        usable &= allows(space, *jax.lax.stop_gradient((x, scaled)))
    return Recourse(jnp.where(usable, scaled, ends.end), recourse.valid)


class _Ends(NamedTuple):
    """The segment along which a recourse is scaled back."""

    start: Array  # (d,)
    end: Array  # (d,) with the value of the recourse


def _ends(x: Array, recourse: Recourse, space: ActionSpace) -> _Ends:
    """The segment from `x` (d,), with the columns at their values that are not scaled, to the `recourse`."""
    fixed_x, target = jax.lax.stop_gradient((x, recourse.x))
    constant, ordered = recourse.valid & is_held(space, fixed_x, target), space.step > 0
    moving = x + (target - fixed_x)
    end = with_value(jnp.where(constant, target, moving), target)
    return _Ends(jnp.where(constant | ordered, end, x), end)


def _related_ends(x: Array, recourse: Recourse, space: ActionSpace) -> _Ends:
    """As `_ends`, of the own changes, in the direction that keeps the slack of the inequalities that have none."""
    fixed_x, target = jax.lax.stop_gradient((x, recourse.x))
    own = jax.lax.stop_gradient(own_change(space, fixed_x, target))
    constant = recourse.valid & is_held(space, fixed_x, target) & (own != 0)
    scaled = jnp.where(constant | (space.step > 0), 0, own)
    direction = jax.lax.stop_gradient(scaled - tightening(space, fixed_x, target, scaled))
    change = jnp.where(constant, fixed_x + own - x, own)
    end = with_value(with_own_change(space, x, change), target)
    return _Ends(with_own_change(space, x, change - direction), end)


def with_value(like: Array, value: Array) -> Array:
    """`value`, with the derivative of `like`, which may differ from it by rounding."""
    return like + jax.lax.stop_gradient(value - like)


def _evaluate(call: Callable[..., Array], segment: _Segment, t: Array) -> tuple[Array, Array]:
    """The point (d,) of the segment at fraction `t` (), and its slack ()."""
    point = jax.lax.optimization_barrier(_point_at(segment, t))  # so that the returned point is the one evaluated
    slack = call(segment.logit_fn, point, *segment.constants) - segment.margin
    if segment.space.relations is None:
        return point, slack
    factual = segment.x if segment.factual is None else segment.factual
    return point, jnp.where(keeps_relations(segment.space, factual, point, t < 1), slack, -jnp.inf)


def _point_at(segment: _Segment, t: Array) -> Array:
    """The point (d,) of the segment at fraction `t` ()."""
    if segment.factual is None:
        return along(segment.space, segment.x, segment.x_cf, t)
    return between(segment.space, segment.factual, segment.x, segment.x_cf, t)


def _takes_sections(num_steps: int) -> bool:
    """Whether the number of steps is known, as that of the rounds of a section search has to be, and not 0."""
    return is_known(num_steps) and num_steps > 0


def _by_bisection(
    call: Callable[..., Array], segment: _Segment, start: _Bracket, num_steps: int
) -> tuple[_Bracket, Array]:
    """The bracket after `num_steps` bisections, and the slack () at the upper end of the first one."""
    bracket = jax.lax.fori_loop(0, num_steps, lambda _, bracket: _halve(call, segment, bracket), start)
    return bracket, _evaluate(call, segment, start.upper)[1]


def _by_sections(
    call: Callable[..., Array], segment: _Segment, start: _Bracket, num_steps: int
) -> tuple[_Bracket, Array]:
    """As `_by_bisection`, with one call of the classifier for each `_ROUND_STEPS` bisections."""
    num_rounds = -(-num_steps // _ROUND_STEPS)
    bracket, slack = jax.lax.scan(lambda bracket, _: _divide(call, segment, bracket), start, length=num_rounds)
    return bracket, slack[0]


def _divide(call: Callable[..., Array], segment: _Segment, bracket: _Bracket) -> tuple[_Bracket, Array]:
    """One round of the section search, and the slack () at the upper end of the `bracket`."""
    num = 2**_ROUND_STEPS
    size = (bracket.upper - bracket.lower) / num
    ends = bracket.lower + size * jnp.arange(1, num + 1, dtype=size.dtype)
    points, slack = jax.vmap(partial(_evaluate, call, segment))(ends)
    first = jnp.argmax((slack >= 0) | (jnp.arange(num) == num - 1))  # the last end if none is accepted
    return _Bracket(ends[first] - size, ends[first], points[first]), slack[-1]


def _halve(call: Callable[..., Array], segment: _Segment, bracket: _Bracket) -> _Bracket:
    """One bisection."""
    middle = (bracket.lower + bracket.upper) / 2
    point, slack = _evaluate(call, segment, middle)
    accepted = slack >= 0
    return _Bracket(
        jnp.where(accepted, bracket.lower, middle),
        jnp.where(accepted, middle, bracket.upper),
        jnp.where(accepted, point, bracket.point),
    )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _implicit_root(call: Callable[..., Array], segment: _Segment, t: Array, width: Array) -> Array:
    """`t` () itself, at most `width` () above a root of the slack, with the derivative of that root."""
    return t


@_implicit_root.defjvp
def _implicit_root_jvp(call: Callable[..., Array], primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """`dt = -(ds/dtheta . dtheta) / (ds/dt)`, and 0 where the slack has no smooth root just below `t`."""
    (segment, _, width), (segment_dot, _, _) = primals, tangents
    t = _implicit_root(call, *primals)
    slack_by_t = jax.jvp(lambda t: _evaluate(call, segment, t)[1], (t,), (jnp.ones_like(t),))[1]
    slack_dot = jax.jvp(lambda segment: _evaluate(call, segment, t)[1], (segment,), (segment_dot,))[1]
    rises = slack_by_t > jnp.sqrt(jnp.finfo(t.dtype).tiny)  # so that no quotient overflows
    smooth = _has_smooth_root(call, *jax.lax.stop_gradient((segment, t)), width) & rises
    return t, jnp.where(smooth, -slack_dot / jnp.where(smooth, slack_by_t, 1), 0)


def _has_smooth_root(call: Callable[..., Array], segment: _Segment, t: Array, width: Array) -> Array:
    """Whether the slack changes sign between `t - width` and `t` while no ordered column moves: () bool."""
    rounding = _ROUNDING_ULPS * float(jnp.finfo(t.dtype).eps)
    before, slack = _evaluate(call, segment, jnp.maximum(t - jnp.maximum(width, rounding), 0))
    step = segment.space.step
    moved = jnp.abs(_evaluate(call, segment, t)[0] - before) > GRID_TOLERANCE * step
    return ~jnp.any((step > 0) & moved) & (slack < rounding) & (slack > -jnp.inf)
