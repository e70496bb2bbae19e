"""Relations between features: derived columns, columns that follow others, inequalities, transitions, costs."""

import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hare_jax import data, space
from hare_jax.models.wrapping.rows import round_trip

NUM_ROWS = 40
TOML = """
target = "ok"
relations = ["card <= debt"]
forbidden = [["job", "full", "none"], ["home", "own", "rent"]]
max_changes = 3
[features]
dti = { type = "derived", formula = "debt / `gross-income`" }
gross-income = { type = "continuous", range = [5, 120] }
age = { type = "ordered", mutable = false }
card = { type = "continuous", cost = 2.0 }
debt = { type = "continuous" }
savings = { type = "continuous", follows = "0.3 * `gross-income` + 0.1 * age", range = [-50, 90] }
job = { type = "categorical" }
school = { type = "categorical", direction = "up", categories = ["primary", "secondary", "college"], cost = 3 }
home = { type = "categorical" }
"""


def rows(**changes):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"gross-income": draw.uniform(10, 90, NUM_ROWS), "age": draw.integers(20, 70, NUM_ROWS)})
    frame["card"] = draw.uniform(0, 10, NUM_ROWS)
    frame["debt"] = frame["card"] + draw.uniform(0, 30, NUM_ROWS)
    frame["savings"] = 0.3 * frame["gross-income"] + 0.1 * frame["age"] + draw.normal(size=NUM_ROWS)
    for name, levels in {
        "job": ["none", "part", "full"],
        "school": ["primary", "secondary", "college"],
        "home": ["rent", "own"],
    }.items():
        frame[name] = np.array(levels)[draw.permutation(NUM_ROWS) % len(levels)]
    return frame.assign(ok=draw.permutation(NUM_ROWS) % 2, **changes)


def schema(changes=(), **features):
    found = tomllib.loads(TOML)
    found["features"] = found["features"] | features
    return found | dict(changes)


def table(frame=None, changes=(), **features):
    frame = rows() if frame is None else frame
    return data.from_frame(frame, schema(changes, **features), test=frame)


@pytest.fixture(scope="module")
def usual():
    return table()


def derived(formula, **more):
    return {"type": "derived", "formula": formula} | more


# From the schema to the space


def test_the_schema_of_a_file_is_that_of_a_dict(tmp_path, usual):
    path = tmp_path / "loans.toml"
    path.write_text(TOML, "utf-8")
    got, same = data.from_frame(rows(), path, test=rows()), usual
    assert got.features == same.features
    assert got.space.relations.links == same.space.relations.links
    assert got.columns[:6] == ("dti", "gross-income", "age", "card", "debt", "savings")
    assert got.columns[-1] == "home=rent"


def test_the_space_has_the_relations(usual):
    got = usual
    relations, names = got.space.relations, got.columns
    assert [names[link.column] for link in relations.links] == ["dti", "savings"]
    assert relations.links[0].formula == ("/", ("column", names.index("debt")), ("column", names.index("gross-income")))
    assert relations.max_changes == 3
    assert got.space.cost.tolist() == [1, 1, 1, 2, 1, 1, *[1] * 3, *[3] * 3, 1]
    assert not got.space.mutable[names.index("dti")]
    start, end = np.nonzero(relations.forbidden)
    assert {(names[i], names[j]) for i, j in zip(start, end, strict=True)} == {
        ("job=full", "job=none"),
        ("school=secondary", "school=primary"),
        ("school=college", "school=primary"),
        ("school=college", "school=secondary"),
    }
    assert not got.space.direction[:-1].any()
    assert got.space.direction[-1] == -1  # from own, the first, to rent is closed


def test_a_space_without_relations_has_none():
    plain = {"target": "ok", "features": {"age": {"type": "ordered"}, "home": {"type": "categorical"}}}
    got = data.from_frame(rows(), plain, test=rows()).space
    assert got.relations is None
    assert got.cost is None


def moves(allowed, x, target):
    """The nearest allowed point, its own changes, and whether it is allowed."""
    moved = space.project(allowed, x, target)
    return moved, space.own_change(allowed, x, moved), space.allows(allowed, x, moved)


def test_recourses_keep_the_relations_in_original_units(usual):
    got = usual
    noise = jax.random.normal(jax.random.key(0), got.x_test.shape) * 0.4
    moved, own, allowed = jax.jit(jax.vmap(moves, (None, 0, 0)))(got.space, got.x_test, got.x_test + noise)
    assert allowed.all()
    before, after = got.decode(got.x_test), got.decode(moved)
    np.testing.assert_allclose(after["dti"], after["debt"] / after["gross-income"])
    np.testing.assert_allclose(got.encode(after)[:, 0], moved[:, 0], atol=1e-4)
    assert (after["card"] <= after["debt"] + 1e-4).all()
    assert not ((before["job"] == "full") & (after["job"] == "none")).any()
    assert not ((before["home"] == "own") & (after["home"] == "rent")).any()
    order = ["primary", "secondary", "college"]
    assert (after["school"].map(order.index) >= before["school"].map(order.index)).all()
    changed = pd.DataFrame(np.abs(own) > 1e-6, columns=got.columns).T.groupby(lambda name: name.partition("=")[0]).any()
    assert changed.sum().max() == 3
    still = ~changed.loc["savings"].to_numpy()
    assert still.any()
    expected = before["savings"] + 0.3 * (after["gross-income"] - before["gross-income"])
    np.testing.assert_allclose(after["savings"][still], expected[still], atol=1e-3)


def test_forbidden_ways_of_two_categories_are_directions():
    def direction(forbidden, **home):
        got = table(changes={"forbidden": forbidden}, home={"type": "categorical"} | home)
        return int(got.space.direction[-1]), bool(got.space.mutable[-1])

    to_rent, to_own = ["home", "own", "rent"], ["home", "rent", "own"]  # own is the first
    assert direction([]) == (0, True)
    assert direction([to_rent]) == (-1, True)
    assert direction([to_own]) == (1, True)
    assert direction([to_own], direction="up") == (1, True)
    assert not direction([to_own, to_rent])[1]
    assert not direction([to_own], direction="down")[1]


def test_an_ordered_dtype_has_an_order_for_directions():
    school = pd.Categorical(rows()["school"], ["primary", "secondary", "college"], ordered=True)
    got = table(rows(school=school), school={"type": "categorical", "direction": "up"})
    assert got.features == table(school=schema()["features"]["school"] | {"cost": 1}).features


def test_missing_values_have_no_place_in_an_order():
    home = rows()["home"].where(rows().index % 5 != 0)
    spec = {"type": "categorical", "categories": ["rent", "own"], "direction": "up", "missing": "category"}
    got = table(rows(home=home), {"forbidden": [["home", "missing", "rent"]]}, home=spec)
    assert got.columns[-3:] == ("home=rent", "home=own", "home=missing")
    assert not got.space.direction.any()
    assert got.space.upper[-3:].tolist() == [1, 1, 0]
    assert got.space.relations.forbidden[-3:, -3:].tolist() == [[False] * 3, [True, False, False], [True, False, False]]


def test_the_schema_as_toml_and_in_a_notebook(tmp_path, usual):
    (tmp_path / "loans.toml").write_text(data.to_toml(schema()), "utf-8")
    assert data.from_frame(rows(), tmp_path / "loans.toml", test=rows()).schema == usual.schema
    cells = [f"<td>{cell}</td>" for cell in ("dti", "derived", "with others")]
    assert "".join(cells) in usual._repr_html_()


# Derived columns


def test_a_derived_column_may_be_in_the_rows_or_not(usual):
    computed = rows()["debt"] / rows()["gross-income"]
    gaps = computed.where(rows().index != 3)
    for given_column in (computed, computed.round(2), gaps, gaps.astype("Float64"), None):
        got = table(rows(dti=given_column))
        np.testing.assert_array_equal(got.x_train, usual.x_train)
        np.testing.assert_array_equal(got.encode(rows()), got.encode(rows(dti=given_column)))
    np.testing.assert_allclose(got.decode(got.x_test)["dti"], computed, rtol=1e-5)
    assert list(got.decode(got.x_test).columns) == list(schema()["features"])


def test_the_rounding_of_the_training_rows_is_accepted_in_new_rows():
    years = derived("age / 12")
    coarse = table(rows(years=(rows()["age"] / 12).round()), years=years)  # by up to 1/8 of its span
    fine = table(rows(years=(rows()["age"] / 12).round(1)), years=years)
    new = rows(years=rows()["age"] / 12 + 0.5)
    coarse.encode(new)
    with pytest.raises(ValueError, match=r"column 'years': must be .* by its formula, up to 0\.1, in row 0; got "):
        fine.encode(new)


def test_derived_columns_may_depend_on_each_other_and_on_those_that_follow():
    got = table(
        twice=derived("2 * net"),
        net=derived("savings - debt"),
        card={"type": "continuous", "follows": "0.1 * twice"},
    )
    names = [got.columns[link.column] for link in got.space.relations.links]
    assert names.index("savings") < names.index("net") < names.index("twice") < names.index("card")
    back = got.decode(got.x_test)
    np.testing.assert_allclose(back["twice"], 2 * (back["savings"] - back["debt"]))


def test_models_are_asked_about_consistent_rows():
    got = table(rows(debt=rows()["debt"].round()), {"relations": []}, debt={"type": "ordered"})
    some = np.asarray(got.x_test) + np.random.default_rng(1).normal(scale=0.2, size=got.x_test.shape)
    np.testing.assert_allclose(round_trip(got.features, some), got.encode(got.decode(some)), atol=1e-6)


def test_decoding_keeps_what_has_no_formula_value():
    got = table(frame=rows(), zero=derived("1 / (debt - 100)", range=[-1, 1]))
    x = np.array(got.x_test[:1])
    x[0, got.columns.index("debt")] = (100 - rows()["debt"].min()) / np.ptp(rows()["debt"])
    x[0, got.columns.index("zero")] = 0.25
    low, span = (1 / (rows()["debt"] - 100)).min(), np.ptp(1 / (rows()["debt"] - 100))
    found = got.decode(x)["zero"][0]
    assert np.isfinite(found)
    assert found == pytest.approx(low + 0.25 * span) or abs(found) > 1e4  # rounding may miss the pole


FORMULAS = ["a + b", "a / (abs(b) + 1)", "-2 * a", "max(a, b) - min(a, 3)", "sqrt(abs(a) + 1) + b ** 2"]


@st.composite
def schemas(draw):
    """A schema with relations, rows for it, and the same rows with the derived column."""
    num = 8
    values = st.lists(st.integers(-20, 20).map(lambda v: v / 2), min_size=num, max_size=num, unique=True)
    frame = pd.DataFrame({"a": draw(values), "b": draw(values), "y": [0, 1] * (num // 2)})
    num_levels = draw(st.integers(2, 4))
    frame["c"] = [f"level {index % num_levels}" for index in range(num)]
    number = st.sampled_from([{"type": "continuous"}, {"type": "ordered", "step": 0.5}])
    features = {"a": dict(draw(number)), "b": dict(draw(number)), "d": derived(draw(st.sampled_from(FORMULAS)))}
    levels = [f"level {index}" for index in range(num_levels)]
    direction = draw(st.sampled_from(["up", "down", "free"]))
    features["c"] = {"type": "categorical", "categories": levels, "direction": direction}
    if draw(st.booleans()):
        features["b"]["follows"] = "3 * a"
    for name in draw(st.sets(st.sampled_from(list(features)))) - {"d"}:
        features[name]["cost"] = draw(st.integers(1, 5))
    pairs = [["c", first, second] for first in levels for second in levels if first != second]
    found = {"target": "y", "features": {name: features[name] for name in draw(st.permutations(list(features)))}}
    found["forbidden"] = draw(st.lists(st.sampled_from(pairs), max_size=3))
    found["relations"] = draw(st.lists(st.sampled_from(["a <= b + 100", "2 * (a + d) >= -5000", "-30 <= a"])))
    if draw(st.booleans()):
        found["max_changes"] = draw(st.integers(1, 3))
    return found, frame


@settings(deadline=None, max_examples=20, derandomize=True)
@given(schemas())
def test_any_schema_with_relations(drawn):
    given_schema, frame = drawn
    formula = given_schema["features"]["d"]["formula"]
    scope = {"a": frame["a"], "b": frame["b"], "max": np.maximum, "min": np.minimum, "sqrt": np.sqrt, "abs": np.abs}
    computed = eval(formula, {"__builtins__": {}}, scope)
    assume(len(set(computed)) > 1)
    got = data.from_frame(frame, given_schema, test=frame)
    back = got.decode(got.encode(frame.assign(d=computed)))
    pd.testing.assert_frame_equal(back, frame.assign(d=computed)[list(given_schema["features"])], atol=1e-4, rtol=1e-4)
    feature = {one.name: one for one in got.features}["c"]
    index = {level: number for number, level in enumerate(feature.categories)}
    closed = {(index[start], index[end]) for _, start, end in given_schema["forbidden"]}
    sign = {"up": 1, "down": -1, "free": 0}[given_schema["features"]["c"]["direction"]]
    closed |= {(i, j) for i in index.values() for j in index.values() if (j - i) * sign < 0}
    column, width = got.columns.index(feature.columns[0]), len(feature.columns)
    relations = got.space.relations
    if width == 1:
        open_ways = {sign for sign in (-1, 1) if bool(feature.mutable) and feature.direction in (0, sign)}
        assert open_ways == {1, -1} - {j - i for i, j in closed}
    elif relations.forbidden is None:
        assert not closed
    else:
        block = np.asarray(relations.forbidden)[column : column + width, column : column + width]
        assert set(zip(*np.nonzero(block), strict=True)) == closed
        assert block.sum() == relations.forbidden.sum()
    assert np.abs(relations.coefficients).max(axis=1, initial=0).tolist() == [1] * len(relations.limits)
    slack = np.asarray(relations.limits) - np.asarray(got.x_train) @ np.asarray(relations.coefficients).T
    assert (slack >= -1e-5).all()
    assert len(relations.limits) == len(given_schema["relations"])
    original = np.asarray(relations.offset) + np.asarray(got.x_train) * np.asarray(relations.scale)
    full = frame.assign(d=computed)
    numbers = [index for index, name in enumerate(got.columns) if name in full]
    expected = full[[got.columns[index] for index in numbers]]
    np.testing.assert_allclose(original[:, numbers], expected, rtol=1e-4, atol=1e-4)


# Errors and warnings: each names the argument, the rule and the value

FREE = {"type": "continuous"}
ERRORS = {
    "an unknown name": (
        {"dti": derived("debt / income")},
        r"features\.dti\.formula: 'income' is unknown; did you mean `gross-income`, home; got",
    ),
    "a formula that is code": (
        {"dti": derived("__import__('os').system('ls')")},
        r"features\.dti\.formula: must be arithmetic: .*; got \"__import__",
    ),
    "a formula of a category": (
        {"dti": derived("debt / home")},
        r"features\.dti\.formula: must name numeric features, not home; got 'debt / home'",
    ),
    "no formula": ({"dti": {"type": "derived"}}, r"features\.dti\.formula: must be a formula such as .*; got None"),
    "a number for a formula": ({"dti": derived(3)}, r"features\.dti\.formula: must be text; got 3"),
    "a derived feature that is acted on": (
        {"dti": derived("debt / age", mutable=True)},
        r"features\.dti, derived: unknown key; may hold formula, label, range, type, unit; got \['mutable'\]",
    ),
    "a direction of a derived feature": (
        {"dti": derived("debt / age", direction="up")},
        r"features\.dti, derived: unknown key; .*; got \['direction'\]",
    ),
    "a formula of a continuous feature": (
        {"debt": FREE | {"formula": "2 * age"}},
        r"features\.debt, continuous: unknown key; .*; got \['formula'\]",
    ),
    "a category that follows": (
        {"job": {"type": "categorical", "follows": "age"}},
        r"features\.job, categorical: unknown key; .*; got \['follows'\]",
    ),
    "a feature that follows itself": (
        {"debt": FREE | {"follows": "2 * debt"}},
        "schema features: must not depend on themselves; got 'debt -> debt'",
    ),
    "a cycle": (
        {"debt": FREE | {"follows": "card"}, "card": FREE | {"follows": "dti * 3"}},
        "schema features: must not depend on themselves; got '(debt|card|dti) -> (debt|card|dti) -> ",
    ),
    "a cost of 0": ({"debt": FREE | {"cost": 0}}, r"features\.debt\.cost: must be a number above 0; got 0"),
    "a division by 0": (
        {"dti": derived("debt / (age - age)")},
        r"column 'dti': must be finite by its formula; in row 0 debt = .*, age = \d+; got inf",
    ),
    "a logarithm of a negative number": (
        {"savings": FREE | {"follows": "log(age - 1000)"}},
        r"column 'savings': must be finite by its formula; in row 0 age = \d+; got nan",
    ),
    "a constant derived feature": ({"dti": derived("0 * age")}, "column 'dti': is constant: leave 'dti' out"),
    "a range beside the derived rows": (
        {"dti": derived("debt / `gross-income`", range=[50, 60])},
        r"features\.dti\.range: must overlap the training rows, from .*; got \[50\.0, 60\.0\]",
    ),
}
TOP = {
    "a strict inequality": (
        {"relations": ["card < debt"]},
        "schema relations: must be one inequality, left <= right or left >= right, not < or >.*; got 'card < debt'",
    ),
    "a chain": ({"relations": ["0 <= card <= debt"]}, "schema relations: must be one inequality.*: split a chain; got"),
    "text for a list": ({"relations": "card <= debt"}, "schema relations: must be a list such as .*; got 'card <= deb"),
    "a number for a relation": ({"relations": [3]}, "schema relations: must be one inequality.*; got 3"),
    "an inequality that is not linear": (
        {"relations": ["card * debt <= 3"]},
        "schema relations: must be linear: declare a derived feature for what is not, and relate that; got 'card",
    ),
    "an inequality of nothing": ({"relations": ["card <= card"]}, "schema relations: must depend on a feature; got 'c"),
    "an inequality of a category": ({"relations": ["card <= home"]}, "schema relations: must name numeric .* not home"),
    "text for transitions": ({"forbidden": "job"}, r"schema forbidden: must list transitions, each .*; got 'job'"),
    "a transition of two": ({"forbidden": [["job", "full"]]}, r"schema forbidden: must list .*; got \['job', 'full'\]"),
    "a transition of a number": (
        {"forbidden": [["age", 20, 30]]},
        r"schema forbidden: must list .* of a categorical feature; got \['age', 20, 30\]",
    ),
    "a transition of no feature": ({"forbidden": [["jo", "a", "b"]]}, r"schema forbidden: .*; got \['jo', 'a', 'b'\]"),
    "a transition to no category": (
        {"forbidden": [["job", "full", "nothing"]]},
        r"schema forbidden: must name \('full', 'none', 'part'\); got \['job', 'full', 'nothing'\]",
    ),
    "a transition to the same": (
        {"forbidden": [["home", "own", "own"]]},
        r"schema forbidden: must name two categories; got \['home', 'own', 'own'\]",
    ),
    "no changes": ({"max_changes": 0}, "schema max_changes: must be a whole number from 1; got 0"),
    "half a change": ({"max_changes": 1.5}, r"schema max_changes: must be a whole number from 1; got 1\.5"),
    "true changes": ({"max_changes": True}, "schema max_changes: must be a whole number from 1; got True"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_names_argument_rule_and_value(case):
    features, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as caught:
        table(**features)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", TOP)
def test_an_error_of_the_top_level_names_argument_rule_and_value(case):
    changes, message = TOP[case]
    with pytest.raises(ValueError, match=message) as caught:
        table(changes=changes)
    assert "\n" not in str(caught.value)


def test_a_column_that_contradicts_its_formula_is_named(usual):
    dti = rows()["debt"] / rows()["gross-income"]
    wrong = rows(dti=dti.where(dti.index != 7, dti + 1)).set_index(pd.Index([f"row {i}" for i in range(NUM_ROWS)]))
    message = rf"column 'dti': must be {dti[7]:.3g}\d* by its formula, up to .*, in row 'row 7'; got {dti[7] + 1:.6f}"
    with pytest.raises(ValueError, match=message):
        table(wrong)
    with pytest.raises(ValueError, match=message):
        usual.encode(wrong)
    with pytest.raises(ValueError, match="column 'dti': must be in the rows once at most; got 2"):
        usual.encode(pd.concat([rows(dti=dti), dti.rename("dti")], axis=1))
    with pytest.raises(ValueError, match="column 'dti': must hold numbers"):
        usual.encode(rows(dti="3"))


def test_a_new_row_without_a_formula_value_is_named(usual):
    new = rows().set_index(pd.Index(range(100, 100 + NUM_ROWS)))
    new.loc[103, "gross-income"] = 0
    message = r"column 'dti': must be finite by its formula; in row 103 debt = .*, gross-income = 0; got inf"
    with pytest.raises(ValueError, match=message):
        usual.encode(new)


def test_a_relation_that_the_rows_break_is_a_warning():
    message = (
        r"schema relations: should hold in the training rows; got 'debt <= card', which 100% break: is it the wrong"
    )
    with pytest.warns(UserWarning, match=message):
        table(changes={"relations": ["card <= debt", "debt <= card"]})
    frame = rows()
    frame.loc[0, "card"] = frame.loc[0, "debt"] + 1  # one row in forty
    assert jnp.isfinite(table(frame).x_train).all()
