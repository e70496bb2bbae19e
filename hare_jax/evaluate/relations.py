"""Which relations of an action space a move keeps, tested without the functions of `space` that establish them.

Notation: `x` factual (d,), `x_cf` recourse (d,). A link makes column c follow a formula f in original units: without
own changes it ends at `x_c + f(x_cf) - f(x)`, up to half a step where it has steps.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from hare_jax import formula
from hare_jax.space import ActionSpace, Relations, is_one, same_feature

CHANGED = 1e-5  # smaller differences do not count as changes
SLACK = 1e-5  # times 1 + |x|: by which an inequality, or a bound of a column that follows, may be exceeded
_STEP_SLACK = 0.51  # of a step: a shift is rounded to whole steps
_ULPS = 16  # units of rounding of a formula's values


class Following(NamedTuple):
    """How each column relates to its link; columns without one follow nothing."""

    linked: Array  # (d,) bool
    follows: Array  # (d,) bool: the column has a link and is where it leads
    own: Array  # (d,) bool: the column has an own change


def following(x: Array, x_cf: Array, space: ActionSpace) -> Following:
    """Which columns follow others from `x` (d,) to `x_cf` (d,), and which have changed on their own."""
    linked = follows = jnp.zeros(x.shape, bool)
    own = jnp.abs(x_cf - x) > CHANGED
    relations = space.relations
    if relations is None:
        return Following(linked, follows, own)
    for link in relations.links:
        c = link.column
        gap, tolerance = _gap(relations, link.formula, c, space.step[c].astype(x.dtype), x, x_cf)
        linked, follows = linked.at[c].set(True), follows.at[c].set(gap <= tolerance)
        acted = jnp.abs(x_cf[c] - x[c]) > CHANGED * (1 + jnp.abs(x[c]))
        own = own.at[c].set(space.mutable[c] & acted & ~(gap <= tolerance))
    return Following(linked, follows, own)


def _gap(relations: Relations, expression: tuple, c: int, step: Array, x: Array, x_cf: Array) -> tuple[Array, Array]:
    """Distance () of column `c` from where its link leads, and the largest one () that is rounding."""
    offset, scale = relations.offset.astype(x.dtype), relations.scale.astype(x.dtype)
    before, after = (formula.evaluate(expression, offset + scale * z) for z in (x, x_cf))
    size = (jnp.abs(before) + jnp.abs(after)) / scale[c]
    rounding = CHANGED * (1 + jnp.abs(x[c])) + _ULPS * jnp.finfo(x.dtype).eps * size
    return jnp.abs(x_cf[c] - x[c] - (after - before) / scale[c]), jnp.maximum(rounding, _STEP_SLACK * step)


def relations_hold(x: Array, x_cf: Array, space: ActionSpace) -> Array:
    """Whether all relations of the space hold for the move from `x` (d,) to `x_cf` (d,): () bool.

    Linked columns follow, unless they are mutable and have been acted on; inequalities hold up to what `x` itself
    breaks; no forbidden level is entered; and at most `max_changes` features have own changes.
    """
    relations = space.relations
    if relations is None:
        return jnp.array(True)
    found = following(x, x_cf, space)
    kept = jnp.all(~found.linked | found.follows | found.own) & _holds_inequalities(relations, x, x_cf)
    if relations.forbidden is not None:
        kept &= ~jnp.any(relations.forbidden & is_one(x)[:, None] & is_one(x_cf)[None, :])
    if relations.max_changes is not None:
        kept &= jnp.sum(changed_features(space, found.own)) <= relations.max_changes
    return kept


def changed_features(space: ActionSpace, changed: Array) -> Array:
    """Which features contain `changed` (d,) columns: (d,) bool, true only at the first column of each."""
    same = same_feature(space)
    first = jnp.argmax(same, axis=1) == jnp.arange(len(changed))
    return first & jnp.any(same & changed[None, :], axis=1)


def _holds_inequalities(relations: Relations, x: Array, x_cf: Array) -> Array:
    coefficients = relations.coefficients.astype(x.dtype)
    before, after = (jnp.sum(jnp.where(coefficients == 0, 0, coefficients * z[None, :]), axis=1) for z in (x, x_cf))
    size = jnp.sum(jnp.abs(coefficients) * (1 + jnp.abs(x))[None, :], axis=1)
    return jnp.all(after <= jnp.maximum(relations.limits.astype(x.dtype), before) + SLACK * size)
