"""Drives alibi's counterfactuals. Immutable columns, bounds and directions are the feature range of each factual.

Two-level categories are numbers between 0 and 1, as a range does not apply to alibi's categories. The weight of the
prototype, whose default is 0, is that of the tabular examples in its documentation.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import protocol

_PROTOTYPE_WEIGHT = 10.0


def prepare(problem: protocol.Problem) -> Callable[[np.ndarray], np.ndarray]:
    """One of its two methods; the graph is made anew for each factual, as the range is a part of it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    from alibi import explainers

    tf.compat.v1.disable_v2_behavior()

    def solve(x: np.ndarray) -> np.ndarray:
        tf.keras.backend.clear_session()
        lower = np.where(problem.mutable & (problem.direction <= 0), np.minimum(problem.lower, x), x)
        upper = np.where(problem.mutable & (problem.direction >= 0), np.maximum(problem.upper, x), x)
        model, ends = _network(problem, tf), (lower.astype(np.float32), upper.astype(np.float32))
        if problem.method == "CounterfactualProto":
            explainer = explainers.CounterfactualProto(
                model, x.shape, use_kdtree=True, theta=_PROTOTYPE_WEIGHT, feature_range=ends
            )
            explainer.fit(problem.x_train)
        else:
            explainer = explainers.Counterfactual(model, x.shape, feature_range=ends)
        found = explainer.explain(x).cf
        return np.full((1, *x.shape), np.nan) if found is None else np.reshape(found["X"], (1, *x.shape))

    return solve


def _network(problem: protocol.Problem, tf: Any) -> Any:
    """The classifier in Keras, with the probabilities of refusal and acceptance."""
    model = tf.keras.Sequential([tf.keras.Input(shape=(problem.x.shape[1],))])
    layers = problem.softmax_layers
    for index, (kernel, shift) in enumerate(layers, start=1):
        layer = tf.keras.layers.Dense(len(shift), activation="relu" if index < len(layers) else "softmax")
        model.add(layer)
        layer.set_weights([kernel.T, shift])
    return model


if __name__ == "__main__":
    protocol.answer(prepare, batched=False)
