"""`Explainer` on a small table: what comes back is the model's, in original units, on the index given."""

import jax
import numpy as np
import pandas as pd
import pytest

import hare_jax
from hare_jax import data, models
from hare_jax.app.explainer import search

FEATURES = {
    "income": {"type": "continuous", "range": [0, 120], "unit": "thousand $", "label": "yearly income"},
    "debt": {"type": "ordered", "direction": "down"},
    "job": {"type": "categorical"},
    "owner": {"type": "categorical", "mutable": False},
}
SCHEMA = {"target": "paid", "positive": "yes", "features": FEATURES}


def applicants(num, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"name": [f"row {index}" for index in range(num)], "income": rng.integers(10, 100, num) / 1.0})
    frame["debt"] = rng.integers(0, 20, num)
    frame["job"] = rng.choice(["full", "half", "none"], num)
    frame["owner"] = rng.choice(["no", "yes"], num)
    worth = frame["income"] / 100 - frame["debt"] / 20 + 0.3 * (frame["job"] == "full")
    frame["paid"] = np.where(worth > 0.2, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def table():
    return data.from_frame(applicants(200, 0), SCHEMA, test=applicants(20, 1))


@pytest.fixture(scope="module")
def logit_fn():
    """A linear model of income, debt, the three jobs and the owner."""
    return models.classifier(models.from_layers([([[4.0, -4.0, 1.0, 0.0, 0.0, 0.5]], [-1.0])]))


@pytest.fixture(scope="module")
def explainer(table, logit_fn):
    return hare_jax.Explainer(logit_fn, table)


@pytest.fixture(scope="module")
def rows():
    frame = applicants(30, 2)
    frame.index = [f"p{index % 20}" for index in range(30)]  # labels appear twice
    return frame


@pytest.fixture(scope="module")
def found(explainer, rows):
    return explainer.explain(rows)


def test_rows_columns_and_index_are_kept(found, rows):
    assert found.frame.columns.tolist() == rows.columns.tolist()
    assert found.frame.dtypes.tolist() == rows.dtypes.tolist()
    for part in (found.frame, found.valid, found.cost, found.reason, found.score):
        assert part.index.tolist() == rows.index.tolist()
    for column in ("name", "owner", "paid"):
        assert found.frame[column].tolist() == rows[column].tolist()


def test_the_model_accepts_what_is_valid(explainer, found, table, logit_fn, rows):
    accepted = np.asarray(jax.vmap(logit_fn)(table.encode(found.frame))) >= 0
    assert found.valid.to_numpy().tolist() == accepted.tolist()
    before = np.asarray(jax.vmap(logit_fn)(table.encode(rows))) >= 0
    assert 5 < before.sum() < 25
    assert found.frame[before].equals(rows[before])
    assert set(found.reason[before]) == {search.ACCEPTED}
    assert (found.cost[before] == 0).all()
    assert (found.cost[~before] > 0).all()
    assert set(found.reason[~before]) == {"found"}
    assert (found.frame["debt"] <= rows["debt"]).all()


def test_numbers_have_the_decimals_of_the_training_rows(found):
    assert (found.frame["income"] % 1 == 0).all()


def test_a_row_does_not_depend_on_the_others(explainer, found, rows):
    assert explainer.explain(rows.iloc[[4]]).frame.equals(found.frame.iloc[[4]])


def test_a_row_without_recourse_is_unchanged_and_the_proof_is_said(table, rows):
    refuses = models.classifier(models.from_layers([([[0.1] * 6], [-5.0])]))
    none = hare_jax.Explainer(refuses, table).explain(rows[:3])
    assert none.frame.equals(rows[:3])
    assert not none.valid.any()
    assert none.cost.isna().all()
    assert set(none.reason) == {"no recourse: proved that no allowed point reaches the margin"}


def test_wrong_arguments(explainer, table, rows):
    for wrong, message in (
        ([1, 2], "df: must be a pandas DataFrame; got 'list'"),
        (rows[:0], "df: must have at least one row; got '0 rows'"),
        (rows.drop(columns="debt"), "column 'debt': must be in df once"),
        (rows.assign(job="astronaut"), "column 'job': must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            explainer.explain(wrong)
    with pytest.raises(ValueError, match="method: must be one of ar, "):
        hare_jax.Explainer(explainer.logit_fn, table, "guess")
