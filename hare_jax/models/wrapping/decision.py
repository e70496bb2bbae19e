"""Decisions: the outputs of a model for one row as a logit, which is at least 0 where the model decides as wanted.

Notation: `outputs` are (..., k): k probabilities, k scores (logits) or, with k = 1, the one of class 1 of two, or a
number. `xp` is the library that the outputs are arrays of: numpy, jax.numpy or torch, so that gradients pass.
"""

import dataclasses
from typing import Any, Protocol

import numpy as np

PROBABILITY, LOGIT, VALUE = "probability", "logit", "value"
OUTPUTS = (PROBABILITY, LOGIT, VALUE)

_LEAST_PROBABILITY = 1e-12  # keeps logarithms finite


class Decision(Protocol):
    """Whether a model decides as wanted: hashable."""

    def logit(self, xp: Any, outputs: Any) -> Any:
        """Logits (...) of outputs (..., k), differentiable by `xp`."""

    def accepts(self, outputs: np.ndarray) -> np.ndarray:
        """The model's own decision (...) bool, ties included."""


@dataclasses.dataclass(frozen=True)
class ByClass:
    """The class is among the wanted ones.

    Without a threshold it is the class of the highest output, the first one if several are equal, and the logit is
    `max log p` of the wanted classes less that of the others. With a threshold t, the wanted classes' total probability
    P is at least t, and the logit is `log(P / (1 - P)) - log(t / (1 - t))`.
    """

    outputs: str  # PROBABILITY or LOGIT
    inside: tuple[int, ...]  # the wanted classes
    outside: tuple[int, ...]  # the others
    threshold: float | None = None

    def logit(self, xp: Any, outputs: Any) -> Any:
        """Logits (...) of outputs (..., k)."""
        scores = _columns(xp, self.outputs, outputs)
        if self.outputs == PROBABILITY:
            scores = xp.log(xp.clip(scores, _LEAST_PROBABILITY, 1))
        if self.threshold is None:
            return _highest(xp, scores, self.inside) - _highest(xp, scores, self.outside)
        return (
            _log_sum_exp(xp, scores, self.inside) - _log_sum_exp(xp, scores, self.outside) - _log_odds(self.threshold)
        )

    def accepts(self, outputs: np.ndarray) -> np.ndarray:
        """The model's own decision (n,) for outputs (n, k)."""
        columns = _columns(np, self.outputs, outputs)
        if self.threshold is not None:
            everything = (*self.inside, *self.outside)
            p = (
                columns
                if self.outputs == PROBABILITY
                else np.exp(columns - _log_sum_exp(np, columns, everything)[:, None])
            )
            return sum(p[:, index] for index in self.inside) >= self.threshold
        inside, outside = _highest(np, columns, self.inside), _highest(np, columns, self.outside)
        accepted, tied = inside > outside, inside == outside
        accepted[tied] = np.isin(columns[tied].argmax(axis=1), self.inside)
        return accepted


@dataclasses.dataclass(frozen=True)
class ByValue:
    """A predicted number lies between two bounds, one of which may be infinite; the logit is its distance to them."""

    low: float
    high: float
    strict: bool = False  # the bounds themselves are not wanted
    scale: float = 1.0  # of the predictions, so that the margin of a recourse does not depend on their unit

    def logit(self, xp: Any, outputs: Any) -> Any:
        """Logits (...) of outputs (..., 1): `min(v - low, high - v) / scale`."""
        value = outputs[..., 0]
        if self.high == np.inf:
            return (value - self.low) / self.scale
        if self.low == -np.inf:
            return (self.high - value) / self.scale
        return xp.minimum(value - self.low, self.high - value) / self.scale

    def accepts(self, outputs: np.ndarray) -> np.ndarray:
        """Whether the number is within the bounds (...)."""
        value = outputs[..., 0]
        if self.strict:
            return (value > self.low) & (value < self.high)
        return (value >= self.low) & (value <= self.high)


def exact_logit(decision: Decision, outputs: np.ndarray, logits: np.ndarray | None = None) -> np.ndarray:
    """Logits (n,) of outputs (n, k), with exactly the sign of the model's own decision: rounding and ties change it."""
    logits = decision.logit(np, outputs) if logits is None else logits
    accepted = decision.accepts(outputs)
    return np.where(accepted, np.maximum(logits, 0), np.minimum(logits, -np.finfo(logits.dtype).tiny))


def _columns(xp: Any, kind: str, outputs: Any) -> Any:
    """A column for each class (..., max(k, 2)): that of class 0 is added where the outputs are of class 1 alone."""
    if outputs.shape[-1] > 1:
        return outputs
    last = outputs[..., 0]
    return xp.stack([1 - last if kind == PROBABILITY else xp.zeros_like(last), last], -1)


def _highest(xp: Any, scores: Any, chosen: tuple[int, ...]) -> Any:
    """The highest (...) of the `chosen` columns of scores (..., k)."""
    return scores[..., chosen[0]] if len(chosen) == 1 else xp.amax(scores[..., list(chosen)], -1)


def _log_sum_exp(xp: Any, scores: Any, chosen: tuple[int, ...]) -> Any:
    """`log sum exp` (...) of the `chosen` columns of scores (..., k)."""
    highest = _highest(xp, scores, chosen)
    if len(chosen) == 1:
        return highest
    return highest + xp.log(xp.exp(scores[..., list(chosen)] - highest[..., None]).sum(-1))


def _log_odds(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))
