"""Masked summaries over rows: each mean comes with the number of rows it is taken over and a confidence interval.

Notation: `values` (n,) of a metric for n rows; `mask` (n,) of the rows included.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri
from jax.typing import ArrayLike

from hare_jax.base import check_shapes, holds, is_known, require
from hare_jax.evaluate.metrics import Measures
from hare_jax.hyperparams import Count, check_values

_RESAMPLES_AT_ONCE = 50  # memory of the bootstrap: this many rows of n


class Summary(NamedTuple):
    """Mean, standard deviation and confidence interval over the rows included."""

    mean: Array  # (), NaN only where n is 0
    sd: Array  # (), NaN only where n is 0
    n: Array  # () int: rows included
    low: Array  # (), NaN only where n is 0
    high: Array  # (), NaN only where n is 0


def masked_mean(values: Array, mask: Array) -> tuple[Array, Array, Array]:
    """Mean, sample standard deviation (n - 1; 0 for one row) and count of `values` (n,) where `mask` (n,) is true.

    Values outside the mask may be NaN. An empty mask gives n = 0 and NaN for the rest.

    Raises:
        ValueError: `values` is not a vector, or `mask` is of another shape.

    >>> mean, sd, n = masked_mean(jnp.array([1.0, jnp.nan, 3.0]), jnp.array([True, False, True]))
    >>> float(mean), int(n)
    (2.0, 2)
    """
    check_shapes(values=(values, (None,)), mask=(mask, values.shape))
    n = jnp.sum(mask)
    mean = jnp.sum(jnp.where(mask, values, 0)) / jnp.maximum(n, 1).astype(values.dtype)
    deviations = jnp.where(mask, values - mean, 0)
    sd = jnp.sqrt(jnp.sum(deviations**2) / jnp.maximum(n - 1, 1).astype(values.dtype))
    return jnp.where(n > 0, mean, jnp.nan), jnp.where(n > 0, sd, jnp.nan), n


def wilson_interval(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """Score interval (), () for a rate of `successes` () out of `n` (); 0 to 1 if n is 0 (Wilson 1927).

    (k + z^2/2 -+ z sqrt(k (n - k) / n + z^2/4)) / (n + z^2), where z is the normal quantile of (1 + level) / 2.

    Raises:
        ValueError: `successes` are not from 0 to `n`, or `level` is not between 0 and 1.

    >>> low, high = wilson_interval(10, 10)
    >>> round(float(low), 4), round(float(high), 4)
    (0.7225, 1.0)
    """
    _check_level(level)
    fits = holds(lambda n: n >= 0, n) and (
        not is_known(n, successes) or holds(lambda k: (k >= 0) & (k <= n), successes)
    )
    require(fits, "successes", "must be from 0 to n", (successes, n))
    k = jnp.asarray(successes) * 1.0  # integers become floats; floats keep their dtype
    n = jnp.asarray(n, k.dtype)
    z = ndtri((1 + jnp.asarray(level, k.dtype)) / 2)
    low, high = score_interval(k, n, z)
    return jnp.clip(low, 0, 1), jnp.clip(high, 0, 1)


def score_interval(k: Any, n: Any, z: Any) -> tuple[Any, Any]:
    """The formula of `wilson_interval` for the normal quantile `z`, unclipped; numbers or arrays of NumPy or JAX."""
    centre, spread = k + z**2 / 2, z * (k * (n - k) / (n + (n == 0)) + z**2 / 4) ** (1 / 2)
    return (centre - spread) / (n + z**2), (centre + spread) / (n + z**2)


def bootstrap_interval(
    key: Array, values: Array, mask: Array, *, num_resamples: int = 1000, level: float = 0.95
) -> tuple[Array, Array]:
    """Percentile interval (), () for the mean of `values` (n,) where `mask` (n,) is true, else NaN (Efron 1979).

    Each resample draws rows from the mask with replacement, as many as the mask has; the ends are the quantiles
    (1 -+ level) / 2 of the means of the resamples.

    Raises:
        ValueError: an array of another shape, `num_resamples` below 1, or `level` not between 0 and 1.
    """
    check_shapes(values=(values, (None,)), mask=(mask, values.shape))
    check_values(num_resamples=(num_resamples, Count))
    _check_level(level)
    n = jnp.sum(mask)
    counting = values[jnp.argsort(~mask)]  # the rows of the mask first
    draws = jnp.arange(values.shape[0]) < n

    def resampled_mean(key: Array) -> Array:
        # the bias of the remainder is at most n / 2^32, and it compiles in half the time of randint
        rows = jax.random.bits(key, values.shape, jnp.uint32) % jnp.maximum(n, 1).astype(jnp.uint32)
        return jnp.sum(jnp.where(draws, counting[rows], 0)) / jnp.maximum(n, 1).astype(values.dtype)

    keys = jax.random.split(key, num_resamples)
    means = jax.lax.map(resampled_mean, keys, batch_size=min(_RESAMPLES_AT_ONCE, num_resamples))
    low, high = jnp.quantile(means, (1 + jnp.array([-level, level], values.dtype)) / 2)
    return jnp.where(n > 0, low, jnp.nan), jnp.where(n > 0, high, jnp.nan)


def summarise(key: Array, measures: Measures, *, num_resamples: int = 1000, level: float = 0.95) -> dict[str, Summary]:
    """Summaries of `measures` (fields (n,)), by name: success and valid over all rows, the rest over the successes.

    Rates (success, valid, feasible) have a Wilson interval, the others a bootstrap interval, with the same resamples
    for all of them. If no row succeeded, all but success and valid have n = 0 and NaN: check n before using a mean.

    Raises:
        ValueError: `measures` is not a `Measures`, is of unequal lengths, `num_resamples` is below 1, or `level` not
            between 0 and 1.
    """
    require(isinstance(measures, Measures), "measures", "must be Measures", type(measures).__name__)
    shape = jnp.shape(measures.success)[:1]
    check_shapes(**{name: (values, shape) for name, values in measures._asdict().items()})
    success = measures.success > 0
    interval = partial(bootstrap_interval, key, mask=success, num_resamples=num_resamples, level=level)
    lows, highs = jax.vmap(interval)(jnp.stack(measures))
    summaries = {}
    for name, values, low, high in zip(measures._fields, measures, lows, highs, strict=True):
        mask = jnp.ones_like(success) if name in ("success", "valid") else success
        mean, sd, n = masked_mean(values, mask)
        if name in ("success", "valid", "feasible"):
            low, high = wilson_interval(jnp.sum(jnp.where(mask, values, 0)), n, level)
        summaries[name] = Summary(mean, sd, n, low, high)
    return summaries


def _check_level(level: float) -> None:
    within = holds(lambda share: (share > 0) & (share < 1), level)
    require(within, "level", "must be above 0 and below 1", level)
