"""Estimators of scikit-learn whose probabilities, names or classes are easily misread."""

import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from hare_jax import models
from hare_jax.data import from_frame

ensemble = pytest.importorskip("sklearn.ensemble")
linear_model = pytest.importorskip("sklearn.linear_model")
model_selection = pytest.importorskip("sklearn.model_selection")
pipeline = pytest.importorskip("sklearn.pipeline")
preprocessing = pytest.importorskip("sklearn.preprocessing")
svm = pytest.importorskip("sklearn.svm")

NUM = 300


def draw(names=("a", "b", "c")):
    """Three numbers of different scales, and labels that follow two of them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(NUM, 3)) * [1, 10, 100], columns=list(names))
    score = frame[names[0]] + frame[names[1]] / 10 + rng.normal(0, 0.5, NUM)
    return frame.assign(paid=np.where(score > 0, "yes", "no"))


def table_of(frame, order=None):
    names = [name for name in frame.columns if name != "paid"]
    features = {name: {"type": "continuous"} for name in order or names}
    return from_frame(frame, {"target": "paid", "positive": "yes", "features": features}, test=frame)


def agrees(logit_fn, model, table, rows, names):
    decided = np.asarray(jax.vmap(logit_fn)(rows)) >= 0
    return np.array_equal(decided, model.predict(table.decode(rows)[names]) == "yes")


@pytest.mark.parametrize("kind", ["fixed threshold", "support vectors"])
def test_predictions_that_do_not_follow_from_the_probabilities(kind):
    frame = draw()
    names, table = ["a", "b", "c"], table_of(frame)
    if kind == "fixed threshold":
        inner = ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0)
        model = model_selection.FixedThresholdClassifier(inner, threshold=0.8, pos_label="yes")
    else:
        model = pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC(C=3, random_state=0))
    model.fit(frame[names], frame["paid"])
    rows = np.random.default_rng(1).random((400, 3)).astype("float32")
    assert agrees(models.wrap(model, table), model, table, rows, names)


@pytest.mark.parametrize("names", [("f0", "f1", "f2"), ("0", "1", "2")])
def test_names_that_are_numbers_are_names(names):
    frame = draw(names)
    table = table_of(frame, order=names[::-1])
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
    model.fit(frame[list(names)], frame["paid"])
    assert agrees(models.wrap(model, table), model, table, np.asarray(table.x_train), list(names))


def test_names_with_spaces_are_those_of_lightgbm():
    lightgbm = pytest.importorskip("lightgbm")
    names = ("mean radius", "mean area", "c")
    frame = draw(names)
    table = table_of(frame, order=names[::-1])
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(frame[list(names)], frame["paid"])
    assert agrees(models.wrap(model, table), model, table, np.asarray(table.x_train), list(names))


def test_one_of_three_classes_has_to_be_named():
    frame = draw()
    table = from_frame(
        frame.assign(paid=(frame["paid"] == "yes").astype(int)),
        {"target": "paid", "features": {name: {"type": "continuous"} for name in "abc"}},
        test=frame.assign(paid=(frame["paid"] == "yes").astype(int)),
    )
    model = linear_model.LogisticRegression().fit(frame[["a", "b", "c"]], np.arange(NUM) % 3)
    with pytest.raises(ValueError, match=r"wanted: must name one of the classes \[0, 1, 2\]; got None"):
        models.wrap(model, table)


def test_decoded_rows_are_in_the_order_of_the_schema():
    frame = draw().assign(city=np.where(np.arange(NUM) % 2, "x", "y"))
    features = {"city": {"type": "categorical"}, **{name: {"type": "continuous"} for name in "cab"}}
    table = from_frame(frame, {"target": "paid", "positive": "yes", "features": features})
    assert list(table.decode(table.x_train[:2])) == ["city", "c", "a", "b"]


@pytest.mark.parametrize("part", [nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.BatchNorm(3, rngs=nnx.Rngs(0))])
def test_an_nnx_module_in_training_mode_is_an_error(part):
    model = nnx.Sequential(part, nnx.Linear(3, 1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"model: must be in evaluation mode: call model.eval\(\); got \['"):
        models.wrap(model, table_of(draw()))
    model.eval()
    with pytest.warns(UserWarning, match="no better than chance"):  # it is not trained
        models.wrap(model, table_of(draw()), wanted=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: models.wrap(lambda f: np.ones(5), t, inputs="frame"), "must give an answer for each of 300 rows"),
        (
            lambda t: models.wrap(lambda f: f["a"], t, inputs="frame", outputs="value", wanted=">= ."),
            "wanted: must be a",
        ),
        (lambda t: models.accuracy({"layer_0": 1}, t.x_train, t.y_train), "logit_fn: must be a classifier"),
    ],
)
def test_wrong_uses_are_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call(table_of(draw()))
