"""Models on the host without gradients: scikit-learn, XGBoost, LightGBM, CatBoost, their native boosters, functions.

A model is asked by one of its methods. Without a threshold that is the first one of `predict_proba`,
`decision_function` and `predict` from which the model's own `predict` follows on the training rows: the probabilities
of a support vector machine, for example, contradict its predictions.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from hare_jax.base import require
from hare_jax.models import callback
from hare_jax.models.wrapping import trial
from hare_jax.models.wrapping.decision import LOGIT, PROBABILITY, VALUE, Decision, exact_logit
from hare_jax.models.wrapping.probe import near_boundary
from hare_jax.models.wrapping.rows import Encoded, Frame, Identity, TableLike, frame_of

_NAMES = {  # the attributes with the names of columns, and what numbers them if the model was trained on an array
    "feature_names_in_": "Column_",
    "feature_names_": "",
    "feature_names": "f",
    "feature_name": "Column_",
}
_METHODS = {"predict_proba": PROBABILITY, "decision_function": LOGIT, "predict": VALUE}
_BOOSTERS = {"xgboost.core": "inplace_predict", "lightgbm.basic": "predict"}  # module of a native booster -> method
_NUM_REPEATED = 64  # rows that are asked about twice


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class HostModel:
    """A model, what it is asked about, and its decision."""

    model: Identity
    method: str  # "" calls the model itself
    rows: Encoded | Frame
    decision: Decision
    classes: tuple[Any, ...]  # of a model that predicts classes only; empty otherwise
    label: str

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Logits (n,) of encoded rows (n, d)."""
        return self._logits(self.rows(rows), len(rows))

    @property
    def takes_frames(self) -> bool:
        """Whether the model is asked about rows in original units, and may see their missing values."""
        return isinstance(self.rows, Frame)

    def judge(self, frame: Any, rows: np.ndarray) -> np.ndarray:
        """Logits (n,) of a DataFrame of n rows in original units, whose encoding is `rows` (n, d)."""
        return self._logits(self.rows.given(frame, rows), len(rows))

    def _logits(self, given: Any, num: int) -> np.ndarray:
        outputs = ask(self.model.value, self.method, given, self.classes).reshape(num, -1)
        require(bool(np.isfinite(outputs).all()), self.method, "must give finite outputs", outputs[:2].tolist())
        return exact_logit(self.decision, outputs)


def ask(model: Any, method: str, rows: Any, classes: tuple[Any, ...] = ()) -> np.ndarray:
    """Outputs (n,) or (n, k) of a method; of predicted classes, 1 for the class and -1 for the others."""
    answer = np.asarray((getattr(model, method) if method else model)(rows))
    if classes:
        chosen = answer.reshape(-1, 1).astype(object) == np.array(classes, object)
        require(
            bool(chosen.any(axis=1).all()), "model", f"must predict one of its classes {classes}", answer[:3].tolist()
        )
        return np.where(chosen, 1.0, -1.0)
    return answer.astype(np.float64) if np.issubdtype(answer.dtype, np.number) else answer


class Asked(NamedTuple):
    """The outputs of a model for the training rows, and how it was asked."""

    method: str
    rows: Encoded | Frame
    outputs: np.ndarray  # (n,) or (n, k)
    kind: str  # PROBABILITY, LOGIT or VALUE
    classes: tuple[Any, ...] | None  # None where the model does not name them
    predicts_only: bool = False

    def bind(self, model: Any, decision: Decision, label: str) -> HostModel:
        """The model with a decision."""
        return HostModel(Identity(model), self.method, self.rows, decision, self.named, label)

    @property
    def named(self) -> tuple[Any, ...]:
        """The classes of a model whose predicted classes are its only outputs."""
        return self.classes if self.predicts_only and self.classes else ()


class Way(NamedTuple):
    """How a model is asked, as far as it is told."""

    inputs: str | Callable | None
    outputs: str | None
    kind: str  # of the outputs of a function or a native booster
    threshold: float | None


def consult(model: Any, table: TableLike, x: np.ndarray, y: np.ndarray, way: Way) -> Asked:
    """Ask `model` about encoded rows `x` (n, d) in each way that may be meant, and keep the one that works.

    If several kinds of rows work, it is the one whose decisions say most about the labels `y` (n,).

    Raises:
        ValueError: the model was trained on columns that the table does not have, raises an exception for every kind of
            rows, has no method for the wanted outputs, or gives other answers for the same rows in another order.
    """
    ask_fn = _asker(model, way, x)
    answers, failures = [], []
    for rows in candidates(model, table, way.inputs):
        try:
            answer = ask_fn(rows, rows(x))
            shape = answer.outputs.shape
            require(shape[:1] == x.shape[:1], "model", f"must give an answer for each of {len(x)} rows", shape)
            answers.append(answer)
        except Exception as error:
            failures.append(f"{type(rows).__name__.lower()} rows: {callback.quote(error)}")
    rule = "must take decoded rows as a DataFrame, or encoded rows; see inputs=..."
    require(len(answers) > 0, "model", rule, "; ".join(failures))
    best = max(answers, key=lambda answer: _information(answer, y))
    _check_pure(model, best, x)
    return best


def _check_pure(model: Any, asked: Asked, x: np.ndarray) -> None:
    """Raise a `ValueError` if the first rows get other answers on their own, in reverse order."""
    if asked.outputs.dtype.kind not in "fiub":
        return
    some = x[:_NUM_REPEATED]
    again = ask(model, asked.method, asked.rows(some[::-1]), asked.named)[::-1]
    same = np.allclose(again, asked.outputs[: len(some)], rtol=1e-3, atol=1e-5, equal_nan=True)
    require(same, "model", "must give the same answer for a row each time, whatever the other rows", "other answers")


def _information(asked: Asked, y: np.ndarray) -> float:
    """How far the balanced accuracy of the last class against the labels `y` (n,) is from chance."""
    if asked.kind == VALUE or asked.outputs.dtype.kind not in "fiub":
        return 0.0
    return abs(trial.balanced_agreement(_predicted(asked.outputs, asked.kind) > 0, y) - 1 / 2)


def _asker(model: Any, way: Way, x: np.ndarray) -> Callable[[Encoded | Frame, Any], Asked]:
    """How to ask `model`: a function of a kind of rows, and the rows themselves."""
    booster = _BOOSTERS.get(type(model).__module__)
    known = [name for name in _METHODS if hasattr(model, name)]
    if booster is not None or not known:
        return partial(_by_method, model, booster or "", way.kind, None)
    kind = way.outputs or (PROBABILITY if way.threshold is not None else None)
    fitting = [name for name in known if kind in (None, _METHODS[name])]
    require(len(fitting) > 0, "model", f"must have a method that gives a {kind}", known)
    classes = _classes(model) if hasattr(model, "classes_") else None
    if kind is None and classes is not None:
        return partial(_as_predicted, model, classes, x)
    return partial(_by_method, model, fitting[0], _METHODS[fitting[0]], classes)


def _by_method(
    model: Any, method: str, kind: str, classes: tuple[Any, ...] | None, rows: Encoded | Frame, data: Any
) -> Asked:
    return Asked(method, rows, ask(model, method, data), kind, classes)


def _classes(model: Any) -> tuple[Any, ...]:
    classes = np.asarray(model.classes_)
    require(classes.ndim == 1 and len(classes) > 1, "model", "must have one target of two or more classes", classes)
    return tuple(classes.tolist())


def _as_predicted(model: Any, classes: tuple[Any, ...], x: np.ndarray, rows: Encoded | Frame, data: Any) -> Asked:
    """The first method from which the model's own predictions follow, for the rows `x` (n, d) and near its boundary."""
    names, predicted = np.array(classes), np.asarray(model.predict(data)).reshape(-1)
    for method in ("predict_proba", "decision_function"):
        if not hasattr(model, method):
            continue
        asked = Asked(method, rows, ask(model, method, data), _METHODS[method], classes)
        chosen = names[_predicted(asked.outputs, asked.kind)]
        if not np.array_equal(chosen, predicted):
            continue
        points = near_boundary(partial(_classes_of, model, asked, names), x, chosen)
        follows = _classes_of(model, asked, names, points) == np.asarray(model.predict(rows(points))).reshape(-1)
        if follows.all():
            return asked
    return Asked("predict", rows, ask(model, "predict", data, classes), LOGIT, classes, predicts_only=True)


def _classes_of(model: Any, asked: Asked, names: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The classes (n,) of points (n, d) by the outputs of `asked`."""
    return names[_predicted(ask(model, asked.method, asked.rows(points)), asked.kind)]


def _predicted(outputs: np.ndarray, kind: str) -> np.ndarray:
    """Index of the class with the highest output (n,)."""
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    return (outputs.reshape(-1) > (1 / 2 if kind == PROBABILITY else 0)).astype(int)


def candidates(model: Any, table: TableLike, inputs: str | Callable | None) -> list[Encoded | Frame]:
    """The kinds of rows that `model` may have been trained on: those of `inputs`, if they are told."""
    if callable(inputs):
        return [frame_of(table, prepare=inputs)]
    names = _names(model)
    if inputs == "encoded":
        return [Encoded(table.features) if names is None else _encoded_frame(table, names)]
    both = _unnamed(model, table) if names is None else _named(names, table)
    return [rows for rows in both if inputs is None or isinstance(rows, Frame)]


def _unnamed(model: Any, table: TableLike) -> list[Encoded | Frame]:
    """For a model of arrays, or one that does not tell: by their width."""
    num = getattr(model, "n_features_in_", None)
    frame = frame_of(table, as_array=num is not None)
    both: list[Encoded | Frame] = [Encoded(table.features), frame]
    widths = len(table.columns), len(table.features)
    return [rows for rows, width in zip(both, widths, strict=True) if num in (None, width)] or both


def _named(names: tuple[str, ...], table: TableLike) -> list[Encoded | Frame]:
    """For a model of DataFrames: by the names of their columns."""
    known = {feature.name.replace(" ", "_"): feature.name for feature in table.features}  # LightGBM replaces spaces
    names = tuple(known.get(name, name) for name in names)
    unknown = [name for name in names if name not in known.values()]
    found: list[Encoded | Frame] = [] if unknown else [frame_of(table, names)]
    if names == table.columns:
        found.append(_encoded_frame(table, names))
    require(len(found) > 0, "model", "was trained on columns that are no features of the table", unknown)
    return found


def _encoded_frame(table: TableLike, names: tuple[str, ...]) -> Encoded:
    return Encoded(table.features, names, type(table.decode(table.x_train[:1])))


def _names(model: Any) -> tuple[str, ...] | None:
    """Names of the columns that `model` was trained on, in their order; None if it was an array."""
    for attribute, prefix in _NAMES.items():
        names = getattr(model, attribute, None)
        names = names() if callable(names) else names
        if names is not None and len(names) > 0:
            texts = tuple(map(str, names))
            numbered = all(text.startswith(prefix) and text.removeprefix(prefix).isdigit() for text in texts)
            return None if numbered else texts
    return None
