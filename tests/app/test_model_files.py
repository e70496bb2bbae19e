import pickle
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest

from hare_jax import data, models
from hare_jax.app.model_files import Categories, OnnxModel, inputs_for, load_model

FEATURES = {"income": {"type": "continuous"}, "job": {"type": "categorical"}}
SCHEMA = {"target": "loan", "positive": "yes", "features": FEATURES}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"income": rng.normal(50, 10, 200).round(2), "job": rng.choice(["a", "b", "c"], 200)})
    return frame.assign(loan=np.where(frame.income + 8 * (frame.job == "a") > 52, "yes", "no"))


@pytest.fixture(scope="module")
def table(rows):
    return data.from_frame(rows, SCHEMA, test=rows)


def as_categories(rows):
    return rows[["income", "job"]].astype({"job": "category"})


def decisions(logit_fn, table):
    return np.asarray(jax.vmap(logit_fn)(table.x_test)) >= 0


def test_a_file_of_lightgbm_decides_as_the_model_does(rows, table, tmp_path):
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    params = {"objective": "binary", "num_threads": 1, "verbose": -1, "min_data_in_leaf": 5}
    model = lightgbm.train(params, lightgbm.Dataset(as_categories(rows), rows.loan == "yes"), 10)
    model.save_model(tmp_path / "model.txt")
    loaded = load_model(tmp_path / "model.txt")
    logit_fn = models.wrap(loaded, table, wanted=1, inputs=inputs_for(loaded, table))
    accepted = model.predict(as_categories(rows)) >= 0.5
    assert 0 < accepted.mean() < 1
    assert np.array_equal(decisions(logit_fn, table), accepted)


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_a_file_of_xgboost_decides_as_the_model_does(rows, table, tmp_path, suffix):
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    params = {"objective": "binary:logistic", "nthread": 1}
    matrix = xgboost.DMatrix(as_categories(rows), rows.loan == "yes", enable_categorical=True)
    model = xgboost.train(params, matrix, 10)
    model.save_model(tmp_path / f"model{suffix}")
    loaded = load_model(tmp_path / f"model{suffix}")
    logit_fn = models.wrap(loaded, table, wanted=1, inputs=inputs_for(loaded, table))
    assert np.array_equal(decisions(logit_fn, table), model.predict(matrix) >= 0.5)


def test_a_booster_of_encoded_rows_needs_no_conversion(table, tmp_path):
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    x, y = np.asarray(table.x_train), np.asarray(table.y_train)
    model = lightgbm.train({"objective": "binary", "num_threads": 1, "verbose": -1}, lightgbm.Dataset(x, y), 3)
    model.save_model(tmp_path / "model.txt")
    assert inputs_for(load_model(tmp_path / "model.txt"), table) is None


class Runs:
    """A pickle of it runs code."""

    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_is_read_only_if_allowed(rows, table, tmp_path, capsys):
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(ValueError, match=r"model: must be allowed by allow_pickle .*runs code.*; got .*bad\.pkl"):
        load_model(tmp_path / "bad.pkl")
    assert capsys.readouterr().out == ""
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    import joblib

    model = linear_model.LogisticRegression().fit(rows[["income"]], rows.loan)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    joblib.dump(model, tmp_path / "model.joblib")
    for file in ("model.pkl", "model.joblib"):
        loaded = load_model(tmp_path / file, allow_pickle=True)
        accepted = decisions(models.wrap(loaded, table), table)
        assert np.array_equal(accepted, model.predict(rows[["income"]]) == "yes")


class Session:
    """A classifier as onnxruntime gives it: it accepts an income of more than 50."""

    def __init__(self, names, as_dicts):
        self.names, self.as_dicts = names, as_dicts

    def get_inputs(self):
        if self.names is None:
            return [SimpleNamespace(name="X", type="tensor(float)", shape=[None, 4])]
        kinds = {"income": "tensor(float)", "job": "tensor(string)"}
        return [SimpleNamespace(name=name, type=kinds[name], shape=[None, 1]) for name in self.names]

    def get_outputs(self):
        kind = "seq(map(string,tensor(float)))" if self.as_dicts else "tensor(float)"
        return [SimpleNamespace(name="label", type="tensor(string)"), SimpleNamespace(name="probabilities", type=kind)]

    def run(self, names, given):
        if self.names is None:
            assert given["X"].dtype == np.float32
            p = given["X"][:, 0]
        else:
            assert given["job"].dtype == object
            p = np.clip(given["income"][:, 0] / 100, 0, 1)
        assert all(values.ndim == 2 for values in given.values())
        both = np.column_stack([1 - p, p])
        labels = np.where(p > 0.5, "yes", "no")
        return [labels, [dict(zip(["no", "yes"], row, strict=True)) for row in both] if self.as_dicts else both]


@pytest.mark.parametrize(("as_dicts", "classes"), [(True, None), (False, ("no", "yes"))])
def test_an_onnx_classifier_of_columns(rows, table, as_dicts, classes):
    model = OnnxModel(Session(["job", "income"], as_dicts))
    model.learn_classes(table)
    logit_fn = models.wrap(model, table, classes=classes, wanted="yes")
    assert np.array_equal(decisions(logit_fn, table), rows.income > 50)


def test_an_onnx_classifier_of_an_array(table):
    model = OnnxModel(Session(None, True))
    model.learn_classes(table)
    logit_fn = models.wrap(model, table)
    assert np.array_equal(decisions(logit_fn, table), np.asarray(table.x_test[:, 0], np.float32) > 0.5)


def test_an_onnx_model_without_labels_is_no_classifier():
    session = SimpleNamespace(get_inputs=list, get_outputs=lambda: [SimpleNamespace(name="y")])
    with pytest.raises(ValueError, match=r"model: must have the outputs labels and probabilities; got \['y'\]"):
        OnnxModel(session)


def test_a_real_onnx_file(rows, table, tmp_path):
    for package in ("onnxruntime", "skl2onnx", "sklearn"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.asarray(table.x_train, np.float32)
    model = LogisticRegression().fit(x, rows.loan)
    (tmp_path / "model.onnx").write_bytes(to_onnx(model, x).SerializeToString())
    accepted = decisions(models.wrap(load_model(tmp_path / "model.onnx", table=table), table), table)
    assert np.mean(accepted == (model.predict(x) == "yes")) > 0.99  # float32


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("model.h5", b"", ValueError, r"model: must be a file of XGBoost .*; got .*model\.h5"),
        ("none.txt", None, FileNotFoundError, r"model: must be a file; got .*none\.txt"),
        ("model.pkl", b"nonsense", ValueError, r"model: must be readable as a \.pkl file; got "),
        ("model.txt", b"nonsense", ValueError, r"model: must be readable as a \.txt file; got "),
    ],
)
def test_wrong_files(tmp_path, name, content, error, message):
    if name == "model.txt":
        pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        load_model(tmp_path / name, allow_pickle=True)


@pytest.mark.parametrize(("name", "package"), [("m.onnx", "onnxruntime"), ("m.json", "xgboost"), ("m.txt", "lightgbm")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, package):
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"model: {name} needs the {package} package: pip install"):
        load_model(tmp_path / name)


def test_categories_keep_the_frame_and_have_a_hash(rows):
    convert = Categories((("job", ("b", "a", "c")),))
    assert list(convert(rows[["income", "job"]])["job"].cat.categories) == ["a", "b", "c"]
    assert rows["job"].dtype != "category"
    assert hash(convert) == hash(Categories((("job", ("b", "a", "c")),)))
