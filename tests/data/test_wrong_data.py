"""Wrong schemas, rows and files: each is an error or a warning that names the argument, the rule and the value."""

import datetime

import numpy as np
import pandas as pd
import pytest

from hare_jax import data

CONTINUOUS, CATEGORICAL = {"type": "continuous"}, {"type": "categorical"}


def rows(**changes):
    columns = {
        "income": [10.0, 20.0, 30.0, 40.0],
        "children": [0, 1, 2, 5],
        "home": ["own", "rent", "free", "own"],
        "paid": [0, 1, 1, 0],
    }
    return pd.DataFrame(columns | changes)


def schema(changes=(), **features):
    usual = {"income": CONTINUOUS, "children": {"type": "ordered"}, "home": CATEGORICAL}
    return {"target": "paid", "features": usual | features} | dict(changes)


def table(**features):
    return data.from_frame(rows(), schema(**features), test=rows())


def from_rows(changes=(), **columns):
    return data.from_frame(rows(**columns), schema(changes), test=rows(**columns))


def from_test(test):
    return data.from_frame(rows(), schema(), test=test)


DAYS = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"])
TWICE = pd.concat([rows(), rows()[["income"]]], axis=1)

# case -> call, message
ERRORS = {
    "dates": (
        lambda: from_rows(income=DAYS),
        "column 'income': must hold numbers: convert dates.*; got 'datetime64",
    ),
    "durations": (
        lambda: from_rows(income=DAYS - DAYS[0]),
        "column 'income': must hold numbers: convert dates.*timede",
    ),
    "text for numbers": (
        lambda: from_rows(income=["1", "2", "3", "4"]),
        "column 'income': must hold numbers, or be of type \"categorical\"; got",
    ),
    "complex numbers": (lambda: from_rows(income=[1j, 2, 3, 4]), "column 'income': must hold numbers.*complex128"),
    "a range beside the rows": (
        lambda: table(income={"type": "continuous", "range": [1000, 9000]}),
        r"features\.income\.range: must overlap the training rows, from 10 to 40; got \[1000\.0, 9000\.0\]",
    ),
    "a step above the range": (
        lambda: table(children={"type": "ordered", "step": 6}),
        r"features\.children\.step: must be at most 5, the width of the range; got 6\.0",
    ),
    "a column twice": (lambda: data.from_frame(TWICE, schema()), "column 'income': must be in df once; got"),
    "a column twice in new rows": (lambda: table().encode(TWICE), "column 'income': must be in df once; got"),
    "test rows of other columns": (
        lambda: from_test(rows().drop(columns="home")),
        r"column 'home': must be in test once; got \['income', 'children', 'paid'\]",
    ),
    "no test rows": (lambda: from_test(rows().iloc[:0]), "test: must have at least one row; got '0 rows'"),
    "an array for test rows": (lambda: from_test(np.zeros((4, 4))), "test: must be a pandas DataFrame; got 'ndarray'"),
    "no new rows": (lambda: table().encode(rows().iloc[:0]), "df: must have at least one row; got '0 rows'"),
    "a row that is no frame": (lambda: table().encode(rows().iloc[0]), "df: must be a pandas DataFrame; got 'Series'"),
    "a missing label": (lambda: from_rows(paid=[0, 1, None, 0]), "column 'paid': must have no missing values.*'1 miss"),
    "labels yes and no": (
        lambda: from_rows(paid=["yes", "no", "no", "yes"]),
        r"target 'paid': must take the favourable value 1; set positive otherwise; got \['yes', 'no'\]",
    ),
    "labels as text": (
        lambda: from_rows({"positive": "1"}),
        r"target 'paid': must take the favourable value '1'; .*; got \[0, 1\]",
    ),
    "all values positive": (
        lambda: from_rows({"positive": [0, 1]}),
        r"target 'paid': must have favourable and unfavourable .* positive \[0, 1\]; got '4 favourable of 4",
    ),
    "no value positive": (
        lambda: from_rows({"positive": []}),
        r"schema positive: must be a value of the target, a list of values, or a condition such as '>= 6'; got \[\]",
    ),
    "an unknown positive value": (
        lambda: from_rows({"positive": [1, 2]}),
        r"target 'paid': must take the favourable values \[1, 2\]; got \[2\]",
    ),
    "a condition that no row meets": (
        lambda: from_rows({"positive": "> 1"}),
        r"target 'paid': must have favourable and unfavourable training rows by positive '> 1'; got '0 favourable of 4",
    ),
    "a condition on text": (
        lambda: from_rows({"positive": ">= 1"}, paid=["1", "2", "3", "1"]),
        "target 'paid': must have exactly two values",
    ),
    "text in the test rows of a number": (
        lambda: data.from_frame(rows(), schema({"positive": "> 0"}), test=rows(paid=list("0101"))),
        "target 'paid': must hold numbers in the test rows; got",
    ),
    "a numeric target": (
        lambda: from_rows(paid=[1, 2, 3, 4]),
        r"target 'paid': must have exactly two values.*\[1, 2",
    ),
    "an order of three": (
        lambda: table(home={"type": "categorical", "direction": 1}),
        r"features\.home\.direction: must be free for three or more categories without an order: list.*; got 1",
    ),
    "a step of true": (
        lambda: table(children={"type": "ordered", "step": np.True_}),
        r"features\.children\.step: must be a number above 0; got True",
    ),
    "a range of NaN": (
        lambda: table(income={"type": "continuous", "range": [np.float64(np.nan), 1]}),
        r"features\.income\.range: must be \[lo, hi\], lo below hi; got \[nan, 1\]",
    ),
    "a list of names": (lambda: data.load(["mortgage"]), r"name: must be one of mortgage.*; got \['mortgage'\]"),
    "a share as text": (
        lambda: data.from_frame(rows(), schema(), test_size="0.5"),
        "test_size: must lie between 0 and 1; got '0.5'",
    ),
    "a negative seed": (
        lambda: data.from_frame(rows(), schema(), seed=-1),
        "seed: must be a whole number from 0; got -1",
    ),
    "decode of NaN": (
        lambda: table().decode(np.array([[0, 0, 0, 1, 0], [np.nan, np.inf, 0, 0, 1]])),
        "x: must be finite; got '2 values that are not'",
    ),
    "decode of another width": (lambda: table().decode(np.zeros((2, 4))), r"x: must have shape \(5,\) or \(n, 5\)"),
    "a file that is not there": (lambda: data.from_frame(rows(), "no.toml"), "schema 'no.toml': must be a TOML file"),
}

WARNINGS = {
    "new rows in other units": (
        lambda: table().encode(rows(income=[10.0, 20.0, 30_000.0, 40.0])),
        "df: column 'income' should be in the units of the training rows; got 1e.03 times its training range",
    ),
    "test rows in other units": (
        lambda: from_test(rows(income=rows()["income"] * -1e6)),
        "test: column 'income' should be in the units of the training rows; got -1.33e.06 times",
    ),
    "decode of rows in original units": (
        lambda: table().decode(np.array([2000.0, 1, 0, 1, 0])),
        r"x: column 'income' should be in encoded units; got 2e.03 times its training range",
    ),
    "a range in other units": (
        lambda: table(income={"type": "continuous", "range": [0, 90_000]}),
        r"features\.income\.range: should be in the units of the training rows, from 10 to 40; got \[0\.0, 90000\.0\]",
    ),
    "a step that misses the values": (
        lambda: data.from_frame(rows(children=[0.1, 1.73, 2.4, 5.9]), schema(), test=rows()),
        r"features\.children\.step: should divide the differences of the training rows; got 1, which 75% miss",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_names_argument_rule_and_value(case):
    call, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", WARNINGS)
def test_a_warning_names_argument_rule_and_value(case):
    call, message = WARNINGS[case]
    with pytest.warns(UserWarning, match=message):
        call()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'target = "paid\n', r"Illegal character.*line 1"),
        (b"target = 1\ntarget = 2\n", "Cannot overwrite a value"),
        (b'target = "\xff\xfe"\n', "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, found):
    path = tmp_path / "loans.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"schema '.*loans\.toml': must be a TOML file in UTF-8; got .*{found}"):
        data.from_frame(rows(), path)
    with pytest.raises(ValueError, match=r"must be a TOML file in UTF-8; got 'Is a directory'"):
        data.from_frame(rows(), tmp_path)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_folder_that_is_none_is_named(tmp_path, monkeypatch, name):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARE_JAX_DATA", str(tmp_path / name))
    with pytest.raises(ValueError, match=rf"HARE_JAX_DATA: must name a folder; got '.*{name}'"):
        data.load("compas")


def test_an_ordered_dtype_keeps_its_order():
    levels = ["low", "medium", "high", "highest"]
    home = pd.Categorical(["medium", "low", "high", "low"], levels, ordered=True)
    got = data.from_frame(rows(home=home), schema(), test=rows(home=home))
    assert got.columns[2:] == ("home=low", "home=medium", "home=high")
    assert got.decode(got.x_test)["home"].tolist() == list(home)
    home = pd.Categorical(["low", "low", "high", "low"], levels, ordered=True)
    up = schema(home={"type": "categorical", "direction": "up"})
    got = data.from_frame(rows(home=home), up, test=rows(home=home))
    assert got.columns[2:] == ("home=high",)
    assert got.x_train[:, 2].tolist() == [0, 0, 1, 0]
    home = home.as_unordered()
    assert data.from_frame(rows(home=home), up, test=rows(home=home)).columns[2:] == ("home=low",)  # sorted


def test_numpys_values_are_those_of_python():
    income = {"type": np.str_("continuous"), "range": np.array([0, 50]), "mutable": np.False_, "direction": np.int8(1)}
    children = {"type": "ordered", "step": np.float32(1), "range": (np.int64(0), np.float64(6))}
    home = {"type": "categorical", "categories": np.array(["own", "rent", "free"])}
    got = data.from_frame(
        rows(), schema({"positive": np.int64(1)}, income=income, children=children, home=home), test=rows()
    )
    assert got.columns == ("income", "children", "home=own", "home=rent", "home=free")
    assert got.schema["features"]["income"] == {
        "type": "continuous",
        "range": [0, 50],
        "mutable": False,
        "direction": 1,
    }
    assert got.space.mutable.tolist() == [False, True, True, True, True]
    np.testing.assert_allclose(got.space.upper, [4 / 3, 6 / 5, 1, 1, 1], rtol=1e-6)


def test_other_labels_are_fine():
    for labels in ([True, False, False, True], [1.0, 0.0, 0.0, 1.0], pd.array([1, 0, 0, 1], "Int64")):
        assert from_rows(paid=labels).y_train.tolist() == [1, 0, 0, 1]
    day = datetime.date(2020, 1, 1)
    assert from_rows({"positive": day}, paid=[day, None or day.replace(day=2)] * 2).y_train.tolist() == [1, 0, 1, 0]
