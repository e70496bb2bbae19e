"""Drives CARLA's Wachter and growing spheres. Two-level categories are its binary columns; it has no steps.

"Wachter MSE" is Wachter with its other loss, towards a logit of 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_MSE = {"loss_type": "MSE", "y_target": [1.0]}


def prepare(problem: protocol.Problem) -> Callable[[np.ndarray], np.ndarray]:
    """One of its two methods."""
    import pandas as pd
    from carla.recourse_methods import GrowingSpheres, Wachter

    names = [f"c{index}" for index in range(problem.x.shape[1])]
    np.random.seed(problem.seed)  # noqa: NPY002 - it draws from NumPy's global generator
    model = _classifier(problem, names)
    if problem.method == "GrowingSpheres":
        method = GrowingSpheres(model)
    else:
        method = Wachter(model, _MSE if problem.method.endswith("MSE") else {})

    def solve(x: np.ndarray) -> np.ndarray:
        found = method.get_counterfactuals(pd.DataFrame(x.astype(float), columns=names))
        return found[names].to_numpy(float)[None]

    return solve


def _classifier(problem: protocol.Problem, names: list) -> Any:
    """The classifier as a model of CARLA, and the columns as its data."""
    import torch
    from carla.data.api import Data
    from carla.models.api import MLModel

    def chosen(columns: np.ndarray) -> list:
        return [names[index] for index in np.flatnonzero(columns)]

    class Rows(Data):
        categorical, continuous = chosen(problem.is_binary), chosen(~problem.is_binary)
        immutables, target = chosen(~problem.mutable), "y"
        df = df_train = df_test = None

        @property
        def encoder(self) -> Any:
            return self

        def get_feature_names(self, categorical: list) -> list:
            return categorical

        def transform(self, df: Any) -> Any:
            return df

        inverse_transform = transform

    class Classifier(MLModel):
        feature_input_order, backend, raw_model = names, "pytorch", _network(problem, torch)

        def predict_proba(self, x: Any) -> np.ndarray:
            return problem.probabilities(np.asarray(x, float))

        def predict(self, x: Any) -> np.ndarray:
            return self.predict_proba(x)[:, 1]

    return Classifier(Rows())


def _network(problem: protocol.Problem, torch: Any) -> Any:
    """The classifier in PyTorch, with the probabilities of refusal and acceptance."""
    layers: list = []
    for kernel, shift in problem.softmax_layers:
        layer = torch.nn.Linear(kernel.shape[1], kernel.shape[0])
        layer.weight.data, layer.bias.data = torch.tensor(kernel), torch.tensor(shift)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(dim=1))


if __name__ == "__main__":
    protocol.answer(prepare, batched=False)
