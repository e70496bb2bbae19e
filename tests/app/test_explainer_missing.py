"""`Explainer` and missing values: the model judges the rows as they are, where it can."""

import numpy as np
import pandas as pd
import pytest

import hare_jax
from hare_jax import data

pytestmark = pytest.mark.usefixtures("quick_programs")
FILLED = {"type": "continuous", "missing": "fill"}
SCHEMA = {"target": "paid", "features": {"income": FILLED, "debt": FILLED}}


class Lender:
    """Income less debt; a missing income counts as 10, or is refused with an error."""

    classes_ = np.array([0, 1])
    feature_names_in_ = np.array(["income", "debt"])

    def __init__(self, takes_missing=True):
        self.takes_missing = takes_missing

    def predict_proba(self, rows):
        if rows.isna().any(axis=None) and not self.takes_missing:
            raise ValueError("NaN")
        logit = (rows["income"].fillna(10) - rows["debt"].fillna(0) - 30.5).to_numpy(float) / 10
        return np.stack([1 / (1 + np.exp(logit)), 1 / (1 + np.exp(-logit))], axis=1)

    def predict(self, rows):
        return (self.predict_proba(rows)[:, 1] > 0.5).astype(int)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"income": rng.integers(0, 101, 200) / 1.0, "debt": rng.integers(0, 41, 200) / 1.0})
    frame["paid"] = (frame["income"] - frame["debt"] > 30).astype(int)
    frame.loc[::10, "income"] = np.nan
    return data.from_frame(frame, SCHEMA, test=frame[:4])


@pytest.fixture(scope="module")
def rows():
    return pd.DataFrame({"income": [np.nan, np.nan, 20.0, 90.0], "debt": [0.0, 30.0, np.nan, np.nan]}, list("abcd"))


def test_rows_are_judged_and_returned_as_they_are(table, rows):
    model = Lender()
    with pytest.warns(UserWarning, match=r"4 of 4 rows have missing values, .* income = .*; .* as they are"):
        found = hare_jax.Explainer(model, table).explain(rows)
    assert found.reason["d"] == "already accepted"
    assert found.found[:3].all()  # filled, row a would be accepted
    assert found.before.equals(rows)
    assert np.array_equal(model.predict(found.frame) == 1, found.valid)
    changed = found.changes()
    same = found.frame.isna()
    assert (same <= rows.isna()).all(axis=None)
    assert len(changed) == (found.frame.ne(rows) & ~same).sum().sum()
    assert found.sentences()["a"].startswith("income was missing")
    assert changed["difference"].isna().equals(changed["before"].isna())


def test_a_model_that_takes_no_missing_values_judges_filled_rows(table, rows):
    model, fill = Lender(takes_missing=False), {feature.name: feature.fill for feature in table.features}
    with pytest.warns(UserWarning, match="asked about 4 of them with these values"):
        found = hare_jax.Explainer(model, table).explain(rows)
    assert np.array_equal(model.predict(found.frame.fillna(fill)) == 1, found.valid)
    assert found.reason["a"] == "already accepted"
    assert found.frame.loc["a"].equals(rows.loc["a"])


def test_changes_that_the_model_does_not_need_are_undone(table):
    rows = pd.DataFrame({"income": [10.0, 40.0, 5.0, 60.0], "debt": [5.0, 30.0, 20.0, 35.0]})
    model = Lender()
    found = hare_jax.Explainer(model, table, "growing_spheres").explain(rows)
    assert found.found.all()
    for column in rows:
        undone = found.frame.assign(**{column: rows[column]})
        assert not model.predict(undone)[found.frame[column].ne(rows[column])].any()
