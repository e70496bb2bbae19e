"""The original's random numbers: hidden ideals, cost weights and growing spheres from NumPy's generator.

The original seeds NumPy with the seed of the run for each user, so that these draws depend on the seed, the user's row
and the classifier alone. All arithmetic is in float64, as there; `logits` is the classifier of rows (n, d).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Logits = Callable[[np.ndarray], np.ndarray]  # (n, d) -> (n,)

_SAMPLES = 1000  # directions of growing spheres
_STEP = 0.2  # thickness of a shell, in L1
_SHELLS = 1000  # of growing spheres, at most
_ATTEMPTS = 200  # of a perturbation; the original has no limit
_CENTRES = (0.2, 1.0, 2.0, 3.0, 4.0)  # of cost weights
_WEIGHTS = (0.1, 5.0)  # bounds of cost weights


class Person(NamedTuple):
    """What the original draws for one row."""

    ideal: np.ndarray  # (d,)
    weights: np.ndarray  # (d,) of the cost
    valid: bool  # whether an attempt ended with an ideal


def person(seed: int, logits: Logits, x: np.ndarray, movable: np.ndarray, num_coarse: int, distance: float) -> Person:
    """The hidden ideal and the cost weights for `x` (d,).

    An attempt perturbs the `movable` (d,) columns by a uniform direction of this L2 `distance`, and runs growing
    spheres from there with the generator seeded by the seed plus the number of the attempt; the next one, if the
    perturbed point is accepted, continues with the generator that these leave behind. They draw `num_coarse` more
    numbers per sample, for the mutable categorical columns, and do not use them.
    """
    columns = np.flatnonzero(movable)
    state = np.random.RandomState(seed)
    for attempt in range(_ATTEMPTS):
        move = state.uniform(-1, 1, len(columns))
        start = x.copy()
        start[columns] += move / np.linalg.norm(move) * distance
        start = np.clip(start, 0, 1)
        state = np.random.RandomState(seed + attempt)
        directions, radii = _samples(state, len(columns))
        state.random_sample(_SAMPLES * num_coarse)
        if logits(start[None])[0] < 0:
            found = _grow(logits, start, columns, directions, radii)
            if found is not None:
                return Person(np.clip(found, 0, 1), _cost_weights(state, len(x)), True)
    return Person(x, np.ones(len(x)), False)


def spheres(seed: int, logits: Logits, x: np.ndarray, movable: np.ndarray) -> np.ndarray | None:
    """The recourse of growing spheres for the refused `x` (d,), or None if there is none in a thousand shells."""
    columns = np.flatnonzero(movable)
    return _grow(logits, x, columns, *_samples(np.random.RandomState(seed), len(columns)))


def _samples(state: np.random.RandomState, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions (samples, num) of L1 norm 1, and where in its shell each sample lies (samples,)."""
    normal = state.standard_normal((_SAMPLES, num))
    return normal / np.abs(normal).sum(axis=1, keepdims=True), state.random_sample(_SAMPLES) * _STEP


def _grow(
    logits: Logits, start: np.ndarray, columns: np.ndarray, directions: np.ndarray, radii: np.ndarray
) -> np.ndarray | None:
    """The nearest accepted sample in L1 of the first shell that has one."""
    for shell in range(_SHELLS):
        points = np.repeat(start[None], _SAMPLES, axis=0)
        points[:, columns] += directions * (radii + shell * _STEP)[:, None]
        accepted = logits(points) >= 0
        if accepted.any():
            return points[np.argmin(np.where(accepted, radii, np.inf))]
    return None


def _cost_weights(state: np.random.RandomState, num: int) -> np.ndarray:
    centres = state.choice(_CENTRES, num)
    return np.clip(centres + state.standard_normal(num), *_WEIGHTS)
