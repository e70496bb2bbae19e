"""Statistics of any number of values that merge exactly: count, mean, sum of squared deviations, and quantiles.

The upper 16 bits of a float32 (sign, exponent, 7 bits of the mantissa) are its bin, so that a bin is less than 1/128 of
its values wide: the buckets of a DDSketch (Masson, Rim and Lee 2019, VLDB 12) with powers of 2 divided into equal
parts, for all floats. A bin holds three integers: the count of its values, and the sums of their lower 16 bits and of
the squares of these. The sums of all values and of their squares follow in exact arithmetic, and merging adds
integers: it is associative and commutative, bit by bit. NumPy only, on the host.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hare_jax.base import require
from hare_jax.hyperparams import Share, check_values

NUM_BINS = 2**16
RELATIVE_ERROR = 2**-7  # of a quantile
_HALF = 16  # bits of a half
_MANTISSA = 23 - _HALF  # bits of the mantissa in the upper half
_EXPONENTS = 2 ** (_HALF - 1 - _MANTISSA)
_UNIT = Fraction(1, 2**149)  # the smallest float32
_NUM_EXACT = 2**21  # squares of halves whose sum a float64 holds exactly
_ASCENDING = np.concatenate([np.arange(NUM_BINS - 1, NUM_BINS // 2 - 1, -1), np.arange(NUM_BINS // 2)])  # bins by value


class Moments(NamedTuple):
    """Exact sums of values."""

    n: int
    total: Fraction
    squares: Fraction  # sum of the squares


class Sketch(NamedTuple):
    """Statistics of the values of a metric, as float32."""

    counts: np.ndarray  # (2^16,) int64: values in each bin
    lower: np.ndarray  # (2^16,) int64: sum of their lower halves
    squares: np.ndarray  # (2^16,) int64: sum of the squares of their lower halves

    @property
    def n(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean, correctly rounded; NaN if there are no values, or infinite ones."""
        moments = self.moments()
        return float(moments.total / moments.n) if moments else math.nan

    @property
    def m2(self) -> float:
        """Sum of the squared deviations from the mean, correctly rounded; NaN as the mean."""
        moments = self.moments()
        return float(moments.squares - moments.total**2 / moments.n) if moments else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation (n - 1; 0 for one value); NaN as the mean."""
        return math.sqrt(self.m2 / max(self.n - 1, 1))

    def moments(self) -> Moments | None:
        """The sums of the values and of their squares, without rounding; None if there is no mean."""
        bins = np.flatnonzero(self.counts)
        if not len(bins) or np.any(_exponent(bins) == _EXPONENTS - 1):
            return None
        total = squares = 0
        for scale, start, count, lower, square in self._occupied(bins):
            total += scale * (count * start + lower)
            squares += scale**2 * (count * start**2 + 2 * start * lower + square)
        return Moments(self.n, total * _UNIT, squares * _UNIT**2)

    def quantile(self, q: float) -> float:
        """The value of rank floor(q (n - 1)) from 0, with a relative error below 1/128; NaN if there are no values.

        It is the mean of the values in its bin, and exact where these are equal: whole numbers up to 256 are.

        Raises:
            ValueError: `q` is not from 0 to 1.

        >>> sketch([1.0, 2.0, 10.0]).quantile(0.5)
        2.0
        """
        check_values(q=(q, Share))
        if self.n == 0:
            return math.nan
        reached = np.cumsum(self.counts[_ASCENDING])
        at = int(np.searchsorted(reached, math.floor(q * (self.n - 1)), side="right"))
        return self._bin_mean(int(_ASCENDING[at]))

    def _bin_mean(self, at: int) -> float:
        if _exponent(np.array(at)) == _EXPONENTS - 1:
            return math.inf if at < NUM_BINS // 2 else -math.inf
        ((scale, start, count, lower, _),) = self._occupied(np.array([at]))
        return float(scale * (start + Fraction(lower, count)) * _UNIT)

    def _occupied(self, bins: np.ndarray) -> Iterator[tuple[int, ...]]:
        """For each of the `bins`: signed units of the lower half's last bit, least value in them, and the integers."""
        exponent, negative = _exponent(bins), bins >= NUM_BINS // 2
        normal = exponent > 0
        start = ((bins % 2**_MANTISSA) + normal * 2**_MANTISSA) << _HALF
        columns = (exponent - normal, negative, start, self.counts[bins], self.lower[bins], self.squares[bins])
        for shift, sign, *integers in zip(*(column.tolist() for column in columns), strict=True):
            yield (-(1 << shift) if sign else 1 << shift, *integers)


def empty() -> Sketch:
    """The sketch of no values."""
    return Sketch(*np.zeros((len(Sketch._fields), NUM_BINS), np.int64))


def sketch(values: ArrayLike) -> Sketch:
    """The sketch of `values` (n,), rounded to float32; NaN is not counted.

    Raises:
        ValueError: `values` is not (n,).

    >>> found = sketch([0.1, 0.2, float("nan"), 0.3])
    >>> found.n, round(found.mean, 6), round(found.m2, 6)
    (3, 0.2, 0.02)
    """
    given = np.asarray(values, np.float32)
    require(given.ndim == 1, "values", "must have shape (n,)", given.shape)
    merged = empty()
    for first in range(0, len(given), _NUM_EXACT):
        merged = merge(merged, _small(given[first : first + _NUM_EXACT]))
    return merged


def merge(one: Sketch, other: Sketch) -> Sketch:
    """The sketch of the values of both.

    >>> merge(sketch([1.0]), sketch([4.0])).mean
    2.5
    """
    return Sketch(*(mine + theirs for mine, theirs in zip(one, other, strict=True)))


def pack(sketches: Mapping[str, Sketch]) -> np.ndarray:
    """The integers of `sketches` that are not 0, and their places: (k, 2) int64, for files and messages."""
    numbers = np.array(list(sketches.values())).reshape(-1)
    at = np.flatnonzero(numbers)
    return np.stack([at, numbers[at]], axis=1)


def unpack(packed: np.ndarray, names: Sequence[str]) -> dict[str, Sketch]:
    """The sketches of these `names` from `packed` (k, 2); integers of the same place are added.

    >>> unpack(pack({"l1": sketch([1.0, 3.0])}), ["l1"])["l1"].mean
    2.0
    """
    numbers = np.zeros((len(names), len(Sketch._fields), NUM_BINS), np.int64)
    np.add.at(numbers.reshape(-1), packed[:, 0], packed[:, 1])
    return {name: Sketch(*each) for name, each in zip(names, numbers, strict=True)}


def _small(values: np.ndarray) -> Sketch:
    """The sketch of at most 2^21 float32 values."""
    bits = values[~np.isnan(values)].view(np.uint32)
    bins, lower = (bits >> _HALF).astype(np.int64), (bits % 2**_HALF).astype(np.float64)
    sums = (np.bincount(bins, weights=weights, minlength=NUM_BINS) for weights in (None, lower, lower**2))
    return Sketch(*(each.astype(np.int64) for each in sums))


def _exponent(bins: np.ndarray) -> np.ndarray:
    """The biased exponent of each of the `bins`; the largest is that of infinity."""
    return (bins >> _MANTISSA) % _EXPONENTS
