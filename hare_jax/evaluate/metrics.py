"""Metrics: scalar functions of one row, to be batched with `vmap`.

A *feature* is a column, or a whole one-hot group. The checks in `feasible` do not use `space.project`, so that they are
an independent test of it.

In a space with relations, `l0`, `weighted_cost` and `redundancy` are those of the own changes: what only follows from
them is neither counted nor costs. The distances `l1`, `l2`, `linf` and those from the ideal are of the whole change.

Notation: `x` factual (d,), `x_cf` recourse (d,), `ideal` the hidden ideal (d,), `weights` the cost of a unit
of change of each column (d,). A row of another width is a `ValueError` that names it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, check_row, check_shapes, require
from hare_jax.evaluate import relations
from hare_jax.evaluate.relations import CHANGED, SLACK, changed_features, following
from hare_jax.models import Ensemble, member_logits
from hare_jax.space import (
    GRID_TOLERANCE,
    ActionSpace,
    is_follower,
    keeps_relations,
    own_change,
    same_feature,
    weighted_l1,
    with_own_change,
)

_TOLERANCE = 1e-6  # times 1 + |x|


class Feasible(NamedTuple):
    """Which constraints of the action space a recourse satisfies."""

    box: Array  # () bool: finite, and within the bounds, extended to contain the factual
    one_hot: Array  # () bool: each mutable group contains one 1 and otherwise zeros
    direction: Array  # () bool: no column moves against its direction
    step: Array  # () bool: ordered columns moved by whole steps
    immutable: Array  # () bool: immutable columns are bit-identical, or where they follow others
    relations: Array  # () bool: links, inequalities, forbidden levels and the limit on the number of changes

    @property
    def all(self) -> Array:
        """Whether all constraints are satisfied: () bool."""
        return self.box & self.one_hot & self.direction & self.step & self.immutable & self.relations


class Measures(NamedTuple):
    """All metrics of one row, in the dtype of the recourse; `vmap` adds an axis of rows."""

    success: Array  # () 0 or 1: the `valid` that the method returned
    valid: Array  # () 0 or 1: success, and the classifier accepts the point when re-evaluated
    feasible: Array  # () 0 or 1: the action space allows it
    ideal_l2: Array  # ()
    ideal_cosine: Array  # () 0 to 2
    weighted_cost: Array  # ()
    l0: Array  # () features
    l1: Array  # ()
    l2: Array  # ()
    linf: Array  # ()
    redundancy: Array  # () features
    violations: Array  # () columns
    loss: Array  # () `people.Person.loss` of the kind of person


def l0(x: Array, x_cf: Array, space: ActionSpace | None = None) -> Array:
    """Number () of columns that changed by more than 1e-5, or of features if `space` is given.

    >>> int(l0(jnp.array([0.0, 1.0, 0.0]), jnp.array([0.5, 1.0, 0.25])))
    2
    """
    _check_rows(x=x, x_cf=x_cf)
    if space is None:
        return jnp.sum(jnp.abs(x_cf - x) > CHANGED)
    return jnp.sum(changed_features(space, jnp.abs(own_change(space, x, x_cf)) > CHANGED))


def l1(x: Array, x_cf: Array) -> Array:
    """Sum of the absolute changes, `sum_j |x'_j - x_j|`: (), in encoded units."""
    _check_rows(x=x, x_cf=x_cf)
    return jnp.sum(jnp.abs(x_cf - x))


def l2(x: Array, x_cf: Array) -> Array:
    """Length of the change, sqrt(sum_j (x'_j - x_j)^2): (), in encoded units; its gradient is 0 at no change.

    The original implementation reports the square of this as L2.

    >>> float(l2(jnp.zeros(2), jnp.array([3.0, 4.0])))
    5.0
    """
    _check_rows(x=x, x_cf=x_cf)
    squares, nonzero = _squares(x_cf - x)
    return jnp.where(nonzero, jnp.sqrt(squares), 0)


def linf(x: Array, x_cf: Array) -> Array:
    """Largest absolute change, `max_j |x'_j - x_j|`: (), in encoded units."""
    _check_rows(x=x, x_cf=x_cf)
    return jnp.max(jnp.abs(x_cf - x))


def weighted_cost(weights: Array, x: Array, x_cf: Array, space: ActionSpace | None = None) -> Array:
    """Cost under the weights (d,), `sum_j w_j |x'_j - x_j|`: () (HARE, TMLR 2025)."""
    _check_rows(x=x, x_cf=x_cf, weights=weights)
    if space is None or space.relations is None:
        return weighted_l1(weights, x, x_cf)
    return jnp.sum(weights * jnp.abs(own_change(space, x, x_cf)))


def ideal_l2(ideal: Array, x_cf: Array) -> Array:
    """Distance from the recourse to the ideal, `||x' - ideal||`: (), in encoded units (HARE, TMLR 2025)."""
    _check_rows(ideal=ideal, x_cf=x_cf)
    return l2(ideal, x_cf)


def ideal_cosine(ideal: Array, x: Array, x_cf: Array) -> Array:
    """Cosine distance of the recourse and the ideal, 1 - cos(ideal - x, x' - x): (), 0 to 2 (HARE, TMLR 2025).

    It is 1, with gradient 0, if either vector is zero.

    >>> ideal, x = jnp.array([1.0, 0.0]), jnp.zeros(2)
    >>> [float(ideal_cosine(ideal, x, x_cf)) for x_cf in (2 * ideal, x, -ideal)]
    [0.0, 1.0, 2.0]
    """
    _check_rows(x=x, x_cf=x_cf, ideal=ideal)
    wanted, is_wanted = _unit(ideal - x)
    given, is_given = _unit(x_cf - x)
    # half the squared distance of the unit vectors: exact for small angles, and never negative
    return jnp.where(is_wanted & is_given, jnp.sum((wanted - given) ** 2) / 2, 1)


def accepted(logit_fn: LogitFn, x_cf: Array) -> Array:
    """Whether the classifier accepts the recourse, logit >= 0: () bool."""
    _check_rows(x_cf=x_cf)
    return logit_fn(x_cf) >= 0


def robustness(members: Ensemble, x_cf: Array) -> Array:
    """Share () of the members of an ensemble, such as 50 retrained classifiers, that accept the recourse.

    The validity after retraining of Upadhyay, Joshi and Lakkaraju (2021), https://arxiv.org/abs/2102.13620, and one
    less the invalidation rate of Black et al. (2022), https://arxiv.org/abs/2110.03109. It is a step function of
    `x_cf`, with gradient 0; `evaluate.robustness.summarise` is its mean over recourses.

    Raises:
        ValueError: `members` is no ensemble, or of another width.

    >>> from hare_jax.models import ensemble
    >>> float(robustness(ensemble(*(lambda x, bias=bias: x[0] - bias for bias in (1.0, 2.0))), jnp.array([1.5])))
    0.5
    """
    _check_rows(x_cf=x_cf)
    return jnp.mean(member_logits(members, x_cf) >= 0, dtype=x_cf.dtype)


def redundancy(logit_fn: LogitFn, x: Array, x_cf: Array, space: ActionSpace) -> Array:
    """Number () of changed features that can be reset, one at a time, with the result still accepted.

    The columns of a one-hot group are reset together. A feature counts as changed if `l0` counts it, so this is at most
    `l0`; the original implementation counts rounding errors as changes (HARE, TMLR 2025). In a space with relations,
    columns that follow the feature move back with it, and the relations have to hold without it.

    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True] * 2, lower=[0] * 2, upper=[1] * 2)
    >>> int(redundancy(lambda x: x[0] - 0.5, jnp.zeros(2), jnp.ones(2), space))
    1
    """
    check_row(x, space, x_cf=x_cf)
    put_back = _reset_each(x, x_cf, space)
    still = jax.vmap(lambda row: accepted(logit_fn, row) & keeps_relations(space, x, row))(put_back)
    return jnp.sum(changed_features(space, jnp.abs(own_change(space, x, x_cf)) > CHANGED) & still)


def violations(x: Array, x_cf: Array, space: ActionSpace) -> Array:
    """Number () of immutable columns that are not bit-identical, nor where they follow others (HARE, TMLR 2025)."""
    check_row(x, space, x_cf=x_cf)
    moved = ~space.mutable & (x_cf != x)
    return jnp.sum(moved if space.relations is None else moved & ~following(x, x_cf, space).follows)


def feasible(x: Array, x_cf: Array, space: ActionSpace) -> Feasible:
    """Which constraints of the action space the move from `x` (d,) to `x_cf` (d,) satisfies; `.all` combines them.

    The tolerance is `1e-6 (1 + |x|)`, plus a thousandth of a step for the grid of ordered columns. NaN satisfies none
    of the constraints that apply to its column.
    """
    check_row(x, space, x_cf=x_cf)
    tolerance = _tolerance(x, space)
    above = x_cf >= jnp.minimum(space.lower, x) - tolerance
    below = x_cf <= jnp.maximum(space.upper, x) + tolerance
    wrong_way = jnp.where(space.direction > 0, x - x_cf, jnp.where(space.direction < 0, x_cf - x, 0))
    step = jnp.where(space.step > 0, space.step, 1)
    off_grid = jnp.abs(x_cf - (x + jnp.round((x_cf - x) / step) * step))
    on_grid = off_grid <= tolerance + GRID_TOLERANCE * step
    ungrouped = space.group < 0
    return Feasible(
        box=jnp.all(above & below & jnp.isfinite(x_cf)),
        one_hot=jnp.all(ungrouped | ~space.mutable | _holds_one_1(x_cf, space, tolerance)),
        direction=jnp.all(wrong_way <= tolerance),
        step=jnp.all(on_grid | (space.step == 0) | ~ungrouped),
        immutable=violations(x, x_cf, space) == 0,
        relations=relations.relations_hold(x, x_cf, space),
    )


def measure(
    logit_fn: LogitFn,
    x: Array,
    recourse: Recourse,
    space: ActionSpace,
    *,
    ideal: Array,
    weights: Array,
    loss_fn: Callable[[Array, Array], Array] | None = None,
) -> Measures:
    """All metrics of one row; those of a failure describe its best point, and `summarise` excludes them.

    `loss_fn: (x, x_cf) -> ()` is the loss of the kind of person, by default the distance to the `ideal`.

    Raises:
        ValueError: `recourse` is not a `Recourse`, or an array has the wrong shape.
    """
    require(isinstance(recourse, Recourse), "recourse", "must be a Recourse", type(recourse).__name__)
    x_cf = recourse.x
    check_row(x, space, recourse_x=x_cf, ideal=ideal, weights=weights)
    measures = Measures(
        success=recourse.valid,
        valid=recourse.valid & accepted(logit_fn, x_cf),
        feasible=feasible(x, x_cf, space).all,
        ideal_l2=ideal_l2(ideal, x_cf),
        ideal_cosine=ideal_cosine(ideal, x, x_cf),
        weighted_cost=weighted_cost(weights, x, x_cf, space),
        l0=l0(x, x_cf, space),
        l1=l1(x, x_cf),
        l2=l2(x, x_cf),
        linf=linf(x, x_cf),
        redundancy=redundancy(logit_fn, x, x_cf, space),
        violations=violations(x, x_cf, space),
        loss=ideal_l2(ideal, x_cf) if loss_fn is None else loss_fn(x, x_cf),
    )
    return jax.tree.map(lambda figure: figure.astype(x_cf.dtype), measures)


def _check_rows(**rows: Array) -> None:
    """Check that each of the `rows` is (d,), as wide as the first."""
    width = jnp.shape(next(iter(rows.values())))[-1:]
    check_shapes(**{name: (row, width) for name, row in rows.items()})


def _squares(change: Array) -> tuple[Array, Array]:
    """Sum of squares (), replaced by 1 if it is too small to divide by, and whether it was large enough: () bool."""
    squares = jnp.sum(change**2)
    nonzero = squares >= jnp.finfo(change.dtype).tiny
    return jnp.where(nonzero, squares, 1), nonzero


def _unit(change: Array) -> tuple[Array, Array]:
    """`change` (d,) scaled to unit length, and whether its length is not 0: () bool."""
    squares, nonzero = _squares(change)
    return change / jnp.sqrt(squares), nonzero


def _reset_each(x: Array, x_cf: Array, space: ActionSpace) -> Array:
    """`x_cf` (d,) with the feature of column j reset in row j: (d, d)."""
    same = same_feature(space)
    if space.relations is None:
        return jnp.where(same, x[None, :], x_cf[None, :])
    own = jnp.where(same, 0, own_change(space, x, x_cf)[None, :])
    return jax.vmap(lambda change: with_own_change(space, x, change))(own)


def _tolerance(x: Array, space: ActionSpace) -> Array:
    """How far (d,) each column may be outside of its bounds."""
    if space.relations is None:
        return _TOLERANCE * (1 + jnp.abs(x))
    return jnp.where(is_follower(space), SLACK, _TOLERANCE) * (1 + jnp.abs(x))


def _holds_one_1(x_cf: Array, space: ActionSpace, tolerance: Array) -> Array:
    """Whether the feature of each column contains one 1 and otherwise zeros: (d,) bool."""
    one = jnp.abs(x_cf - 1) <= tolerance
    zero = jnp.abs(x_cf) <= tolerance
    same = same_feature(space)
    fractional = jnp.any(same & ~(one | zero)[None, :], axis=1)
    return (jnp.sum(same & one[None, :], axis=1) == 1) & ~fractional
