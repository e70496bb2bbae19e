"""Schemas proposed from frames, as dicts and as TOML files, and tables in a notebook."""

import datetime
import tomllib

import numpy as np
import pandas as pd
import pytest

from hare_jax import data

NUM = 120
DAYS = pd.date_range("2020-01-01", periods=NUM)
LEVELS = ["low", "medium", "high", "highest"]


def column(*values):
    """The values, repeated."""
    return pd.Series((list(values) * NUM)[:NUM])


# case -> column, its spec; None: left out
COLUMNS = {
    "floats": (np.arange(NUM) / 7, {"type": "continuous"}),
    "whole floats": (np.arange(NUM) * 2.0, {"type": "ordered", "step": 2}),
    "small integers": (column(3, 1, 7, 2), {"type": "ordered", "step": 1}),
    "round integers": (column(1500, 2000, 90_500), {"type": "ordered", "step": 500}),
    "large integers": ((np.arange(NUM) % 90) ** 2 * 9973 + 1, {"type": "ordered", "step": 9973}),
    "too many steps": (column(1, 2, 70_000), {"type": "continuous"}),
    "beyond whole floats": (column(1.0, 2.0, 1e300), {"type": "continuous"}),
    "nullable integers": (column(3, 1, 2).astype("Int64"), {"type": "ordered", "step": 1}),
    "missing integers": (column(3, None, 1, 2), {"type": "ordered", "step": 1, "missing": "fill"}),
    "missing floats": (column(3.5, None, 1, 2), {"type": "continuous", "missing": "fill"}),
    "two numbers": (column(0, 1), {"type": "categorical", "categories": [0, 1]}),
    "two numbers, missing": (
        column(0, 1, None),
        {"type": "categorical", "categories": [0, 1], "missing": "category"},
    ),
    "two floats": (column(0.5, 1.5), {"type": "categorical", "categories": [0.5, 1.5]}),
    "truth": (column(True, False), {"type": "categorical", "categories": [False, True]}),
    "truth, missing": (
        column(True, False, None),
        {"type": "categorical", "categories": [False, True], "missing": "category"},
    ),
    "text": (column("b", "c", "a"), {"type": "categorical", "categories": ["a", "b", "c"]}),
    "text, missing": (
        column("b", None, "a"),
        {"type": "categorical", "categories": ["a", "b"], "missing": "category"},
    ),
    "ordered dtype": (
        pd.Categorical(column("low", "highest", "high"), LEVELS, ordered=True),
        {"type": "categorical", "categories": ["low", "high", "highest"]},
    ),
    "unordered dtype": (
        pd.Categorical(column("low", "highest", "high"), LEVELS),
        {"type": "categorical", "categories": ["high", "highest", "low"]},
    ),
    "constant": (column(3), None),
    "constant text": (column("a", None), None),
    "empty": (column(None), None),
    "names": ([f"name {index}" for index in range(NUM)], None),
    "zip": (column(*map(str, range(51))), None),
    "fifty": (column(*(chr(65 + index) for index in range(50))), {"type": "categorical"}),
    "customer_id": (range(1000, 1000 + 7 * NUM, 7), None),
    "rowId": (range(NUM, 0, -1), None),
    "Unnamed: 0": (range(NUM), None),
    "paid": (range(NUM), {"type": "ordered", "step": 1}),  # no id, although the name ends in one
    "intervals": (pd.cut(np.arange(NUM), 3), None),
    "complex": (column(1j, 2, 3), None),
    "mixed": (column("a", 1), None),
    "lists": (column([1], [2]), None),
}


def frame(**changes):
    return pd.DataFrame({"base": np.arange(NUM) / 7, "ok": column(0, 1)} | changes)


@pytest.mark.parametrize("case", COLUMNS)
def test_a_column_is_proposed(case):
    values, spec = COLUMNS[case]
    df = frame(**{case: values})
    if spec is None:
        with pytest.warns(UserWarning, match=f"df: leaves out '{case}' \\(") as caught:
            assert list(data.infer(df, "ok")["features"]) == ["base"]
        assert caught[0].filename == __file__
    else:
        schema = data.infer(df, "ok")
        assert spec.items() <= schema["features"][case].items()
        table = data.from_frame(df, schema)
        decoded = table.decode(table.encode(df))[case]
        assert decoded.isna().sum() == (df[case].isna().sum() if spec.get("missing") == "category" else 0)
        assert tomllib.loads(data.to_toml(schema)) == table.schema == schema


def test_one_warning_names_what_is_left_out():
    df = frame(land="B", name=[f"n{index}" for index in range(NUM)], zip=column(*map(str, range(60))), id=range(NUM))
    message = (
        r"^df: leaves out 'land' \(constant\), 'name' \(an identifier: each value once\), "
        r"'zip' \(60 categories, more than 50\), 'id' \(an identifier\)$"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        data.infer(df, "ok")
    assert len(caught) == 1


def test_the_other_arguments():
    df = frame(sex=column("f", "m"), age=column(30, 40, 50), job=column("a", None, "b"), reject=column(1, 0))
    schema = data.infer(df, "ok", audit=["sex"], immutable=["age"], exclude=["reject"])
    assert schema == {
        "target": "ok",
        "positive": 1,
        "audit": ["sex"],
        "features": {
            "base": {"type": "continuous"},
            "age": {"type": "ordered", "step": 10, "mutable": False},
            "job": {"type": "categorical", "categories": ["a", "b"], "missing": "category"},
        },
    }
    assert data.infer(df, "ok", missing="fill")["features"]["job"]["missing"] == "fill"
    dropped = data.infer(df, "ok", missing="drop")
    assert dropped["missing"] == "drop"
    assert "missing" not in dropped["features"]["job"]
    assert data.infer(df.assign(ok=column(1, 0, None)), "ok")["missing"] == "drop"


@pytest.mark.parametrize(
    ("target", "positive", "proposed"),
    [
        (column(0, 1), None, 1),
        (column(0, 1, None), None, 1),
        (column(True, False), None, True),
        (column("no", "yes"), "yes", "yes"),
        (column("no", "yes"), ["yes"], ["yes"]),
        (column("a", "b", "c"), "a", ["a"]),
        (column("a", "b", "c"), {"a"}, ["a"]),
        (column("a", "b", "c"), np.array(["a", "b"]), ["a", "b"]),
        (column(1, 2, 3, 9), ">= 3", ">= 3"),
    ],
)
def test_the_favourable_value(target, positive, proposed):
    schema = data.infer(frame(ok=target), "ok", positive=positive)
    assert schema["positive"] == proposed
    assert type(schema["positive"]) is type(proposed)


@pytest.mark.parametrize(
    ("texts", "sorted_by"),
    [
        (["9+", "0-4", "5-8"], ["0-4", "5-8", "9+"]),
        (["$10,000 - 14,999", "lt $1000", "$25000 or more", "$1000 to 2999"],
         ["lt $1000", "$1000 to 2999", "$10,000 - 14,999", "$25000 or more"]),
        (["10", "9", "2.5"], ["2.5", "9", "10"]),
        (["under 20", "over 100", "20 to 100"], ["under 20", "20 to 100", "over 100"]),
        (["10 to 20", "5 to 10", "unknown"], ["10 to 20", "5 to 10", "unknown"]),
        (["-1", "-2", "10"], ["-1", "-2", "10"]),
        (["1 to 2 to 3", "0"], ["0", "1 to 2 to 3"]),
    ],
)  # fmt: skip
def test_ranges_of_numbers_are_in_their_order(texts, sorted_by):
    assert data.infer(frame(band=column(*texts)), "ok")["features"]["band"]["categories"] == sorted_by


# case -> call, message
ERRORS = {
    "no positive value": (
        lambda: data.infer(frame(ok=column("no", "yes")), "ok"),
        r"positive: must be the favourable value.*; its values are \['no', 'yes'\]; got None",
    ),
    "another positive value": (
        lambda: data.infer(frame(ok=column("no", "yes")), "ok", positive="Yes"),
        "target 'ok': must take the favourable value 'Yes'",
    ),
    "all positive": (
        lambda: data.infer(frame(), "ok", positive=">= 0"),
        "target 'ok': must have favourable and unfavourable training rows by positive '>= 0'; got '120 favourable",
    ),
    "dates": (
        lambda: data.infer(frame(since=DAYS, until=DAYS - DAYS[0], base=DAYS.date), "ok"),
        r"df: must hold no dates: exclude them, or convert .*; got \['base', 'since', 'until'\]",
    ),
    "dates as text": (
        lambda: data.infer(frame(a=DAYS.astype(str), b=DAYS.strftime("%d/%m/%y"), c=column("2020-1-31 10:30")), "ok"),
        r"df: must hold no dates.*got \['a', 'b', 'c'\]",
    ),
    "another target": (lambda: data.infer(frame(), "paid"), "column 'paid': must be in df once"),
    "audit as text": (lambda: data.infer(frame(), "ok", audit="sex"), "audit: must be a list of columns; got 'sex'"),
    "the target as audit": (lambda: data.infer(frame(), "ok", audit=["ok"]), "audit: must not hold the target"),
    "an unknown column": (
        lambda: data.infer(frame(), "ok", exclude=["age"]),
        r"exclude: must be among the columns \['base', 'ok'\]; got \['age'\]",
    ),
    "an immutable target": (
        lambda: data.infer(frame(), "ok", immutable=["ok"]),
        r"immutable: must be among the columns \['base'\]; got \['ok'\]",
    ),
    "another way": (lambda: data.infer(frame(), "ok", missing="mean"), "missing: must be one of drop, fill"),
    "numbers as names": (
        lambda: data.infer(pd.DataFrame({0: [1, 2], "ok": [0, 1]}), "ok"),
        "df: must have text as the names of its columns; got 0",
    ),
    "no feature": (
        lambda: data.infer(frame(), "ok", exclude=["base"]),
        r"df: must have a column that can be a feature; got \[\]",
    ),
    "no frame": (lambda: data.infer([1, 2], "ok"), "df: must be a pandas DataFrame; got 'list'"),
    "nothing in TOML": (
        lambda: data.to_toml(data.infer(frame(), "ok") | {"positive": None}),
        "schema positive: must be text, a number, a date or a list; got None",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_names_argument_rule_and_value(case):
    call, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_toml_keeps_every_value(tmp_path):
    features = {
        "mean radius": {"type": "continuous", "range": [0.5, 1e9], "unit": 'in "µm"\\', "mutable": False},
        "job": {"type": "categorical", "categories": ["a\nb", "\x7f", "🙂", True, 1, 2.5], "label": ""},
        "": {"type": "ordered", "step": 2, "direction": -1},
    }
    schema = {"target": "ok", "positive": datetime.date(2020, 1, 31), "audit": ["s ex"], "features": features}
    text = data.to_toml(schema)
    assert tomllib.loads(text) == schema
    path = tmp_path / "schema.toml"
    path.write_text(text, "utf-8")
    assert data.to_toml(path) == text


def test_a_table_is_shown_by_its_features():
    df = frame(**{"<job>": column("a&b", "c", None), "age": column(30, 40, 50), "town": column(*"abcdefghi")})
    schema = data.infer(df, "ok", immutable=["town"])
    schema["features"]["age"] |= {"direction": "up", "unit": "years", "label": "your age"}
    table = data.from_frame(df, schema, test=df[:8], name="<b>")
    shown = table._repr_html_()
    assert "<b>&lt;b&gt;</b>: 120 training rows (50% favourable), 8 test rows (50% favourable); 14 encoded" in shown
    rows = [
        "<td>&lt;job&gt;</td><td>categorical</td><td>freely</td><td>a&amp;b, c, missing</td><td></td><td>category</td>",
        "<td>your age (age)</td><td>ordered</td><td>up</td><td>30 to 50 by 10</td><td>years</td><td></td>",
        "<td>town</td><td>categorical</td><td>no</td><td>a, b, c, d, e, f and 3 more</td><td></td><td></td>",
    ]
    positions = [shown.index(f"<tr>{row}</tr>") for row in rows]
    assert positions == sorted(positions)
