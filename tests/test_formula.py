import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hare_jax.formula import affine, columns, complete, evaluate, in_causal_order, inequality, parse, rename

NAMES = ("a", "b", "capital-gain", "class", "µ")


def quoted(name):
    return name if name.isidentifier() and name != "class" else f"`{name}`"


numbers = st.integers(0, 50) | st.floats(0, 50)
leaves = st.sampled_from(NAMES).map(lambda name: (quoted(name), {name})) | numbers.map(lambda v: (repr(v), set()))


def extend(children):
    pairs = st.tuples(children, st.sampled_from(["+", "-", "*", "/"]), children)
    binary = pairs.map(lambda p: (f"({p[0][0]} {p[1]} {p[2][0]})", p[0][1] | p[2][1]))
    flat = pairs.map(lambda p: (f"{p[0][0]}{p[1]}{p[2][0]}", p[0][1] | p[2][1]))
    negative = children.map(lambda c: (f"-({c[0]})", c[1]))
    powers = st.tuples(children, st.integers(-2, 3)).map(lambda p: (f"({p[0][0]}) ** {p[1]}", p[0][1]))
    smaller = st.tuples(children, children).map(lambda p: (f"min({p[0][0]}, {p[1][0]})", p[0][1] | p[1][1]))
    return binary | flat | negative | powers | smaller


formulas = st.recursive(leaves, extend, max_leaves=8)


def python(text, values):
    """The value of Python itself; NaN where it has none."""
    for index, name in enumerate(NAMES):
        text = text.replace(f"`{name}`", f"name_{index}")
    scope = {f"name_{index}": values[name] for index, name in enumerate(NAMES)} | values | {"min": min}
    scope |= {"μ": values["µ"]}  # Python's own form of the identifier
    try:
        return float(eval(text, {"__builtins__": {}}, scope))
    except (ArithmeticError, TypeError):
        return math.nan


@settings(deadline=None, max_examples=200)
@given(formulas, st.lists(st.floats(-20, 20), min_size=len(NAMES), max_size=len(NAMES)))
def test_values_are_those_of_python(formula, row):
    text, used = formula
    values = dict(zip(NAMES, row, strict=True))
    expected = python(text, values)
    if not used or not math.isfinite(expected):
        return
    try:
        expression = parse(text, NAMES)
    except ValueError as error:  # numbers alone, such as 1 / 0 * 0
        if "finite" in str(error):
            return
        raise
    assert set(columns(expression)) == used
    assert hash(expression) == hash(parse(text, NAMES))
    got = evaluate(expression, values)
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)
    renamed = rename(expression, {name: index for index, name in enumerate(NAMES)})
    assert evaluate(renamed, row) == got
    known = affine(expression, values)
    if known is not None:
        assert known[0] == {}
        assert known[1] == pytest.approx(got, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=100)
@given(formulas, st.lists(st.floats(1, 2), min_size=len(NAMES), max_size=len(NAMES)), st.integers(0, len(NAMES)))
def test_an_affine_formula_is_its_coefficients(formula, row, num_known):
    values = dict(zip(NAMES, row, strict=True))
    expected = python(formula[0], values)
    known = {name: values[name] for name in NAMES[:num_known]}
    try:
        found = affine(parse(formula[0], NAMES), known)
    except ValueError:
        return
    if found is not None and math.isfinite(expected):
        coefficients, constant = found
        assert not set(coefficients) & set(known)
        value = sum(weight * values[name] for name, weight in coefficients.items()) + constant
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("2 * a - (b - 3) / 4", {}, ({"a": 2.0, "b": -0.25}, 0.75)),
        ("-(a + b)", {"b": 1}, ({"a": -1.0}, -1.0)),
        ("(a - a) * b", {}, ({}, 0.0)),
        ("a * b", {"b": 3}, ({"a": 3.0}, 0.0)),
        ("a * b", {"a": 3}, ({"b": 3.0}, 0.0)),
        ("a / (b - 1)", {"b": 1}, None),
        ("a / b", {}, None),
        ("1 / a", {"a": 0}, None),
        ("sqrt(a)", {"a": -1}, None),
        ("a ** 0.5", {"a": -1}, None),
        ("a * 1e200 * b", {"b": 1e200}, None),
        ("max(a, b)", {"b": 1}, None),
        ("max(a, b) + a ** 2", {"a": 2, "b": 3}, ({}, 7.0)),
    ],
)
def test_affine(text, known, expected):
    assert affine(parse(text, NAMES), known) == expected


def test_all_kinds_of_arrays():
    expression = parse("log(a) + sqrt(b) * exp(-a) - abs(a - b) ** 3 + max(a, 2) / min(a, b)", NAMES)
    a, b = np.array([1.0, 2.5]), np.array([4.0, 0.5])
    expected = np.log(a) + np.sqrt(b) * np.exp(-a) - abs(a - b) ** 3 + np.maximum(a, 2) / np.minimum(a, b)
    frame = evaluate(expression, pd.DataFrame({"a": a, "b": b}, index=[7, 7]))
    assert isinstance(frame, pd.Series)
    assert frame.index.tolist() == [7, 7]
    jitted = jax.jit(evaluate, static_argnums=0)(expression, {"a": jnp.asarray(a), "b": jnp.asarray(b)})
    for got in (frame, jitted, evaluate(expression, {"a": a, "b": b})):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert evaluate(expression, {"a": 1.0, "b": 4.0}) == pytest.approx(expected[0])


def test_natural_powers_have_derivatives_at_0():
    expression = rename(parse("3 * a ** 2", NAMES), {"a": 0})
    x = jnp.zeros(1)
    assert jax.hessian(lambda x: evaluate(expression, x))(x).tolist() == [[6.0]]


def test_inequalities_are_at_most_0():
    at_most, at_least = inequality("a <= 2 * b", NAMES), inequality("2 * b >= a", NAMES)
    assert at_most == at_least == ("-", ("column", "a"), ("*", ("number", 2.0), ("column", "b")))


ARITHMETIC = "must be arithmetic: columns, names such as `total-debt` in backticks, numbers"
WRONG = {
    "__import__('os')": ARITHMETIC,
    "a.real": ARITHMETIC,
    "a[0]": ARITHMETIC,
    "[a for a in b]": ARITHMETIC,
    "(a for a in b)": ARITHMETIC,
    "lambda: a": ARITHMETIC,
    "(c := a)": ARITHMETIC,
    "a if b else 1": ARITHMETIC,
    "a and b": ARITHMETIC,
    "not a": ARITHMETIC,
    "a <= b": ARITHMETIC,
    "a // b": ARITHMETIC,
    "a % b": ARITHMETIC,
    "a @ b": ARITHMETIC,
    "~a": ARITHMETIC,
    "a + True": ARITHMETIC,
    "a + 1j": ARITHMETIC,
    "a + 'b'": ARITHMETIC,
    "f'{a}'": ARITHMETIC,
    "'\\d'": ARITHMETIC,
    "(a, b)": ARITHMETIC,
    "min(a, b, key=a)": ARITHMETIC,
    "min(*a)": ARITHMETIC,
    "min(a)": ARITHMETIC,
    "sum(a, b)": ARITHMETIC,
    "a(b)": ARITHMETIC,
    "a +": ARITHMETIC,
    "a b": ARITHMETIC,
    "a\n+ b": ARITHMETIC,
    "a; b": ARITHMETIC,
    "a = b": ARITHMETIC,
    "`a``b`": ARITHMETIC,
    "a\0": ARITHMETIC,
    "`a": "must close each backtick",
    "a + c": "'c' is unknown; use a, b, `capital-gain`, `class`, µ; got",
    "a + clas": "'clas' is unknown; did you mean `class`; got",
    "a + capital": "'capital' is unknown; did you mean `capital-gain`; got",
    "capital-gain": "'capital' is unknown; did you mean `capital-gain`",
    "`capital_gain`": "'capital_gain' is unknown; did you mean `capital-gain`",
    "a + zzz": "'zzz' is unknown; use a, b, `capital-gain`, `class`, µ",
    "``": "'' is unknown; use a, b",
    "1 + 2": "must name a column",
    "a # b": "must hold # only in names in backticks, as it starts no comment; got 'a # b'",
    "a ** b": "must have powers that are numbers from -10 to 10",
    "a ** 11": "must have powers that are numbers from -10 to 10",
    "2 ** 9 ** 9 ** 9": "must have powers that are numbers from -10 to 10",
    "a ** -(9 * 2)": "must have powers that are numbers from -10 to 10",
    "a + 1 / 0": "must have finite numbers",
    "a + 1e999": "must have finite numbers",
    "a + 1" + "0" * 400: "must have finite numbers",
    "a + (-8) ** 0.5": "must have finite numbers",
    "a * log(0)": "must have finite numbers",
    "a" + " + a" * 101: "must be nested at most 100 deep",
    "-" * 500 + "a": "must be nested at most 100 deep",
    "(" * 300 + "a" + ")" * 300: ARITHMETIC,
    "a" + " + a" * 300: "must have at most 1000 characters",
    "": 'must be a formula such as "debt / income"',
    " ": 'must be a formula such as "debt / income"',
    3: 'must be a formula such as "debt / income"',
    None: 'must be a formula such as "debt / income"',
}
WRONG_RELATIONS = {
    "a < b": "must be one inequality, left <= right or left >= right, not < or >, which differ by rounding only",
    "a > b": "must be one inequality, left <= right or left >= right, not < or >, which differ by rounding only",
    "1 <= a <= b": "must be one inequality, left <= right or left >= right: split a chain",
    "a == b": "must be one inequality, left <= right or left >= right: declare a derived feature for an equality",
    "a != b": "must be one inequality",
    "a in b": "must be one inequality",
    "a + b": "must be one inequality",
    "(a <= b) <= b": ARITHMETIC,
    "1 <= 2": "must name a column",
    "a <= c": "'c' is unknown",
    "a <= b#2": "must hold # only in names in backticks",
    "": "must be a formula",
    3: "must be one inequality",
}


def test_a_hash_may_be_in_a_name_in_backticks():
    assert parse("a + `b#2`", ["a", "b", "b#2"]) == ("+", ("column", "a"), ("column", "b#2"))


@pytest.mark.parametrize("text", WRONG)
def test_only_arithmetic_is_parsed(text):
    with pytest.raises(ValueError, match=r"^formula: ") as caught:
        parse(text, NAMES)
    assert str(caught.value).startswith(f"formula: {WRONG[text]}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", WRONG_RELATIONS)
def test_only_inequalities_are_relations(text):
    with pytest.raises(ValueError, match=r"^schema relations: ") as caught:
        inequality(text, NAMES, argument="schema relations")
    assert str(caught.value).startswith(f"schema relations: {WRONG_RELATIONS[text]}")


def test_names_in_backticks_may_be_anything():
    odd = ["a b", "1st", "x\ny", "quoted", "quoted_0", "min", "ä+b", "__import__('os')"]
    text = " + ".join(f"`{name}`" for name in odd) + " + min(min, 1)"
    expression = parse(text, odd)
    assert columns(expression) == tuple(odd)
    assert evaluate(expression, dict.fromkeys(odd, 2.0)) == 17


def test_causes_come_before_effects():
    formulas = {name: parse(text, "abcd") for name, text in {"a": "b + c", "b": "1 / d", "c": "2 * b"}.items()}
    assert list(in_causal_order(formulas)) == ["b", "c", "a"]
    values = {name: np.array([9.0, 9.0]) for name in "abc"} | {"d": np.array([4.0, 0.0])}
    completed = complete(formulas, values)
    assert [completed[name].tolist() for name in "abc"] == [[0.75, 27], [0.25, 9], [0.5, 18]]  # b is infinite at 0
    for text, cycle in {"a * d": "c -> a -> c", "d - c": "c -> c"}.items():
        with pytest.raises(ValueError, match="formulas: must not depend on themselves; got ") as caught:
            in_causal_order(formulas | {"c": parse(text, "abcd")})
        found = str(caught.value).partition("got ")[2].strip("'").split(" -> ")
        assert found[0] == found[-1]
        assert set(found) == set(cycle.split(" -> "))
