"""Build an action space from checked columns."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from hare_jax.base import ActionSpace, Relations, require
from hare_jax.space.relations import followers


def action_space(
    mutable: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    direction: ArrayLike | None = None,
    group: ArrayLike | None = None,
    step: ArrayLike | None = None,
    cost: ArrayLike | None = None,
    relations: Relations | None = None,
) -> ActionSpace:
    """Build an action space from its checked columns, each (d,).

    The defaults are `direction` 0, `group` -1, `step` 0 and `cost` 1; bounds may be infinite. One-hot columns get step
    1, and an upper bound of 0 closes a level to all factuals that are not already in it. `relations` are those of
    `relations.relate`; the bounds and the direction of a column that follows others hold for where it ends.

    Raises:
        ValueError: a column has the wrong width, a bound is NaN or crossed, a direction is not -1, 0 or +1, a step is
            negative, a cost is not above 0, a one-hot group has one column, a direction, mixed mutability or bounds
            outside {0, 1}, or relations are for another width, link a column of a group, or forbid what is no level.

    >>> from hare_jax.space import project
    >>> space = action_space(mutable=[True, False], lower=[0, 0], upper=[1, 1], step=[0.25, 0])
    >>> project(space, jnp.array([0.5, 0.125]), jnp.array([0.9, 0.8])).tolist()
    [1.0, 0.125]
    """
    raw_mutable = np.asarray(mutable)
    require(raw_mutable.ndim == 1, "mutable", "must have shape (d,)", raw_mutable.shape)
    require(raw_mutable.dtype == bool, "mutable", "must be boolean", raw_mutable.dtype.name)
    given = {
        "lower": lower,
        "upper": upper,
        "direction": np.zeros(raw_mutable.shape) if direction is None else direction,
        "group": np.full(raw_mutable.shape, -1) if group is None else group,
        "step": np.zeros(raw_mutable.shape) if step is None else step,
        "cost": np.ones(raw_mutable.shape) if cost is None else cost,
    }
    columns = {name: np.asarray(value, dtype=float) for name, value in given.items()}
    _check_columns(columns, raw_mutable.shape)
    ids = columns["group"]
    for one in np.unique(ids[ids >= 0]):
        _check_group(f"group {int(one)}", columns, raw_mutable, ids == one)
    if relations is not None:
        _check_relations(relations, ids)
    return ActionSpace(
        mutable=jnp.asarray(raw_mutable),
        lower=jnp.asarray(columns["lower"], dtype=float),
        upper=jnp.asarray(columns["upper"], dtype=float),
        direction=jnp.asarray(columns["direction"], jnp.int8),
        group=jnp.asarray(ids, jnp.int32),
        step=jnp.asarray(np.where(ids >= 0, 1.0, columns["step"]), dtype=float),
        cost=None if cost is None else jnp.asarray(columns["cost"], dtype=float),
        relations=relations,
    )


def _check_columns(columns: dict[str, np.ndarray], shape: tuple[int, ...]) -> None:
    for name, column in columns.items():
        require(column.shape == shape, name, f"must have shape {shape}, as mutable has", column.shape)
        require(not np.isnan(column).any(), name, "must not be NaN", column.tolist())
    low, high, direction, step, ids = (columns[name] for name in ("lower", "upper", "direction", "step", "group"))
    require(bool((low <= high).all()), "lower", "must not exceed upper", (low.tolist(), high.tolist()))
    known = bool(np.isin(direction, (-1, 0, 1)).all())
    require(known, "direction", "must be -1, 0 or +1", direction.tolist())
    finite = bool((np.isfinite(step) & (step >= 0)).all())
    require(finite, "step", "must be finite and not negative", step.tolist())
    require(bool((ids == np.round(ids)).all()), "group", "must hold whole numbers", ids.tolist())
    cost = columns["cost"]
    require(bool((np.isfinite(cost) & (cost > 0)).all()), "cost", "must be finite and above 0", cost.tolist())


def _check_group(label: str, columns: dict[str, np.ndarray], mutable: np.ndarray, inside: np.ndarray) -> None:
    """Check the columns of one one-hot group, given by the mask `inside` (d,)."""
    rule = "must have at least two columns (a two-level category is one column with step 1)"
    require(int(inside.sum()) > 1, label, rule, 1)
    fixed = mutable[inside]
    require(len(set(fixed)) == 1, label, "must be mutable in all its columns or in none", fixed.tolist())
    low, high, direction = (columns[name][inside] for name in ("lower", "upper", "direction"))
    require(not direction.any(), label, "must have direction 0", direction.tolist())
    require(bool((low == 0).all()), label, "must have lower bounds of 0", low.tolist())
    require(bool(np.isin(high, (0, 1)).all()), label, "must have upper bounds of 0 or 1", high.tolist())


def _check_relations(relations: Relations, ids: np.ndarray) -> None:
    """Check `relations` against the one-hot groups `ids` (d,) of the columns."""
    require(isinstance(relations, Relations), "relations", "must be those of relations.relate", relations)
    width = relations.offset.shape
    require(width == ids.shape, "relations", f"must be for {len(ids)} columns", width)
    linked = np.flatnonzero(followers(relations, len(ids)) & (ids >= 0)).tolist()
    require(not linked, "relations", "must not link a column of a one-hot group", linked)
    if relations.forbidden is not None:
        start, end = np.nonzero(relations.forbidden)
        in_group = (ids[start] == ids[end]) & (ids[start] >= 0) & (start != end)
        require(bool(in_group.all()), "forbidden", "must join two levels of one one-hot group", (start, end))
