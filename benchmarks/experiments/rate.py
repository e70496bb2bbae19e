"""The distortion-rate function of a discrete prior: the least mean distance that k answers allow, by Blahut-Arimoto.

An answer that is flipped with probability f carries at most `1 - H(f)` bits (the capacity of a binary symmetric
channel), so that k answers carry at most R = k (1 - H(f)) bits. No recommendation among N candidates that depends on R
bits about a uniformly drawn one has a mean distance below D(R). Blahut (1972), "Computation of channel capacity and
rate-distortion functions"; Arimoto (1972).

For each slope s, any distribution q of the recommendations gives a lower bound of D(R) that is linear in R (Blahut's
theorem 6), so that a bound holds whether or not the iteration has converged: D(R) >= (offset(s) - R) / s.
"""

from typing import NamedTuple

import numpy as np

_SLOPES = 2.0 ** np.arange(8, -0.5, -0.25)  # nats per unit of distance
_NUM_STEPS = 20  # for each slope, from the distribution of the steeper one before, which is less concentrated
_TINY = 1e-30


class Tangents(NamedTuple):
    """Lower bounds of D(R), one for each slope."""

    slope: np.ndarray  # (S,)
    offset: np.ndarray  # (S,) nats


def tangents(distance: np.ndarray) -> Tangents:
    """The bounds for a uniform prior over N candidates with these distances (N, N)."""
    distance = distance.astype(np.float32)
    q = np.full(len(distance), 1 / len(distance), np.float32)
    offsets = []
    for slope in _SLOPES:
        kernel = np.exp(-np.float32(slope) * distance)
        kernel[kernel < _TINY] = 0  # products with denormal numbers are slow
        for _ in range(_NUM_STEPS):
            ratio = _ratio(kernel, q)
            q = q * ratio
        offsets.append(-np.mean(np.log(np.maximum(kernel @ q, _TINY))) - np.log(np.max(_ratio(kernel, q))))
    return Tangents(_SLOPES, np.array(offsets))


def least_distance(found: Tangents, bits: np.ndarray) -> np.ndarray:
    """The lower bound of the mean distance for each rate in `bits` (B,).

    >>> pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> least_distance(tangents(pair), np.array([0.5, 1.0])).round(2).tolist()
    [0.11, 0.0]
    """
    nats = bits[:, None] * np.log(2)
    return np.maximum(np.max((found.offset - nats) / found.slope, axis=1), 0)


def bits_per_answer(flip: float) -> float:
    """Capacity of an answer that is flipped with probability `flip`: 1 - H(flip).

    >>> [round(bits_per_answer(flip), 2) for flip in (0.0, 0.1, 0.5)]
    [1.0, 0.53, 0.0]
    """
    return 1 + sum(float(p * np.log2(p)) for p in (flip, 1 - flip) if p > 0)


def _ratio(kernel: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The factor (N,) of each entry of `q` in one step; its largest entry tends to 1."""
    return kernel.T @ (1 / np.maximum(kernel @ q, _TINY)) / len(q)
