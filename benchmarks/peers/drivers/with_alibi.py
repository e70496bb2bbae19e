"""Drives alibi: its counterfactuals by Wachter's loss, and those guided by prototypes of a k-d tree.

Both know the ranges of the columns, but neither immutable columns nor directions. The first ends where the probability
is within 0.05 of 0.55, not of 1 as by default, so that it may stop at the boundary.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import protocol

_TARGET = 0.55
_TOLERANCE = 0.05


def prepare(problem: protocol.Problem) -> Callable[[np.ndarray], np.ndarray]:
    """One of its two methods."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.compat.v1.disable_v2_behavior()  # both methods build graphs
    from alibi.explainers import Counterfactual, CounterfactualProto

    model = _network(problem, tf)
    shape = (1, problem.x.shape[1])
    ranges = problem.lower[None, :].astype(np.float32), problem.upper[None, :].astype(np.float32)
    if problem.method == "Counterfactual":
        explainer = Counterfactual(
            model, shape=shape, target_class=1, target_proba=_TARGET, tol=_TOLERANCE, feature_range=ranges
        )
        options: dict = {}
    else:
        explainer = CounterfactualProto(model, shape, use_kdtree=True, theta=10.0, feature_range=ranges)
        explainer.fit(problem.x_train)
        options = {"target_class": [1]}

    def solve(x: np.ndarray) -> np.ndarray:
        found = explainer.explain(x.astype(np.float32), **options).cf
        return np.full((1, 1, x.shape[1]), np.nan) if found is None else np.asarray(found["X"])[None]

    return solve


def _network(problem: protocol.Problem, tf: Any) -> Any:
    """The classifier in Keras, with the probabilities of refusal and acceptance."""
    model = tf.keras.Sequential()
    weight, bias = problem.layers[-1]
    last = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([np.zeros_like(bias), bias])
    layers = [*problem.layers[:-1], last]
    for index, (weight, bias) in enumerate(layers):
        size = {"input_shape": (weight.shape[1],)} if index == 0 else {}
        activation = "softmax" if index == len(layers) - 1 else "relu"
        model.add(tf.keras.layers.Dense(len(bias), activation=activation, **size))
    model.set_weights([part for weight, bias in layers for part in (weight.T, bias)])
    return model


if __name__ == "__main__":
    protocol.answer(prepare, batched=False)
