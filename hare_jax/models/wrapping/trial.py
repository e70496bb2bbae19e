"""The trial of a wrapped model on training rows: its outputs, and its decisions against the table's labels."""

import warnings

import numpy as np

from hare_jax.base import choose, require
from hare_jax.models.wrapping.decision import LOGIT, OUTPUTS, PROBABILITY, ByClass
from hare_jax.models.wrapping.rows import TableLike
from hare_jax.models.wrapping.wanted import Wanted

MOST_ROWS = 2000
_ERRORS = 3.0  # standard errors below chance that are an error
_CLEARLY_WRONG = 0.4  # a balanced accuracy
_STACK_LEVEL = 3  # the line that calls `wrap`


def rows_of(table: TableLike) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST_ROWS` training rows (n, d) and their labels (n,), evenly spaced."""
    x, y = np.asarray(table.x_train), np.asarray(table.y_train)
    chosen = np.unique(np.linspace(0, len(x) - 1, MOST_ROWS).astype(int))
    return x[chosen], y[chosen]


def check_outputs(outputs: np.ndarray, num_rows: int, kind: str) -> np.ndarray:
    """Outputs (n, k) in float64, checked.

    Raises:
        ValueError: they are not of shape (n,) or (n, k), not numbers, not finite, no probabilities although declared as
            such, or probabilities although declared as logits.
    """
    choose("outputs", kind, OUTPUTS)
    right_shape = outputs.ndim in (1, 2) and len(outputs) == num_rows and outputs.size > 0
    require(right_shape, "model", f"must give outputs of shape (n,) or (n, k) for n = {num_rows} rows", outputs.shape)
    numeric = np.issubdtype(outputs.dtype, np.number) or outputs.dtype == bool
    require(numeric, "model", "must give numbers", outputs.dtype.name)
    outputs = outputs.reshape(num_rows, -1).astype(np.float64)
    wrong = outputs[~np.isfinite(outputs).all(axis=1)]
    require(len(wrong) == 0, "model", "must give finite outputs for the training rows", wrong[:2].tolist())
    probabilities = _are_probabilities(outputs)
    shown = outputs[:3].round(3).tolist()
    if kind == PROBABILITY:
        rule = 'must give probabilities, from 0 to 1 and of sum 1, or be declared with outputs="logit"'
        require(probabilities, "model", rule, shown)
    if kind == LOGIT:
        rule = 'gives only numbers from 0 to 1 as logits, which would refuse no row: declare outputs="probability"'
        require(not probabilities, "model", rule, shown)
    return outputs


def _are_probabilities(outputs: np.ndarray) -> bool:
    within = bool(((outputs >= 0) & (outputs <= 1)).all())
    return within and (outputs.shape[1] == 1 or bool(np.allclose(outputs.sum(axis=1), 1, atol=1e-3)))


def check_decisions(name: str, wanted: Wanted, outputs: np.ndarray, y: np.ndarray) -> None:
    """Compare the decisions for training rows, from `outputs` (n, k), with the labels `y` (n,), where they apply.

    Raises:
        ValueError: the model decides clearly against the labels.

    Warns:
        UserWarning: it accepts all rows or none, or decides no better than chance.
    """
    accepted, num = wanted.decision.accepts(outputs), len(outputs)
    message = ""
    if accepted.all() or not accepted.any():
        told = f"all {num} training rows" if accepted.any() else f"none of {num} training rows"
        message = f"{name} accepts {told} as {wanted.name!r}{_limits(wanted)}: {_range_of(wanted, outputs)}"
    elif wanted.labelled and 0 < y.sum() < len(y):
        message = _against_labels(name, wanted, accepted, y > 0)
    if message:
        warnings.warn(message, UserWarning, stacklevel=_STACK_LEVEL)


def _against_labels(name: str, wanted: Wanted, accepted: np.ndarray, positive: np.ndarray) -> str:
    """A warning if the decisions are no better than chance; an error if they are clearly worse."""
    sensitivity, specificity = accepted[positive].mean(), (~accepted[~positive]).mean()
    balanced = (sensitivity + specificity) / 2
    error = np.sqrt(1 / positive.sum() + 1 / (~positive).sum()) / 4
    figures = f"it accepts {sensitivity:.0%} of the favourable training rows and {1 - specificity:.0%} of the others"
    remedy = "ask for another class with wanted=..., name the model's classes in their order with classes=..."
    rule = f"decides against the table's labels as {wanted.name!r}: {remedy}, or correct inputs=..."
    require(balanced > min(_CLEARLY_WRONG, 0.5 - _ERRORS * error), "model", f"{name} {rule}", figures)
    return f"{name} agrees with the table's labels no better than chance: {figures}" if balanced <= 0.5 else ""


def _limits(wanted: Wanted) -> str:
    threshold = wanted.decision.threshold if isinstance(wanted.decision, ByClass) else None
    return "" if threshold is None else f" with threshold={threshold}"


def _range_of(wanted: Wanted, outputs: np.ndarray) -> str:
    logits = wanted.decision.logit(np, outputs)
    return f"its logits lie between {logits.min():.3g} and {logits.max():.3g}"


def balanced_agreement(accepted: np.ndarray, y: np.ndarray) -> float:
    """Balanced accuracy of decisions (n,) against labels (n,); 1/2 if the labels are all the same."""
    positive = y > 0
    if positive.all() or not positive.any():
        return 0.5
    return float(accepted[positive].mean() + (~accepted[~positive]).mean()) / 2
