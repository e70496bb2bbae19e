import math
from fractions import Fraction

import numpy as np
import pytest

from hare_jax.evaluate.sketch import NUM_BINS, RELATIVE_ERROR, empty, merge, pack, sketch, unpack

LEAST, MOST = 1e-45, 3e38  # float32
NORMAL = 1.2e-38


def values(seed, num):
    """Floats of any sign and size, equal ones among them."""
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=num) * 10 ** rng.uniform(-37, 37, num)
    return np.r_[spread, 0, -0.0, LEAST, -LEAST, MOST, 1, 1, 255].astype(np.float32)


def same(one, other):
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def test_sums_are_exact():
    given = values(0, 500)
    moments, exact = sketch(given).moments(), [Fraction(float(value)) for value in given]
    assert moments == (len(given), sum(exact), sum(value**2 for value in exact))


def test_mean_and_deviations_are_those_of_numpy():
    given = np.random.default_rng(1).uniform(1000, 1001, 400).astype(np.float32)
    found = sketch(given)
    assert found.n == 400
    assert found.mean == pytest.approx(given.mean(dtype=float), rel=1e-15)
    assert found.m2 == pytest.approx(((given - given.mean(dtype=float)) ** 2).sum(), rel=1e-9)
    assert found.sd == pytest.approx(given.std(ddof=1, dtype=float), rel=1e-9)
    assert sketch([7.0]).sd == 0


def test_quantiles_keep_their_bound():
    given = np.sort(values(2, 500))
    found = sketch(given)
    for q in np.linspace(0, 1, 101):
        exact = float(given[math.floor(q * (len(given) - 1))])
        assert abs(found.quantile(q) - exact) <= RELATIVE_ERROR * max(abs(exact), NORMAL)
    whole = sketch(np.repeat(np.arange(257.0), 3))
    assert [whole.quantile(value / 256) for value in range(257)] == list(range(257))


def test_merging_is_associative_and_commutative_and_loses_nothing():
    parts = [values(seed, 50 * seed) for seed in (1, 2, 3)]
    one, two, three = map(sketch, parts)
    assert same(merge(merge(one, two), three), merge(one, merge(two, three)))
    assert same(merge(one, two), merge(two, one))
    assert same(merge(merge(one, two), three), sketch(np.concatenate(parts)))
    assert same(merge(one, empty()), one)


def test_packed_sketches_are_small_and_add_up():
    found = {"a": sketch(values(1, 50)), "b": empty(), "c": sketch([2.0])}
    packed = pack(found)
    assert len(packed) < 3 * 60 < NUM_BINS
    again = unpack(packed, list(found))
    assert list(again) == list(found)
    assert all(same(again[name], found[name]) for name in found)
    twice = unpack(np.concatenate([packed, packed]), list(found))
    assert same(twice["a"], merge(found["a"], found["a"]))


def test_values_that_are_not_finite():
    assert sketch([math.nan, 1.0]).n == 1
    infinite = sketch([1.0, math.inf])
    assert math.isnan(infinite.mean)
    assert math.isnan(infinite.sd)
    assert infinite.quantile(0) == 1
    assert infinite.quantile(1) == math.inf
    assert sketch([-math.inf, 1.0]).quantile(0) == -math.inf
    assert empty().n == 0
    assert all(map(math.isnan, (empty().mean, empty().m2, empty().quantile(0.5))))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"^q: must be from 0 to 1; got 1.5"):
        sketch([1.0]).quantile(1.5)
    with pytest.raises(ValueError, match=r"^values: must have shape \(n,\); got \(1, 2\)"):
        sketch([[1.0, 2.0]])
