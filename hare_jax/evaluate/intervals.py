"""Confidence intervals for a share, a mean and a median, for the difference of two groups, and tests.

A sample keeps what its interval needs: `Share`, `Mean` or `Median`. All intervals are continuous in the level, so one
test serves them all: its p-value is the largest 1 - level for which the interval of the difference contains 0. The
interval and the test never contradict each other. NumPy only, on the host, in float64.

Values that are equal up to rounding, in their own dtype, count as equal: a figure has a `rounding`, smaller differences
of two figures are 0, and so is a smaller spread.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import scipy  # loads a subpackage at its first use

from hare_jax.evaluate.summary import score_interval

_LEAST_P = 1e-12  # smaller p-values are reported as this
_NUM_BISECTIONS = 40  # of the logarithm of a p-value
_ULPS = 64  # units of rounding of a value, which is computed in several steps, or of a mean


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Sample(Protocol):
    """A sample, as a figure that has an interval at any level."""

    @property
    def n(self) -> int:
        """Number of values."""

    @property
    def estimate(self) -> float:
        """The figure of the sample."""

    @property
    def rounding(self) -> float:
        """The error of the figure by rounding, at most."""

    def interval(self, level: float) -> Interval:
        """Its confidence interval."""


class Share(NamedTuple):
    """A share `k / n` with its score interval (Wilson 1927).

    >>> tuple(round(end, 4) for end in Share(10, 10).interval(0.95))
    (0.7225, 1.0)
    """

    k: int
    n: int

    @property
    def estimate(self) -> float:
        """The share."""
        return self.k / self.n

    @property
    def rounding(self) -> float:
        """0: equal shares are equal numbers."""
        return 0.0

    def interval(self, level: float) -> Interval:
        """The score interval, within [0, 1]."""
        low, high = score_interval(self.k, self.n, float(scipy.special.ndtri((1 + level) / 2)))
        return Interval(max(0.0, low), min(1.0, high))


class Mean(NamedTuple):
    """A mean of n >= 3 values with the interval of Hall (1992), which corrects Student's t for skewed values.

    On the removal of skewness by transformation, J. R. Stat. Soc. B 54: with the skewness g, `T + g T^2 / 3 +
    g^2 T^3 / 27 + g / (6n)` of the studentised mean `T = (mean - mu) / sd` is nearly symmetric, and monotone, so that
    its quantiles give an interval of mu in closed form. The quantiles are those of Student's t. With heavy tails and
    few values it covers less than its level: of lognormal(1) values 91.5 % with n = 10 and 93 % with n = 30, at 95 %.
    """

    estimate: float
    sd: float
    skewness: float  # unbiased; 0 of equal values
    n: int
    rounding: float = 0.0  # the error of the mean by rounding, at most

    def interval(self, level: float) -> Interval:
        """The interval of the mean."""
        quantile = float(scipy.special.stdtrit(self.n - 1, (1 + level) / 2)) / math.sqrt(self.n)
        return Interval(*(self.estimate - self.sd * self._studentised(end) for end in (quantile, -quantile)))

    def _studentised(self, transformed: float) -> float:
        """The studentised mean of a value of Hall's transformation."""
        slope = self.skewness / 3
        centred = transformed - self.skewness / (6 * self.n)
        if abs(slope * centred) < np.finfo(float).eps:
            return centred
        return float(np.cbrt(1 + 3 * slope * centred) - 1) / slope


class Median(NamedTuple):
    """A median with the interval of interpolated order statistics (Hettmansperger and Sheather 1986).

    Confidence intervals based on interpolated order statistics, Stat. Probab. Lett. 4: the interval between the k-th
    lowest and the k-th highest value covers with the probability `1 - 2 P(B < k)`, B binomial (n, 1/2), whatever the
    distribution; the ends are interpolated between the two k whose coverages enclose the level.
    """

    values: np.ndarray  # (n,) sorted
    rounding: float = 0.0  # the error of the median by rounding, at most

    @property
    def n(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def estimate(self) -> float:
        """The median."""
        return float(np.median(self.values))

    def interval(self, level: float) -> Interval:
        """The interval of the median; without ends where n is too small for the level."""
        n, half = self.n, (1 - level) / 2
        if scipy.special.bdtr(0, n, 1 / 2) > half:
            return Interval(-math.inf, math.inf)
        k = _rank(n, half)
        if k >= n // 2:
            return Interval(float(self.values[k - 1]), float(self.values[n - k]))
        covered, next_covered = (1 - 2 * float(scipy.special.bdtr(below, n, 1 / 2)) for below in (k - 1, k))
        excess = (covered - level) / (covered - next_covered)
        weight = (n - k) * excess / (k + (n - 2 * k) * excess)
        low, high = (self.values[[k - 1, k]], self.values[[n - k, n - k - 1]])
        return Interval(*(float(ends @ (1 - weight, weight)) for ends in (low, high)))


def _rank(n: int, half: float) -> int:
    """The largest k from 1 to n / 2 for which `P(B < k) <= half`, B binomial (n, 1/2); k = 1 must satisfy it."""
    low, high = 1, n // 2
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if scipy.special.bdtr(middle - 1, n, 1 / 2) <= half else (low, middle - 1)
    return low


def share_of(values: np.ndarray) -> Share:
    """The share of the true ones among `values` (n,), n >= 1."""
    return Share(int(np.sum(values)), len(values))


def mean_of(values: np.ndarray) -> Mean:
    """The mean of `values` (n,), n >= 1; the interval needs n >= 3."""
    ulp, values = _ulp(values), np.asarray(values, float)
    n, mean, spread = len(values), float(values.mean()), float(values.std())
    rounding = _ULPS * ulp * float(np.abs(values).mean())
    if n <= 2 or spread <= rounding:
        return Mean(mean, math.nan if n <= 2 else 0.0, 0.0, n, rounding)
    skewness = float(np.mean((values - mean) ** 3)) / spread**3 * math.sqrt(n * (n - 1)) / (n - 2)
    return Mean(mean, spread * math.sqrt(n / (n - 1)), skewness, n, rounding)


def median_of(values: np.ndarray) -> Median:
    """The median of `values` (n,), n >= 1."""
    ulp, values = _ulp(values), np.sort(np.asarray(values, float))
    return Median(values, _ULPS * ulp * abs(float(np.median(values))))


def _ulp(values: np.ndarray) -> float:
    """The unit of rounding of the dtype of `values`, relative to a value."""
    dtype = np.asarray(values).dtype
    return float(np.finfo(dtype if np.issubdtype(dtype, np.floating) else float).eps)


def change(one: Sample, other: Sample) -> float:
    """The figure of `one` minus that of the `other`, 0 where it is rounding.

    >>> change(mean_of(np.full(10, 0.3)), mean_of(np.full(36, 0.3)))
    0.0
    """
    apart = one.estimate - other.estimate
    return 0.0 if abs(apart) <= max(one.rounding, other.rounding) else apart


def difference(one: Sample, other: Sample, level: float) -> Interval:
    """Interval for the figure of `one` minus that of the `other`, from the intervals of both.

    The distances of the figures from the ends of their intervals are added as squares: Newcombe (1998) for two shares,
    Zou and Donner (2008), Stat. Med. 27, for any two figures.

    >>> tuple(round(end, 4) for end in difference(Share(56, 70), Share(48, 80), 0.95))  # Newcombe's example
    (0.0524, 0.3339)
    """
    first, second = one.interval(level), other.interval(level)
    apart = change(one, other)
    down = math.hypot(one.estimate - first.low, second.high - other.estimate)
    up = math.hypot(first.high - one.estimate, other.estimate - second.low)
    return Interval(apart - down, apart + up)


def p_value(one: Sample, other: Sample) -> float:
    """Two-sided p-value of no difference: the largest 1 - level for which `difference` contains 0; at least 1e-12."""

    def excludes(p: float) -> bool:
        low, high = difference(one, other, 1 - p)
        return low > 0 or high < 0

    return _first(excludes)


def _first(holds: Callable[[float], bool]) -> float:
    """The least p from 1e-12 to 1 for which the monotone condition `holds`, by bisection of its logarithm."""
    low, high = math.log(_LEAST_P), 0.0
    for _ in range(_NUM_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(math.exp(middle)) else (middle, high)
    return math.exp(high)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values (m,): each is significant if it is below the error rate of the whole family (Holm 1979).

    The i-th smallest is multiplied by m - i + 1, and none is below a smaller one.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(raised, 1)
    return adjusted
