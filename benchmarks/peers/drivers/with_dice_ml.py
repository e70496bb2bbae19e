"""Drives DiCE: sets of four. Whole steps are its integers, two-level categories its categories.

Mutable continuous columns have three digits, the resolution of its search; what it leaves as it was is the factual's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import protocol

_NUM_SETS = 4  # members of a set, as those of `recourse.dice`
_DIGITS = 3  # of a mutable continuous column
_ALL_DIGITS = 6  # of an immutable one, which is not searched


class _Units:
    """Rows as a frame: ordered columns in steps, as integers, and categories as text."""

    def __init__(self, problem: protocol.Problem) -> None:
        self.binary = problem.is_binary
        self.ordered = (problem.step > 0) & ~self.binary
        self.scale = np.where(self.ordered, problem.step, 1)
        self.names = [f"c{index}" for index in range(len(self.scale))]

    def frame(self, rows: np.ndarray) -> Any:
        """The frame of rows (n, d)."""
        import pandas as pd

        columns: dict = {}
        for index, name in enumerate(self.names):
            column = rows[:, index].astype(float) / self.scale[index]
            if self.binary[index]:
                columns[name] = np.round(column).astype(int).astype(str)
            else:
                columns[name] = np.round(column).astype(int) if self.ordered[index] else column.round(_ALL_DIGITS)
        return pd.DataFrame(columns)

    def rows(self, frame: Any) -> np.ndarray:
        """The rows (n, d) of a frame."""
        return np.stack([frame[name].astype(float).to_numpy() for name in self.names], axis=1) * self.scale


class _Model:
    """The classifier, as scikit-learn's: of a frame in the units above."""

    def __init__(self, problem: protocol.Problem, units: _Units) -> None:
        self.problem, self.units = problem, units

    def predict_proba(self, frame: Any) -> np.ndarray:
        """Probabilities (n, 2)."""
        return self.problem.probabilities(self.units.rows(frame))

    def predict(self, frame: Any) -> np.ndarray:
        """Classes (n,)."""
        return (self.predict_proba(frame)[:, 1] >= 1 / 2).astype(int)


def prepare(problem: protocol.Problem) -> Callable[[np.ndarray], np.ndarray]:
    """One of its three methods."""
    import dice_ml

    units = _Units(problem)
    train = units.frame(problem.x_train).assign(y=problem.y_train.astype(int))
    free = ~units.binary & ~units.ordered
    numeric = [name for name, binary in zip(units.names, units.binary, strict=True) if not binary]
    digits = {
        name: _DIGITS if mutable else _ALL_DIGITS
        for name, mutable, chosen in zip(units.names, problem.mutable, free, strict=True)
        if chosen
    }
    data = dice_ml.Data(
        dataframe=train, continuous_features=numeric, outcome_name="y", continuous_features_precision=digits
    )
    if problem.method == "gradient":
        model = dice_ml.Model(model=_network(problem, units, data), backend="PYT", func="ohe-min-max")
    else:
        model = dice_ml.Model(model=_Model(problem, units), backend="sklearn")
    explainer = dice_ml.Dice(data, model, method=problem.method)
    vary = [name for name, mutable in zip(units.names, problem.mutable, strict=True) if mutable]
    options: dict = {"random_seed": problem.seed} if problem.method == "random" else {}

    def solve(x: np.ndarray) -> np.ndarray:
        found = explainer.generate_counterfactuals(
            units.frame(x),
            total_CFs=_NUM_SETS,
            desired_class=1,
            features_to_vary=vary,
            permitted_range=_ranges(problem, units, x[0]),
            **options,
        )
        example = found.cf_examples_list[0]
        frame = example.final_cfs_df if example.final_cfs_df_sparse is None else example.final_cfs_df_sparse
        rows = units.rows(frame[units.names])
        same = np.abs(rows - x) <= 10.0**-_DIGITS / 2
        return np.where(same, x, rows)[None]

    return solve


def _ranges(problem: protocol.Problem, units: _Units, x: np.ndarray) -> dict:
    """The permitted ranges of a factual (d,), by the bounds and the directions."""
    lower = np.where(problem.direction > 0, x, np.minimum(problem.lower, x)) / units.scale
    upper = np.where(problem.direction < 0, x, np.maximum(problem.upper, x)) / units.scale
    ranges: dict = {}
    for index, name in enumerate(units.names):
        if not problem.mutable[index] and problem.method != "gradient":  # which needs the ranges of all columns
            continue
        if units.binary[index]:
            ranges[name] = [str(level) for level in (0, 1) if lower[index] <= level <= upper[index]]
        elif units.ordered[index]:
            ranges[name] = [int(round(lower[index])), int(round(upper[index]))]
        else:
            ranges[name] = [float(lower[index]), float(upper[index])]
    return ranges


def _network(problem: protocol.Problem, units: _Units, data: Any) -> Any:
    """The classifier in PyTorch, of DiCE's own encoding: columns scaled to [0, 1], then categories one-hot."""
    import torch

    smallest = problem.x_train.min(axis=0)
    width = problem.x_train.max(axis=0) - smallest
    order = [*np.flatnonzero(~units.binary), *np.flatnonzero(units.binary)]
    num_numeric = int((~units.binary).sum())
    sizes = [1] * num_numeric + [2] * (len(order) - num_numeric)
    to_rows = np.zeros((len(order), sum(sizes)), np.float32)
    shift = np.zeros(len(order), np.float32)
    at = 0
    for position, column in enumerate(order):
        if position < num_numeric:
            to_rows[column, at], shift[column] = width[column], smallest[column]
        else:
            to_rows[column, at + 1] = 1  # the second level is "1"
        at += sizes[position]
    layers: list = []
    weight, bias = problem.layers[0]
    folded = [(weight @ to_rows, bias + weight @ shift), *problem.layers[1:]]
    for weight, bias in folded:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1], torch.nn.Sigmoid())


if __name__ == "__main__":
    protocol.answer(prepare, batched=False)
