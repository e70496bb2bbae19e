"""Drives ReLax, all factuals in one `vmap`. Two-level categories are its one-hot features; it has no steps.

As in its `generate_cf_explanations`, the target of a factual with the probability p of acceptance is 1 - p; it is 1 for
a method named "... to 1".
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import protocol

_ROUNDING = 1e-6  # of the two changes of units
_TRAINED = ("ProtoCF", "CCHVAE", "CLUE")  # methods that fit an autoencoder
_TO_ONE = " to 1"  # ends the name of a method whose target is 1


def prepare(problem: protocol.Problem) -> Callable[[np.ndarray], np.ndarray]:
    """One of its methods."""
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import jax.numpy as jnp
    from relax import data_module, explain, methods
    from relax.data_utils import Feature, FeaturesList

    continuous, binary = np.flatnonzero(~problem.is_binary), np.flatnonzero(problem.is_binary)
    order = [*continuous, *binary]

    def features(rows: np.ndarray) -> FeaturesList:
        """The columns as ReLax's features: min-max over [0, 1], or one-hot; the last two rows show it the ranges."""
        ends = np.stack([problem.lower, problem.upper]).astype(np.float32)
        return FeaturesList(
            [
                Feature(
                    name=f"c{index}",
                    data=np.concatenate([rows, ends])[:, [index]],
                    transformation="ohe" if problem.is_binary[index] else "minmax",
                    is_immutable=bool(not problem.mutable[index]),
                )
                for index in order
            ]
        )

    labels = np.concatenate([problem.y_train, [0, 1]]).reshape(-1, 1)
    label = FeaturesList([Feature(name="y", data=labels, transformation="identity")])
    module = data_module.DataModule.from_features(features(problem.x_train), label, name="rows")
    num = len(continuous)
    span = (problem.upper - problem.lower)[continuous]
    low = problem.lower[continuous]

    def decode(encoded: jnp.ndarray) -> jnp.ndarray:
        """Rows (..., d) of ReLax's encoding."""
        levels = encoded[..., num + 1 :: 2]
        rows = jnp.concatenate([encoded[..., :num] * span + low, levels], axis=-1)
        return rows[..., np.argsort(order)]

    def encode(rows: np.ndarray) -> jnp.ndarray:
        level = rows[:, binary]
        pairs = np.stack([1 - level, level], axis=2).reshape(len(rows), -1)
        return jnp.asarray(np.concatenate([(rows[:, continuous] - low) / span, pairs], axis=1), jnp.float32)

    def pred_fn(encoded: jnp.ndarray) -> jnp.ndarray:
        hidden = decode(encoded)
        for weight, bias in problem.layers[:-1]:
            hidden = jax.nn.relu(hidden @ weight.T + bias)
        weight, bias = problem.layers[-1]
        accepted = jax.nn.sigmoid(hidden @ weight.T + bias)
        return jnp.concatenate([1 - accepted, accepted], axis=-1)

    name = problem.method.removesuffix(_TO_ONE)
    options = {"verbose": 0} if name in _TRAINED else None
    method = explain.prepare_cf_module(getattr(methods, name)(), module, pred_fn, options)
    keys = jax.random.split(jax.random.PRNGKey(problem.seed), len(problem.x))

    @jax.jit
    def all_rows(encoded: jnp.ndarray, keys: jnp.ndarray) -> jnp.ndarray:
        targets = 1 - (pred_fn(encoded) if name == problem.method else jnp.round(pred_fn(encoded)))
        return jax.vmap(lambda x, target, key: method.generate_cf(x, pred_fn=pred_fn, y_target=target, rng_key=key))(
            encoded, targets, keys
        )

    def solve(x: np.ndarray) -> np.ndarray:
        found = np.asarray(decode(all_rows(encode(x), keys)))
        found = found[:, None, :] if found.ndim == 2 else found
        same = np.abs(found - x[:, None, :]) <= _ROUNDING
        return np.where(same, x[:, None, :], found)

    return solve


if __name__ == "__main__":
    protocol.answer(prepare, batched=True)
