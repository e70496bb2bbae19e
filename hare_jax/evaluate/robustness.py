"""Robustness to change: the share of recourses that retrained classifiers still accept, with its interval.

The k retrained classifiers judge all recourses, so that neither the recourses nor the decisions are independent: the
interval resamples both, users and classifiers. Notation: n recourses, k members of an ensemble.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import Recourse, check_key, check_shapes, require
from hare_jax.evaluate import metrics
from hare_jax.evaluate.summary import Summary, masked_mean
from hare_jax.hyperparams import Count, Share, check_values
from hare_jax.models import Ensemble, member_logits

_RESAMPLES_AT_ONCE = 20  # memory of the bootstrap: this many matrices (n, k)


def summarise(
    key: Array,
    members: Ensemble,
    recourse: Recourse,
    mask: Array | None = None,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
) -> Summary:
    """Mean over the valid recourses (n, d) of the share of `members` that accept them, `metrics.robustness`.

    Failures, and rows outside of `mask` (n,), are left out; `sd` is that of the shares over the recourses. The interval
    is that of the pigeonhole bootstrap, which draws the recourses and the members with replacement, each as many as
    there are (Owen 2007, The pigeonhole bootstrap, Ann. Appl. Stat. 1): it holds for other users and other retrained
    classifiers of the same kind. It can be called under `jit`.

    Raises:
        ValueError: an argument of another kind, shape or range.

    >>> from hare_jax.models import ensemble
    >>> members = ensemble(*(lambda x, bias=bias: x[0] - bias for bias in (1.0, 2.0)))
    >>> found = Recourse(jnp.array([[1.5], [2.5], [0.0]]), jnp.array([True, True, False]))
    >>> share = summarise(jax.random.key(0), members, found)
    >>> float(share.mean), int(share.n)
    (0.75, 2)
    """
    check_key(key)
    require(isinstance(members, Ensemble), "members", "must be an Ensemble of models.ensemble", type(members).__name__)
    require(isinstance(recourse, Recourse), "recourse", "must be a Recourse", type(recourse).__name__)
    check_shapes(recourse_x=(recourse.x, (None, None)), recourse_valid=(recourse.valid, recourse.x.shape[:1]))
    check_values(num_resamples=(num_resamples, Count), level=(level, Share))
    if mask is not None:
        check_shapes(mask=(mask, recourse.valid.shape))
    counted = recourse.valid if mask is None else recourse.valid & mask
    shares = jax.vmap(partial(metrics.robustness, members))(recourse.x)
    mean, sd, n = masked_mean(shares, counted)
    accepted = jax.vmap(partial(member_logits, members))(recourse.x) >= 0
    low, high = _interval(key, accepted, counted, num_resamples, level)
    return Summary(mean, sd, n, low, high)


def _interval(key: Array, accepted: Array, counted: Array, num_resamples: int, level: float) -> tuple[Array, Array]:
    """Percentiles (), () of the mean of `accepted` (n, k) over resampled members and rows of those `counted` (n,)."""
    num_rows, num_members = accepted.shape
    n = jnp.sum(counted)
    first = accepted[jnp.argsort(~counted)]  # the rows that count, before the others
    drawn = jnp.arange(num_rows) < n

    def resampled_mean(key: Array) -> Array:
        key_rows, key_members = jax.random.split(key)
        rows = jax.random.randint(key_rows, (num_rows,), 0, jnp.maximum(n, 1))
        members = jax.random.randint(key_members, (num_members,), 0, num_members)
        shares = jnp.mean(first[rows][:, members], axis=1)
        return jnp.sum(jnp.where(drawn, shares, 0)) / jnp.maximum(n, 1)

    keys = jax.random.split(key, num_resamples)
    means = jax.lax.map(resampled_mean, keys, batch_size=min(_RESAMPLES_AT_ONCE, num_resamples))
    low, high = jnp.quantile(means, (1 + jnp.array([-level, level])) / 2)
    return jnp.where(n > 0, low, jnp.nan), jnp.where(n > 0, high, jnp.nan)
