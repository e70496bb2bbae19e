import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hare_jax.evaluate import intervals
from hare_jax.evaluate.intervals import Share, difference, holm, mean_of, median_of, p_value, share_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("k", "n"), [(0, 12), (3, 40), (40, 40), (120, 1000)])
def test_a_share_has_wilsons_interval(k, n):
    for level in (0.5, 0.95):
        expected = stats.binomtest(k, n).proportion_ci(level, method="wilson")
        np.testing.assert_allclose(Share(k, n).interval(level), expected, atol=1e-12)
    assert share_of(np.arange(n) < k) == Share(k, n)


def test_a_mean_of_symmetric_values_has_students_interval():
    values = np.concatenate([RNG.normal(size=50)] * 2) * np.repeat([1, -1], 50) + 3
    expected = stats.t.interval(0.95, 99, values.mean(), stats.sem(values))
    np.testing.assert_allclose(mean_of(values).interval(0.95), expected, rtol=1e-6)


def test_the_interval_of_a_mean_inverts_halls_transformation():
    values = RNG.exponential(size=60)
    n, skewness = 60, stats.skew(values, bias=False)
    for mu, sign in zip(mean_of(values).interval(0.9), (1, -1), strict=True):
        t = (values.mean() - mu) / values.std(ddof=1)
        transformed = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / (6 * n)
        assert math.sqrt(n) * transformed == pytest.approx(sign * stats.t.ppf(0.95, n - 1))


def test_equal_values_have_a_point_as_their_interval():
    assert mean_of(np.full(20, 0.1)).interval(0.95) == pytest.approx((0.1, 0.1))
    assert median_of(np.full(20, 0.1)).interval(0.95) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1.1])
def test_equal_values_of_samples_of_different_sizes_do_not_differ(value, dtype):
    for sample in (mean_of, median_of):
        for n, m in ((10, 36), (17, 62), (10, 400)):
            noise = value * np.finfo(dtype).eps * np.random.default_rng(m).integers(-2, 3, m)
            one, other = sample(np.full(n, value, dtype)), sample((value + noise).astype(dtype))
            assert intervals.change(one, other) == intervals.change(other, one) == 0
            assert p_value(one, other) == 1


def test_a_small_difference_that_is_no_rounding_is_one():
    one, other = mean_of(np.full(30, 1.0)), mean_of(np.full(30, 1.0 + 1e-9))
    assert intervals.change(one, other) == pytest.approx(-1e-9)
    assert p_value(one, other) == pytest.approx(intervals._LEAST_P, rel=1e-3)


@given(st.integers(6, 200), st.floats(0.1, 0.96))
def test_the_interval_of_a_median_lies_between_those_of_the_nearest_order_statistics(n, level):
    values = np.arange(n, dtype=float)
    coverages = np.array([1 - 2 * stats.binom.cdf(k - 1, n, 0.5) for k in range(1, n // 2 + 1)])
    low, high = median_of(values).interval(level)
    assert low + high == pytest.approx(n - 1)  # symmetric
    k = int(np.sum(coverages >= level))  # the narrowest exact interval
    assert values[k - 1] - 1e-9 <= low <= values[min(k, n // 2 - 1)] + 1e-9 or k == n // 2


def test_few_values_bound_no_median():
    assert median_of(np.arange(5.0)).interval(0.95) == (-math.inf, math.inf)


def test_no_difference_has_no_small_p_value_and_a_test_agrees_with_its_interval():
    samples = [
        (Share(20, 100), Share(130, 500)),
        (mean_of(RNG.gamma(2, size=50)), mean_of(1.5 * RNG.gamma(2, size=300))),
        (median_of(RNG.gamma(2, size=50)), median_of(1.5 * RNG.gamma(2, size=300))),
    ]
    for one, other in samples:
        assert p_value(one, one) > 0.9
        p = p_value(one, other)
        assert p == pytest.approx(p_value(other, one))
        wide, narrow = difference(one, other, 1 - 0.99 * p), difference(one, other, 1 - 1.01 * p)
        assert wide.low * wide.high < 0 < narrow.low * narrow.high


def test_tests_are_close_to_textbook_tests():
    k, n, m, rest = 30, 150, 120, 400
    table = [[k, n - k], [m, rest - m]]
    score = stats.chi2_contingency(table, correction=False).pvalue
    assert p_value(Share(k, n), Share(m, rest)) == pytest.approx(score, rel=0.1)
    one, other = RNG.normal(0, 1, 300), RNG.normal(0.2, 1, 500)
    welch = stats.ttest_ind(one, other, equal_var=False).pvalue
    assert p_value(mean_of(one), mean_of(other)) == pytest.approx(welch, rel=0.2)


def test_an_impossible_sample_gives_the_least_p_value():
    assert p_value(mean_of(np.zeros(30)), mean_of(np.ones(30))) == pytest.approx(intervals._LEAST_P, rel=1e-3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm(p):
    adjusted, rejected = holm(p), set()
    for rank, index in enumerate(np.argsort(p, kind="stable")):  # step down at 5 %
        if p[index] > 0.05 / (len(p) - rank):
            break
        rejected.add(int(index))
    assert {index for index in range(len(p)) if adjusted[index] <= 0.05 + 1e-12} == rejected
    assert np.all(adjusted >= np.array(p))


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 100])
def test_intervals_cover(n):
    rng, num = np.random.default_rng(1), 2000
    values, rest = rng.gamma(2, size=(num, n)), 1.5 * rng.gamma(2, size=(num, 300))
    refused, others = rng.binomial(n, 0.2, num), rng.binomial(300, 0.3, num)
    median = stats.gamma(2).median()
    means, medians = [mean_of(row) for row in values], [median_of(row) for row in values]
    pairs = {
        "share": ([Share(k, n).interval(0.95) for k in refused], 0.2),
        "mean": ([mean.interval(0.95) for mean in means], 2.0),
        "median": ([one.interval(0.95) for one in medians], median),
        "shares": (
            [difference(Share(k, n), Share(m, 300), 0.95) for k, m in zip(refused, others, strict=True)],
            -0.1,
        ),
        "means": ([difference(one, mean_of(row), 0.95) for one, row in zip(means, rest, strict=True)], -1.0),
        "medians": (
            [difference(one, median_of(row), 0.95) for one, row in zip(medians, rest, strict=True)],
            -median / 2,
        ),
    }
    for name, (found, truth) in pairs.items():
        share = np.mean([low <= truth <= high for low, high in found])
        assert 0.93 <= share <= 0.975, (name, share)  # 0.95 to 0.97 and the error of 2,000 draws
