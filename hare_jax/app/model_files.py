"""Models from files, for `models.wrap`: XGBoost's, LightGBM's and ONNX's own formats, and pickles on request.

The packages are imported when a file of their kind is read.
"""

import dataclasses
import importlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.base import require
from hare_jax.data import Table

PICKLES = (".pkl", ".pickle", ".joblib")
_RULE = "must be a file of XGBoost (.json, .ubj), LightGBM (.txt) or ONNX (.onnx), or a pickle (.pkl, .joblib)"
_NUM_OUTPUTS = 2  # of an ONNX classifier: labels, probabilities


def load_model(path: str | Path, *, allow_pickle: bool = False, table: Table | None = None) -> Any:
    """The model in a file, by its suffix: an argument of `models.wrap`.

    `.json`, `.ubj`: a booster or an estimator that XGBoost has saved. `.txt`: a booster of LightGBM. `.onnx`: a
    classifier with the outputs labels and probabilities, as skl2onnx and onnxmltools write it, run by onnxruntime.
    `.pkl`, `.pickle`, `.joblib`: only with `allow_pickle`, since reading a pickle runs code that is in the file.

    With the `table` that the model is for, an ONNX classifier is asked about a row, which tells its classes.

    Raises:
        ValueError: another suffix, a pickle without `allow_pickle`, or a file that cannot be read as its suffix says.
        ImportError: the package of the format is not installed.
        OSError: there is no such file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    require(suffix in _READERS or suffix in PICKLES, "model", _RULE, str(path))
    if not path.is_file():
        raise FileNotFoundError(f"model: must be a file; got {str(path)!r}")
    rule = "must be allowed by allow_pickle (--allow-pickle), as reading a pickle runs code that is in the file"
    require(suffix in _READERS or allow_pickle, "model", rule, str(path))
    try:
        model = _READERS.get(suffix, _read_pickle)(path)
        if isinstance(model, OnnxModel) and table is not None:
            model.learn_classes(table)
        return model
    except (ImportError, OSError):
        raise
    except Exception as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"model: must be readable as a {suffix} file; got {found}") from error


def inputs_for(model: Any, table: Table) -> Callable | None:
    """The `inputs` of `models.wrap` for a model of a file.

    A booster that was trained on a DataFrame takes categories in text as pandas' categories; None for other models.
    """
    names = getattr(model, "feature_names", None) or getattr(model, "feature_name", list)()
    known = {str(name).replace("_", " ") for name in names}
    named = known == {feature.name.replace("_", " ") for feature in table.features}
    texts = [feature for feature in table.features if any(isinstance(one, str) for one in feature.categories)]
    is_booster = type(model).__name__ == "Booster"
    return Categories(tuple((one.name, one.categories) for one in texts)) if is_booster and named and texts else None


@dataclasses.dataclass(frozen=True)
class Categories:
    """A function of a DataFrame: its columns of categories in text, in pandas' dtype for categories."""

    columns: tuple[tuple[str, tuple[Any, ...]], ...]  # name, categories

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` with these columns converted."""
        dtypes = {name: pd.CategoricalDtype(sorted(categories, key=str)) for name, categories in self.columns}
        return frame.astype({name: dtype for name, dtype in dtypes.items() if name in frame})


class OnnxModel:
    """A classifier of onnxruntime with the methods of scikit-learn: of an array, or of a DataFrame by its columns."""

    def __init__(self, session: Any) -> None:
        inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
        require(len(outputs) == _NUM_OUTPUTS, "model", "must have the outputs labels and probabilities", outputs)
        self.session, self.inputs = session, inputs
        if len(inputs) > 1:
            self.feature_names_in_ = np.array([one.name for one in inputs])
            self.n_features_in_ = len(inputs)
        elif isinstance(inputs[0].shape[-1], int):
            self.n_features_in_ = inputs[0].shape[-1]

    def predict(self, rows: Any) -> np.ndarray:
        """Labels (n,)."""
        return np.asarray(self._run(rows)[0]).reshape(-1)

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Probabilities (n, k), in the order of `classes_`."""
        given = self._run(rows)[1]
        if isinstance(given, list):
            return np.array([list(row.values()) for row in given])
        return np.asarray(given)

    def learn_classes(self, table: Table) -> None:
        """Set `classes_` to the names of the classes, where the probabilities are dicts by class."""
        if self.session.get_outputs()[1].type.startswith("seq(map"):
            x = table.x_train[:1]
            encoded = getattr(self, "n_features_in_", 0) == x.shape[1] and len(self.inputs) == 1
            self.classes_ = np.array(list(self._run(np.asarray(x) if encoded else table.decode(x))[1][0]))

    def _run(self, rows: Any) -> list[Any]:
        """The outputs for a DataFrame by the names of its columns, or for an array (n, d)."""
        if len(self.inputs) == 1:
            return self.session.run(None, {self.inputs[0].name: _as_numbers(self.inputs[0], np.asarray(rows))})
        columns = {one.name: _as_numbers(one, rows[one.name].to_numpy()[:, None]) for one in self.inputs}
        return self.session.run(None, columns)


def _as_numbers(given: Any, values: np.ndarray) -> np.ndarray:
    """`values` in the type of an input of a session."""
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    return values.astype(str).astype(object) if "string" in given.type else values.astype(kinds.get(given.type, float))


def _read_xgboost(path: Path) -> Any:
    return _package("xgboost", path).Booster(model_file=str(path))


def _read_lightgbm(path: Path) -> Any:
    return _package("lightgbm", path).Booster(model_file=str(path))


def _read_onnx(path: Path) -> OnnxModel:
    return OnnxModel(_package("onnxruntime", path).InferenceSession(str(path), providers=["CPUExecutionProvider"]))


def _read_pickle(path: Path) -> Any:
    if path.suffix.lower() == ".joblib":
        return _package("joblib", path).load(path)
    with path.open("rb") as file:
        return pickle.load(file)


def _package(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = "pip install 'hare-jax[onnx]'" if name == "onnxruntime" else f"pip install {name}"
        raise ImportError(f"model: {path.name} needs the {name} package: {extra}") from error


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _read_xgboost,
    ".ubj": _read_xgboost,
    ".txt": _read_lightgbm,
    ".onnx": _read_onnx,
}
