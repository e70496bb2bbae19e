"""Models of many kinds for the mortgage data, made by their own libraries, with the decision that they stand for."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from hare_jax import models
from hare_jax.data import sources, table

SEED = 0
GRADES = ("A", "B", "C")


class Case(NamedTuple):
    """A model, how it is wrapped, and its own decision."""

    model: Any
    options: dict[str, Any]
    accepts: Callable[[Any], np.ndarray]  # decoded rows -> (n,) bool
    uses_gradients: bool = False


class Data(NamedTuple):
    """The mortgage data: rows in original units, their labels, and the table."""

    frame: Any
    labels: np.ndarray  # "approved" or "refused"
    grades: np.ndarray  # one of GRADES
    scores: np.ndarray  # numbers
    table: table.Table
    x: np.ndarray  # (n, d), with the labels of y
    y: np.ndarray
    layers: list  # of a trained perceptron, from which the networks of each library are made


def mortgage() -> Data:
    train, test = sources.read("mortgage")
    schema = dict(sources.SOURCES["mortgage"].schema)
    train, test = (rows.assign(loan=np.where(rows["approve"] == 1, "approved", "refused")) for rows in (train, test))
    made = table.from_frame(train, schema | {"target": "loan", "positive": "approved"}, test=test)
    frame = train[list(schema["features"])]
    noise = np.random.default_rng(SEED).normal(0, 0.5, len(frame))
    scores = 2 * train["approve"] - train["obrat"] / 20 - train["mortg"] / 2 + noise
    grades = np.array(GRADES)[np.searchsorted(np.quantile(-scores, [1 / 3, 2 / 3]), -scores)]
    labels = np.asarray(train["loan"].to_numpy(), dtype=str)
    x, y = np.asarray(made.x_train), np.asarray(made.y_train)
    return Data(frame, labels, grades, scores.to_numpy(), made, x, y, _layers(made))


def _layers(made: table.Table) -> list:
    training = models.balanced(made.y_train, models.Training(hidden=(10, 5)))
    params = jax.jit(models.fit)(training, jax.random.key(1), made.x_train, made.y_train)
    return [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in models.to_layers(params)]


def _pipeline(data: Data, last: Any) -> Any:
    """`last` after a preparation of the text columns, for rows in original units."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    text = [column for column in data.frame if data.frame[column].dtype.kind not in "if"]
    numbers = [column for column in data.frame if column not in text]
    return make_pipeline(make_column_transformer((OneHotEncoder(), text), (StandardScaler(), numbers)), last)


def _on_frame(model: Any, wanted: Any = "approved", threshold: float | None = None, **options: Any) -> Case:
    """A classifier of rows in original units."""
    return Case(model, {"wanted": wanted, "threshold": threshold} | options, _own_decision(model, wanted, threshold))


def _on_encoded(data: Data, model: Any, wanted: Any = None, threshold: float | None = None) -> Case:
    """A classifier of encoded rows."""
    decide = _own_decision(model, 1 if wanted is None else wanted, threshold)
    options = {"wanted": wanted, "threshold": threshold}
    return Case(model, options, lambda frame: decide(np.asarray(data.table.encode(frame))))


def _own_decision(model: Any, wanted: Any, threshold: float | None) -> Callable:
    chosen = list(wanted) if isinstance(wanted, set) else [wanted]

    def decide(rows: Any) -> np.ndarray:
        if threshold is None:
            return np.isin(np.asarray(model.predict(rows)).reshape(-1), chosen)
        return model.predict_proba(rows)[:, np.isin(model.classes_, chosen)].sum(axis=1) >= threshold

    return decide


def string_labels(data: Data) -> Case:
    """Column 1 of its probabilities is the class that nobody wants."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    return _on_frame(_pipeline(data, model).fit(data.frame, data.labels))


def threshold(data: Data) -> Case:
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(n_estimators=30, random_state=SEED).fit(data.x, data.y.astype(int))
    return _on_encoded(data, model, threshold=0.8)


def three_classes(data: Data) -> Case:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(n_estimators=30, max_depth=6, random_state=SEED).fit(data.x, data.grades)
    return _on_encoded(data, model, wanted={"A", "B"})


def three_classes_threshold(data: Data) -> Case:
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(n_estimators=20, random_state=SEED)
    return _on_frame(_ordinal(data, model).fit(data.frame, data.grades), wanted={"A", "B"}, threshold=0.7)


def _ordinal(data: Data, last: Any) -> Any:
    """`last` after a preparation of the text columns as numbers."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    text = [column for column in data.frame if data.frame[column].dtype.kind not in "if"]
    return make_pipeline(make_column_transformer((OrdinalEncoder(), text), remainder="passthrough"), last)


def numeric_target(data: Data) -> Case:
    from sklearn.ensemble import GradientBoostingRegressor

    model = _ordinal(data, GradientBoostingRegressor(n_estimators=30, random_state=SEED)).fit(data.frame, data.scores)
    return Case(model, {"wanted": ">= 0.25"}, lambda frame: model.predict(frame) >= 0.25)


def numeric_range(data: Data) -> Case:
    from sklearn.linear_model import Ridge

    model = _pipeline(data, Ridge()).fit(data.frame, data.scores)
    return Case(model, {"wanted": (0.0, 1.0)}, lambda frame: abs(model.predict(frame) - 0.5) <= 0.5)


def calibrated(data: Data) -> Case:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import LinearSVC

    model = CalibratedClassifierCV(_pipeline(data, LinearSVC(random_state=SEED)), cv=3).fit(data.frame, data.labels)
    return _on_frame(model, threshold=0.85)


def raw_text(data: Data) -> Case:
    from sklearn.ensemble import GradientBoostingClassifier

    model = _ordinal(data, GradientBoostingClassifier(n_estimators=30, random_state=SEED))
    weight = np.where(data.y > 0, 1 - data.y.mean(), data.y.mean())
    return _on_frame(model.fit(data.frame, data.labels, gradientboostingclassifier__sample_weight=weight))


def support_vectors(data: Data) -> Case:
    """The probabilities contradict the predictions: the decision function has to be asked."""
    from sklearn.svm import SVC

    model = _pipeline(data, SVC(class_weight="balanced")).fit(data.frame, data.labels)
    return _on_frame(model)


def neighbours(data: Data) -> Case:
    """Ties of two neighbours against two."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(4).fit(data.x, data.y.astype(int))
    return _on_encoded(data, model)


def predicts_only(data: Data) -> Case:
    from sklearn.neighbors import NearestCentroid

    class Centroids(NearestCentroid):
        predict_proba = decision_function = property()

    return _on_encoded(data, Centroids().fit(data.x, data.labels), wanted="approved")


def xgboost(data: Data) -> Case:
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=30, max_depth=4, n_jobs=1, scale_pos_weight=0.15)
    return _on_encoded(data, model.fit(data.x, data.y.astype(int)))


def xgboost_native(data: Data) -> Case:
    from xgboost import DMatrix, train

    params = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1}
    model = train(params, DMatrix(data.x, data.y), 30)

    def accepts(frame: Any) -> np.ndarray:
        return model.predict(DMatrix(np.asarray(data.table.encode(frame)))) >= 0.8

    return Case(model, {"threshold": 0.8, "inputs": "encoded"}, accepts)


def lightgbm(data: Data) -> Case:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(n_estimators=30, n_jobs=1, verbose=-1, class_weight="balanced")
    return _on_frame(_ordinal(data, model).set_output(transform="pandas").fit(data.frame, data.labels))


def lightgbm_native(data: Data) -> Case:
    from lightgbm import Dataset, train

    model = train({"objective": "binary", "num_threads": 1, "verbose": -1}, Dataset(data.x, data.y), 30)

    def accepts(frame: Any) -> np.ndarray:
        return model.predict(np.asarray(data.table.encode(frame))) >= 0.8

    return Case(model, {"threshold": 0.8, "inputs": "encoded"}, accepts)


def _of_rows(data: Data, model: Any, logits: Callable, **options: Any) -> Case:
    """A network, whose `logits` (n,) are of encoded rows (n, d)."""
    return Case(
        model, options, lambda frame: np.asarray(logits(data.table.encode(frame))).reshape(len(frame)) >= 0, True
    )


def torch(data: Data) -> Case:
    import torch
    from torch import nn

    layers: list[Any] = []
    for weight, bias in data.layers:
        layer = nn.Linear(*weight.shape[::-1])
        layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).eval()
    return _of_rows(data, model, lambda x: model(torch.tensor(np.asarray(x))).detach().numpy())


def linen(data: Data) -> Case:
    from flax import linen as nn

    model = nn.Sequential([nn.Dense(10), nn.relu, nn.Dense(5), nn.relu, nn.Dense(1)])
    params = {f"layers_{2 * i}": {"kernel": weight.T, "bias": bias} for i, (weight, bias) in enumerate(data.layers)}
    return _of_rows(data, model, lambda x: model.apply({"params": params}, x), params=params)


def nnx(data: Data) -> Case:
    from flax import nnx

    layers: list[Any] = []
    for weight, bias in data.layers:
        layer = nnx.Linear(*weight.shape[::-1], rngs=nnx.Rngs(0))
        layer.kernel[...], layer.bias[...] = jax.numpy.array(weight.T), jax.numpy.array(bias)
        layers += [layer, nnx.relu]
    model = nnx.Sequential(*layers[:-1])
    return _of_rows(data, model, model)


def equinox(data: Data) -> Case:
    import equinox

    layers: list[Any] = []
    for weight, bias in data.layers:
        layer = equinox.nn.Linear(*weight.shape[::-1], key=jax.random.key(0))
        layer = equinox.tree_at(lambda one: (one.weight, one.bias), layer, (weight, bias))
        layers += [layer, equinox.nn.Lambda(jax.nn.relu)]
    model = equinox.nn.Sequential(layers[:-1])
    return _of_rows(data, model, jax.vmap(model))


def function(data: Data) -> Case:
    """Probabilities of two classes, the wanted one first, and a threshold."""
    params = models.from_layers(data.layers)

    def probabilities(x: jax.Array) -> jax.Array:
        return jax.nn.softmax(jax.numpy.stack([models.logit(params, x), jax.numpy.zeros((), x.dtype)]))

    def accepts(frame: Any) -> np.ndarray:
        return np.asarray(jax.vmap(probabilities)(data.table.encode(frame)))[:, 0] >= 0.6

    options = {"classes": ("approved", "refused"), "outputs": "probability", "threshold": 0.6}
    return Case(probabilities, options, accepts, uses_gradients=True)


BLACK_BOXES = {
    "string labels": string_labels,
    "threshold 0.8": threshold,
    "three classes": three_classes,
    "three classes, threshold": three_classes_threshold,
    "numeric target": numeric_target,
    "numeric range": numeric_range,
    "calibrated": calibrated,
    "raw text": raw_text,
    "support vectors": support_vectors,
    "neighbours": neighbours,
    "predicts only": predicts_only,
    "xgboost": xgboost,
    "xgboost, native": xgboost_native,
    "lightgbm": lightgbm,
    "lightgbm, native": lightgbm_native,
}
NETWORKS = {"torch": torch, "linen": linen, "nnx": nnx, "equinox": equinox, "function": function}
ZOO = BLACK_BOXES | NETWORKS
