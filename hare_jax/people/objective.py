"""Cost of a change: a weighted sum over columns, smooth in the weights and in the recourse.

The cost of moving from `x` to `x'` is `sum_j w_j cost_j(x_j, x'_j)` with weights `w` (d,). Everything here is
differentiable to any order.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, check_shapes, choose, holds, pytree_dataclass, require
from hare_jax.hyperparams import Count, NonNegative, Positive, check_fields, check_values
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, own_change

KINDS = ("l1", "squared", "percentile")


@pytree_dataclass
class Objective:
    """Cost of a change, and penalty of a refusal."""

    kind: str = "l1"  # `l1`, `squared` or `percentile`
    smoothing: NonNegative = 1e-2  # below it the cost is quadratic, above it linear; in encoded units or quantiles
    bandwidth: Positive = 2e-2  # of the smoothed quantiles, in encoded units
    margin: NonNegative = MARGIN  # logit from which on the penalty is 0
    knots: Array | None = None  # (m, d) of `quantile_knots`, for `percentile`


def quantile_knots(rows: Array, num_knots: int = 64) -> Array:
    """Quantiles (m, d) of the columns of `rows` (n, d), at evenly spaced levels, for `percentile`.

    Raises:
        ValueError: `rows` is not a matrix of finite numbers, or `num_knots` is below 1.
    """
    check_shapes(rows=(rows, (None, None)))
    check_values(num_knots=(num_knots, Count))
    require(rows.size > 0 and holds(np.isfinite, rows), "rows", "must hold finite values alone", rows)
    levels = (jnp.arange(num_knots, dtype=rows.dtype) + 0.5) / num_knots
    return jnp.quantile(rows, levels, axis=0)


def column_costs(hp: Objective, x: Array, x_cf: Array, space: ActionSpace | None = None) -> Array:
    """Cost (d,) of each column's change from `x` (d,) to `x_cf` (d,), before the weights.

    `l1` is `sqrt(change^2 + s^2) - s`, about `|change|` where that is much larger than s; `squared` is `change^2`;
    `percentile` is `l1` of the shift in the column's quantile (Ustun et al. 2019), smoothed by the bandwidth. In a
    `space` with relations the changes are own changes, `space.own_change`.

    Raises:
        ValueError: no such kind, `percentile` without knots, or a smoothing of 0 where the cost is not differentiable.

    >>> column_costs(Objective(smoothing=0.0, kind="squared"), jnp.zeros(2), jnp.array([0.5, 2.0])).tolist()
    [0.25, 4.0]
    """
    check_fields(hp, Objective)
    choose("kind", hp.kind, KINDS)
    check_shapes(x=(x, (None,)), x_cf=(x_cf, x.shape))
    x_cf = x_cf if space is None or space.relations is None else x + own_change(space, x, x_cf)
    if hp.kind == "squared":
        return (x_cf - x) ** 2
    require(holds(lambda s: s > 0, hp.smoothing), "smoothing", "must be above 0 except for squared", hp.smoothing)
    change = x_cf - x
    if hp.kind == "percentile":
        require(hp.knots is not None, "knots", "must be given for percentile (see quantile_knots)", hp.knots)
        check_shapes(knots=(hp.knots, (None, len(x))))
        change = _quantile(hp, x_cf) - _quantile(hp, x)
    return jnp.sqrt(change**2 + hp.smoothing**2) - hp.smoothing


def objective(
    hp: Objective,
    weights: Array,
    penalty: Array,
    logit_fn: LogitFn,
    x: Array,
    x_cf: Array,
    space: ActionSpace | None = None,
) -> Array:
    """`sum_j weights_j cost_j(x_j, x'_j) + penalty * max(margin - logit(x'), 0)^2`: ().

    Raises:
        ValueError: as `column_costs`, or `weights` has the wrong shape.
    """
    check_shapes(x=(x, (None,)), x_cf=(x_cf, x.shape), weights=(weights, x.shape))
    short = jnp.maximum(hp.margin - logit_fn(x_cf), 0)
    return jnp.sum(weights * column_costs(hp, x, x_cf, space)) + penalty * short**2


def _quantile(hp: Objective, z: Array) -> Array:
    """Smoothed share (d,) of the population below `z` (d,)."""
    return jnp.mean(jax.nn.sigmoid((z[None, :] - hp.knots) / hp.bandwidth), axis=0)  # type: ignore[operator]
