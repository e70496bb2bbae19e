"""Drives CARLA: Wachter's method and growing spheres. Two-level categories are its categories.

It knows immutable columns, of growing spheres alone, and neither steps nor ranges other than the unit box.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import protocol

_TARGET = "y"


class _Encoder:
    """What the methods ask of a fitted one-hot encoder."""

    def get_feature_names(self, names: list) -> list:
        """The names of the encoded columns, which have those of the features."""
        return list(names)


def prepare(problem: protocol.Problem) -> Callable[[np.ndarray], np.ndarray]:
    """One of its two methods."""
    import pandas as pd
    import torch
    from carla import recourse_methods
    from carla.data.api import Data
    from carla.models.api import MLModel

    logging.disable(logging.CRITICAL)
    np.random.seed(problem.seed)  # noqa: NPY002, the library draws from the global state
    names = np.array([f"c{index}" for index in range(problem.x.shape[1])])
    network = _network(problem, torch)

    def frame(rows: np.ndarray) -> Any:
        return pd.DataFrame(rows.astype(float), columns=list(names))

    class Rows(Data):
        """The training rows."""

        encoder = _Encoder()
        categorical: ClassVar = list(names[problem.is_binary])
        continuous: ClassVar = list(names[~problem.is_binary])
        immutables: ClassVar = list(names[~problem.mutable])
        target = _TARGET
        df = df_train = df_test = frame(problem.x_train).assign(y=problem.y_train)

        def transform(self, df: Any) -> Any:
            return df

        def inverse_transform(self, df: Any) -> Any:
            return df

    class Network(MLModel):
        """The classifier."""

        feature_input_order: ClassVar = list(names)
        backend = "pytorch"
        raw_model = network

        def predict(self, x: Any) -> np.ndarray:
            return self.predict_proba(x)[:, [1]]

        def predict_proba(self, x: Any) -> np.ndarray:
            rows = x[names].to_numpy() if isinstance(x, pd.DataFrame) else np.asarray(x)
            return problem.probabilities(rows)

    model = Network(Rows())
    if problem.method == "Wachter":
        method = recourse_methods.Wachter(model, {"loss_type": "BCE", "binary_cat_features": True})
    else:
        method = recourse_methods.GrowingSpheres(model)

    def solve(x: np.ndarray) -> np.ndarray:
        rows = method.get_counterfactuals(frame(x))[names].to_numpy(float)
        same = np.abs(rows - x) <= np.spacing(np.float32(1))
        return np.where(same, x, rows)[None]

    return solve


def _network(problem: protocol.Problem, torch: Any) -> Any:
    """The classifier in PyTorch, with the probabilities of refusal and acceptance."""
    weight, bias = problem.layers[-1]
    last = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([np.zeros_like(bias), bias])
    layers: list = []
    for weight, bias in [*problem.layers[:-1], last]:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(dim=1))


if __name__ == "__main__":
    protocol.answer(prepare, batched=False)
