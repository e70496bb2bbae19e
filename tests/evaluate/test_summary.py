from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array

from hare_jax.evaluate import summary
from hare_jax.evaluate.metrics import Measures

intervals = jax.jit(jax.vmap(partial(summary.bootstrap_interval, num_resamples=200, level=0.9)))
wilson = jax.jit(summary.wilson_interval)
masked_mean = jax.jit(summary.masked_mean)
masked_means = jax.jit(jax.vmap(summary.masked_mean))
summarise = jax.jit(partial(summary.summarise, num_resamples=100))


def measured(**figures):
    """Figures of six rows."""
    others = np.random.default_rng(3).uniform(size=(len(Measures._fields), 6))
    return Measures(*map(array, others))._replace(**{name: array(figure) for name, figure in figures.items()})


def test_masked_mean_ignores_what_is_masked():
    values, mask = array([1.0, np.nan, 2.0, np.inf, 6.0]), np.array([True, False, True, False, True])
    mean, sd, n = masked_mean(values, mask)
    assert (mean, n) == (3, 3)
    np.testing.assert_allclose(sd, np.std([1, 2, 6], ddof=1), rtol=1e-6)
    assert masked_mean(values, np.arange(5) == 2)[:2] == (2, 0)
    mean, sd, n = masked_mean(values, np.zeros(5, bool))
    assert n == 0
    assert np.isnan(mean)
    assert np.isnan(sd)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_against_newcombe_1998(successes, n, low, high):
    interval = wilson(jnp.array(float(successes)), jnp.array(n))
    np.testing.assert_allclose(interval, (low, high), atol=5.1e-5)


def test_wilson_interval_at_the_edges():
    np.testing.assert_allclose(wilson(jnp.array(0.0), jnp.array(0)), (0, 1), atol=1e-6)
    low, high = wilson(jnp.array(50.0), jnp.array(50), 0.99)
    assert 0.88 < low < 0.89
    np.testing.assert_allclose(high, 1, atol=1e-6)


def samples(num_rows=60, num_samples=300):
    """Samples of a skewed law of mean 1, each with its mask: nobody in the first, one row in the second."""
    values = np.random.default_rng(4).exponential(size=(num_samples, num_rows))
    counting = np.array([0, 1] + [50] * (num_samples - 2))
    mask = np.arange(num_rows)[::-1] < counting[:, None]
    return jax.random.split(jax.random.key(5), num_samples), array(values), mask


def test_bootstrap_interval_covers_and_is_near_the_normal_one():
    keys, values, mask = samples()
    low, high = (end[2:] for end in jax.device_get(intervals(keys, values, mask)))
    assert 0.82 < np.mean((low <= 1) & (high >= 1)) < 0.94
    mean, sd, n = (figure[2:] for figure in jax.device_get(masked_means(values, mask)))
    for end, sign in ((low, -1), (high, 1)):
        off = (end - mean) / (sd / np.sqrt(n)) - sign * 1.645
        assert abs(np.mean(off)) < 0.15


def test_bootstrap_interval_leaves_masked_rows_out():
    keys, values, mask = samples()
    low, high = jax.device_get(intervals(keys, values, mask))
    chex.assert_trees_all_equal((low, high), intervals(keys, np.where(mask, values, array(np.nan)), mask))
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True] + [False] * 299
    assert low[1] == high[1] == values[1, -1]
    assert np.all(low[2:] < high[2:])


def test_summarise():
    measures = measured(success=[1.0, 0, 1, 0, 1, 0], l1=[1, np.nan, 2, 3, 6, 7])
    summaries = summarise(jax.random.key(5), measures)
    assert summaries["success"].mean == 0.5
    assert {name: int(figure.n) for name, figure in summaries.items()} == {
        name: 6 if name in ("success", "valid") else 3 for name in Measures._fields
    }
    np.testing.assert_allclose(summaries["l1"].mean, 3, rtol=1e-6)
    np.testing.assert_allclose(
        (summaries["success"].low, summaries["success"].high), wilson(jnp.array(3.0), jnp.array(6))
    )
    chex.assert_tree_all_finite(summaries)
    for figure in summaries.values():
        assert figure.low - 1e-6 <= figure.mean <= figure.high + 1e-6
        assert figure.mean.dtype == figure.sd.dtype == figure.low.dtype == figure.high.dtype == measures.l1.dtype


def test_summarise_without_a_success():
    nobody = measured(success=np.zeros(6), valid=np.zeros(6))
    summaries = summarise(jax.random.key(6), nobody)
    assert (summaries["success"].mean, summaries["success"].n) == (0, 6)
    assert summaries["l2"].n == 0
    assert all(jnp.isnan(value) for value in (summaries["l2"].mean, summaries["l2"].low, summaries["l2"].high))
