"""Points at which two ways of asking a model differ, if they differ: near the boundary between its classes."""

from collections.abc import Callable

import numpy as np

_NUM_PAIRS = 64  # of rows of different classes
_NUM_BISECTIONS = 10  # between the rows of a pair


def near_boundary(predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Points (m, d) on segments between rows of `x` (n, d), nearer and nearer to where the class changes.

    `predict` gives the classes (k,) of rows (k, d), and `predicted` (n,) are those of `x`. If all are the same, the
    points lie on segments between any rows.
    """
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(x), size=(2, _NUM_PAIRS))
    for index, row in enumerate(first):
        others = np.flatnonzero(predicted != predicted[row])
        second[index] = rng.choice(others) if len(others) else second[index]
    start, end, found = x[first], x[second], []
    for _ in range(_NUM_BISECTIONS):
        middle = (start + end) / 2
        found.append(middle)
        same = (predict(middle) == predicted[first])[:, None]
        start, end = np.where(same, middle, start), np.where(same, end, middle)
    return np.concatenate(found)
