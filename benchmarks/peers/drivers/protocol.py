"""What the command and a driver exchange: `problem.npz` in, `answer.npz` out. It needs NumPy alone, and Python 3.7.

A driver calls `answer(prepare, batched=...)`. `prepare(problem)` imports the library, fits its method, and returns
`solve`, which maps factuals (k, d) to recourses (k, m, d), m for each factual, NaN where there is none. The library's
own claim of their validity counts as "not NaN".
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Solve = Callable[[np.ndarray], Any]
START = time.perf_counter()  # before the library is imported
_MEBI = 1024  # KiB in a MiB


class Problem:
    """The rows, the classifier and the action space of one task, as NumPy arrays."""

    def __init__(self, path: Path) -> None:
        """Read the file `path`."""
        with np.load(path) as file:
            given = dict(file)
        about = json.loads(str(given["about"]))
        self.method: str = about["method"]
        self.seed: int = about["seed"]
        self.limit_s: float = about["limit_s"]
        self.x: np.ndarray = given["x"]  # (n, d) factuals
        self.x_train: np.ndarray = given["x_train"]  # (N, d)
        self.y_train: np.ndarray = given["y_train"]  # (N,) 0 or 1
        self.mutable: np.ndarray = given["mutable"]  # (d,) bool
        self.lower: np.ndarray = given["lower"]  # (d,)
        self.upper: np.ndarray = given["upper"]  # (d,)
        self.direction: np.ndarray = given["direction"]  # (d,) -1, 0 or 1
        self.group: np.ndarray = given["group"]  # (d,) id of a one-hot group, or -1
        self.step: np.ndarray = given["step"]  # (d,) 0 of a continuous column
        self.layers: list = [(given[f"weight_{i}"], given[f"bias_{i}"]) for i in range(about["layers"])]

    @property
    def is_binary(self) -> np.ndarray:
        """The columns (d,) that are categories of two levels, 0 and 1."""
        return (self.group < 0) & (self.step == 1) & (self.lower == 0) & (self.upper == 1)

    @property
    def softmax_layers(self) -> list:
        """The layers with two outputs, refusal and acceptance, to be followed by a softmax."""
        *hidden, (weight, bias) = self.layers
        return [*hidden, tuple(np.concatenate([np.zeros_like(part), part]) for part in (weight, bias))]

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """The logits (n,) of rows (n, d); at least 0 is accepted."""
        hidden = np.asarray(rows, np.float32)
        for weight, bias in self.layers[:-1]:
            hidden = np.maximum(hidden @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        return (hidden @ weight.T + bias)[:, 0]

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """The probabilities (n, 2) of refusal and acceptance."""
        accepted = 1 / (1 + np.exp(-np.clip(self.logits(rows).astype(float), -60, 60)))
        return np.stack([1 - accepted, accepted], axis=1)


def _peak_mib() -> float:
    """The peak memory of this program; NaN where there is no /proc. `ru_maxrss` is at least that of the parent."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return float("nan")
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / _MEBI


def answer(prepare: Callable[[Problem], Solve], *, batched: bool, sets: Callable | None = None) -> None:
    """Answer the problem in the folder that is the first argument of the command line.

    A batched library gets all factuals at once, first cold and then warm. Another one gets them one by one, the first
    of them cold, until the limit of time: an exception is a factual without a recourse, and the first one is reported.
    `sets` is called after the timing: a `prepare` for a set of recourses of each factual, where that is another call.
    """
    folder = Path(sys.argv[1])
    problem = Problem(folder / "problem.npz")
    found = _all_at_once(problem, prepare) if batched else _one_by_one(problem, prepare)
    found["peak_mib"] = _peak_mib()
    if sets is not None:
        found["sets"] = np.asarray(sets(problem)(problem.x), np.float32)
    np.savez(folder / "answer.npz", **found)


def _all_at_once(problem: Problem, prepare: Callable[[Problem], Solve]) -> dict:
    solve = prepare(problem)
    solve(problem.x)
    cold = time.perf_counter()
    points = np.asarray(solve(problem.x), np.float32)
    warm_s = (time.perf_counter() - cold) / len(problem.x)
    return {"points": points, "cold_s": cold - START, "warm_s": warm_s, "failed": 0, "error": ""}


def _one_by_one(problem: Problem, prepare: Callable[[Problem], Solve]) -> dict:
    solve = prepare(problem)
    points: list = []
    errors: list = []
    cold = begin = time.perf_counter()
    for x in problem.x:
        if points and time.perf_counter() - begin > problem.limit_s:
            break
        try:
            points.append(np.asarray(solve(x[None, :]), np.float32)[0])
        except Exception as error:  # whatever the library raises is its answer
            errors.append(f"{type(error).__name__}: {error}".splitlines()[0])
            points.append(np.full((1, len(x)), np.nan, np.float32))
        if len(points) == 1:
            cold = time.perf_counter()
    warm_s = (time.perf_counter() - cold) / max(len(points) - 1, 1)
    width = max(len(each) for each in points)
    padded = [np.concatenate([each, np.full((width - len(each), each.shape[1]), np.nan)]) for each in points]
    first = errors[0] if errors else ""
    return {
        "points": np.asarray(padded, np.float32),
        "cold_s": cold - START,
        "warm_s": warm_s if len(points) > 1 else np.nan,
        "failed": len(errors),
        "error": first,
    }
