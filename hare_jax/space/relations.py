"""Relations between columns: how they are built, and how columns follow others; `inequalities` has the rest.

A *link* makes column c follow its causes by a formula f in original units, with the residual of the factual x:

    x'_c = x_c + f(x') - f(x),

so that x itself always satisfies it. A derived column, such as a ratio, is the same with a residual of 0. A column that
is immutable only follows; a mutable one follows until it is acted on itself, which is when a point has it neither at
its factual value nor where it would follow, but for rounding. The *own changes* of a point are what is left without
what follows: they are what costs, and what is counted. `space` applies all this; the functions here take bounds from
there.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from hare_jax import formula
from hare_jax.base import Link, Relations, require

OWN_ROUNDING = 1e-5  # of a column's value: an own change below it is rounding
HALF_STEP = 0.501  # rounds shifts to whole steps, ties up, whatever the rounding of the formula


def relate(
    width: int,
    *,
    links: Sequence[Link] = (),
    offset: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    coefficients: ArrayLike | None = None,
    limits: ArrayLike | None = None,
    forbidden: ArrayLike | None = None,
    max_changes: int | None = None,
) -> Relations | None:
    """Build the relations of `width` columns, or None if there are none.

    `links` may be in any order. `offset` and `scale` (d,), by default 0 and 1, give the original units of formulas.

    Raises:
        ValueError: an array has the wrong shape or is not finite, a link names no column, follows itself (through
            others), or a column has two links, or `max_changes` is below 1.

    >>> follows = Link(1, ("*", ("number", 2.0), ("column", 0)))
    >>> relate(2, links=[follows]).links[0].column, relate(2) is None
    (1, True)
    """
    given = links or coefficients is not None or forbidden is not None or max_changes is not None
    if not given:
        return None
    shapes: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
        "offset": (offset, np.zeros(width), (width,)),
        "scale": (scale, np.ones(width), (width,)),
        "coefficients": (coefficients, np.zeros((0, width)), (-1, width)),
        "limits": (limits, np.zeros(0), (-1,)),
    }
    arrays = {name: np.asarray(default if a is None else a, float) for name, (a, default, _) in shapes.items()}
    for name, (*_, shape) in shapes.items():
        fits = arrays[name].ndim == len(shape) and arrays[name].shape[1:] == shape[1:] and shape[0] in (-1, width)
        require(fits, name, f"must have shape {shape}".replace("-1", "m"), arrays[name].shape)
        require(bool(np.isfinite(arrays[name]).all()), name, "must be finite", arrays[name].tolist())
    same = len(arrays["coefficients"]) == len(arrays["limits"])
    require(same, "limits", "must have one entry for each row of coefficients", arrays["limits"].shape)
    require(bool((arrays["scale"] > 0).all()), "scale", "must be above 0", arrays["scale"].tolist())
    return Relations(
        links=_in_causal_order(links, width),
        **{name: jnp.asarray(array, float) for name, array in arrays.items()},
        forbidden=None if forbidden is None else _checked_forbidden(forbidden, width),
        max_changes=None if max_changes is None else _checked_count(max_changes),
    )


def _checked_forbidden(forbidden: ArrayLike, width: int) -> Array:
    array = np.asarray(forbidden)
    fits = array.shape == (width, width) and array.dtype == bool
    require(fits, "forbidden", f"must be boolean of shape {(width, width)}", (array.dtype.name, array.shape))
    return jnp.asarray(array)


def _checked_count(max_changes: int) -> Array:
    whole = isinstance(max_changes, int | np.integer) and not isinstance(max_changes, bool) and max_changes >= 1
    require(whole, "max_changes", "must be a whole number from 1", max_changes)
    return jnp.asarray(max_changes, float)


def _in_causal_order(links: Sequence[Link], width: int) -> tuple[Link, ...]:
    """`links`, each after those of the columns that its formula uses."""
    waiting = {}
    for link in links:
        used = (link.column, *formula.columns(link.formula))
        known = all(isinstance(column, int) and 0 <= column < width for column in used)
        require(known, "links", f"must name columns from 0 to {width - 1}", used)
        require(link.column not in waiting, "links", "must hold one link for a column", link.column)
        waiting[link.column] = Link(*link)
    order: list[Link] = []
    while waiting:
        ready = [c for c, link in waiting.items() if not waiting.keys() & set(formula.columns(link.formula))]
        require(bool(ready), "links", "must not follow each other in a circle", sorted(waiting))
        order += [waiting.pop(column) for column in ready]
    return tuple(order)


def followers(relations: Relations, width: int) -> np.ndarray:
    """Which columns (d,) have a link; a NumPy array of bool, known at trace time."""
    return np.isin(np.arange(width), [link.column for link in relations.links])


def causes(relations: Relations, width: int) -> np.ndarray:
    """Which columns j move column i, directly or through others: (d, d) bool, known at trace time."""
    moves = np.zeros((width, width), bool)
    for link in relations.links:  # causes come before effects
        direct = list(formula.columns(link.formula))
        moves[link.column] = moves[direct].any(axis=0) | np.isin(np.arange(width), direct)
    return moves


def follow(relations: Relations, mutable: Array, step: Array, x: Array, point: Array) -> Array:
    """`point` (d,) with each column that has a link where it follows, unless it is acted on."""
    point = jnp.asarray(point)
    for link in relations.links:
        c = link.column
        value = x[c] + _shift(relations, link, step, x, point)
        acted = mutable[c] & ~is_same(point[c], x[c])
        point = _with_column(point, c, jnp.where(acted, point[c], value))
    return point


def own_values(relations: Relations, mutable: Array, step: Array, x: Array, point: Array) -> Array:
    """`point` (d,) without what follows: linked columns are at `x` plus their own changes."""
    own = jnp.asarray(point)
    for link in relations.links:
        c = link.column
        value = point[c] - _shift(relations, link, step, x, point)
        follows = ~mutable[c] | is_same(point[c], x[c]) | is_same(value, x[c])
        own = _with_column(own, c, jnp.where(follows, x[c], value))
    return own


def shifted(relations: Relations, step: Array, x: Array, own: Array) -> Array:
    """The inverse of `own_values`: `own` (d,) with what follows added to the linked columns."""
    point = jnp.asarray(own)
    for link in relations.links:
        c = link.column
        point = _with_column(point, c, point[c] + _shift(relations, link, step, x, point))
    return point


def release(relations: Relations, mutable: Array, step: Array, x: Array, point: Array) -> Array:
    """`point` (d,) with the linked columns that only follow reset to `x`, so that `follow` moves them anew."""
    linked = followers(relations, len(x))
    own = own_values(relations, mutable, step, x, point)
    return jnp.where(linked & (own == x), x, point)


def is_same(value: Array, x: Array) -> Array:
    """Whether a linked column is at its factual value `x` () but for rounding: then it is not acted on."""
    return jnp.abs(value - x) <= OWN_ROUNDING * (1 + jnp.abs(x))


def _with_column(point: Array, column: int, value: Array) -> Array:
    """`point` (d,) with a `value` () in a `column`; cheaper to compile than a scatter."""
    return jnp.where(np.arange(len(point)) == column, value, point)


def _shift(relations: Relations, link: Link, step: Array, x: Array, point: Array) -> Array:
    """By how much (), in encoded units, the causes at `point` (d,) move the column of `link`; exactly 0 if unmoved."""
    causes = np.isin(np.arange(len(x)), formula.columns(link.formula))
    offset, scale = relations.offset.astype(x.dtype), relations.scale.astype(x.dtype)
    before, after = (formula.evaluate(link.formula, offset + scale * z) for z in (x, point))
    size = step[link.column].astype(x.dtype)
    shift = (after - before) / scale[link.column]
    whole = jnp.floor(shift / jnp.where(size > 0, size, 1) + HALF_STEP) * size
    return jnp.where(jnp.any(causes & (point != x)), jnp.where(size > 0, whole, shift), 0)
