"""Missing values: rows dropped, values filled, or a category of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from hare_jax import data, space

NUMBERS, ORDERED, CATEGORICAL = {"type": "continuous"}, {"type": "ordered"}, {"type": "categorical"}


def rows(**changes):
    columns = {
        "income": [10.0, np.nan, 30.0, 41.0, 50.0, 22.0],
        "children": [0, 1, np.nan, 5, 2, 1],
        "home": ["own", "rent", None, "own", "free", np.nan],
        "paid": [0, 1, 1, 0, 1, 0],
    }
    return pd.DataFrame(columns | changes, index=list("fedcba"))


def schema(changes=(), income=NUMBERS, children=ORDERED, home=CATEGORICAL):
    return {"target": "paid", "features": {"income": income, "children": children, "home": home}} | dict(changes)


def table(changes=(), frame=None, test=None, **features):
    frame = rows() if frame is None else frame
    return data.from_frame(frame, schema(changes, **features), test=frame if test is None else test)


BOTH = {"changes": {"missing": "fill"}, "home": {"type": "categorical", "missing": "category"}}


def test_rows_are_dropped():
    message = r"df: 3 of 6 rows have missing values and are dropped: 'paid' \(1\), 'income' \(1\), .*, 'home' \(2\)"
    full = rows().dropna()
    with pytest.warns(UserWarning, match=message) as caught:
        got = table({"missing": "drop"}, frame=rows(paid=[0, 1, 1, 0, 1, None]), test=full)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(got.decode(got.x_train)["income"], [10, 41, 50])
    with pytest.raises(
        ValueError, match=r"column 'income': must have no missing values: rows are dropped by from_frame only"
    ):
        got.encode(rows())


def test_numbers_are_filled_with_the_median_of_the_training_rows():
    got = table(**BOTH, test=rows(income=np.nan, children=np.nan))
    np.testing.assert_allclose(got.decode(got.x_train)["income"], [10, 30, 30, 41, 50, 22])
    assert got.decode(got.x_train)["children"].tolist() == [0, 1, 1, 5, 2, 1]
    np.testing.assert_allclose(got.decode(got.x_test)["income"], 30)
    again = got.encode(rows(income=None, children=pd.array([None] * 6, "Int64")))
    np.testing.assert_array_equal(again, got.x_test)


def test_the_median_of_an_ordered_feature_is_a_value():
    got = table(**BOTH, frame=rows(children=[0, 1, np.nan, 2, 5, np.nan], income=[1, 2, 3, 4, np.nan, np.nan]))
    assert got.decode(got.x_train)["children"].tolist()[2] == 1
    assert got.decode(got.x_train)["income"].tolist()[-1] == 2.5


@pytest.mark.parametrize(
    ("home", "filled"),
    [
        (["own", "rent", None, "own", "free", None], ["own", "rent", "own", "own", "free", "own"]),
        ([True, None, False, False, None, True], [True, False, False, False, False, True]),
        (pd.Categorical(["b", None, "c", "c", "a", "b"], list("cba"), ordered=True), list("bcccab")),
        ([1, np.nan, 0, 1, 1, 0], [1, 1, 0, 1, 1, 0]),
    ],
)
def test_categories_are_filled_with_the_most_frequent_one(home, filled):
    got = table({"missing": "fill"}, frame=rows(home=home))
    assert got.decode(got.x_train)["home"].tolist() == filled


@pytest.mark.parametrize(
    "home",
    [
        ["own", "rent", None, "own", "free", np.nan],
        [True, None, False, False, None, True],
        pd.Categorical(["b", None, "c", "c", "a", "b"], list("cba"), ordered=True),
        [1, np.nan, 0, 1, 1, 0],
        pd.array(["y", None, "y", "y", None, "y"], "string"),
    ],
)
def test_a_category_of_their_own(home):
    got = table(**BOTH, frame=rows(home=home))
    assert got.columns[-1] == "home=missing"
    back = got.decode(got.x_train)["home"]
    assert back.isna().tolist() == pd.Series(home).isna().tolist()
    assert back.dropna().tolist() == pd.Series(home).dropna().tolist()
    np.testing.assert_array_equal(got.encode(got.decode(got.x_train)), got.x_train)


@pytest.mark.parametrize("home", [["own", "rent", None, "own", "free", None], ["own", "own", None, "own", "own", None]])
def test_no_change_leads_to_the_category_of_missing_values(home):
    got = table(**BOTH, frame=rows(home=home))
    first, other = got.x_train[0], got.x_train[2]
    moved = jnp.stack([jnp.append(first[:2], other[2:]), jnp.append(other[:2], first[2:])])
    moves = jax.jit(jax.vmap(space.allows, (None, 0, 0)))(got.space, jnp.stack([first, other]), moved)
    assert moves.tolist() == [False, True]


def test_the_default_category_is_for_categorical_features_with_missing_values():
    got = table({"missing": "category"}, income={**NUMBERS, "missing": "fill"}, children={**ORDERED, "missing": "fill"})
    assert got.columns[2:] == ("home=free", "home=own", "home=rent", "home=missing")
    full = rows().ffill()
    assert table({"missing": "category"}, frame=full).columns[-1] == "home=rent"
    only_test = table({"missing": "category"}, frame=full, test=full.assign(home=None))
    assert only_test.decode(only_test.x_test)["home"].isna().all()


# case -> call, message
ERRORS = {
    "no way": (
        lambda: table(),
        r"column 'income': must have no missing values: set missing = \"drop\", \"fill\".*; got '1 missing, in rows e'",
    ),
    "no way for the target": (
        lambda: table({"missing": "fill"}, frame=rows(paid=[None, 1, 0, 1, 0, None])),
        r"column 'paid': must have no missing values: drop their rows, or set .*'2 missing, in rows f, a'",
    ),
    "numbers as a category": (
        lambda: table(income={**NUMBERS, "missing": "category"}),
        r"schema features\.income\.missing: must be drop or fill for numbers; got 'category'",
    ),
    "numbers by the default": (lambda: table({"missing": "category"}), "column 'income': must have no missing values"),
    "another way": (
        lambda: table({"missing": "mean"}),
        "schema.missing: must be drop, fill or category; got 'mean'",
    ),
    "a way of true": (
        lambda: table(home={"type": "categorical", "missing": True}),
        r"features\.home\.missing: must be drop, fill or category; got True",
    ),
    "no row is left": (
        lambda: table({"missing": "drop"}, frame=rows(income=np.nan)),
        "df: must have a row without missing values; got '6 rows'",
    ),
    "a value called missing": (
        lambda: table(**BOTH, frame=rows(home=["missing", None, "a", "b", "a", "b"])),
        "column 'home': must have no category 'missing' beside",
    ),
    "text for filled numbers": (
        lambda: table({"missing": "fill"}, frame=rows(income=["1", None, "2", "3", "4", "5"])),
        "column 'income': must hold numbers",
    ),
    "new rows": (
        lambda: table({"missing": "category"}, frame=rows().ffill()).encode(rows()),
        "column 'income': must have no missing values: set missing = \"fill\"",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_names_argument_rule_and_value(case):
    call, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
