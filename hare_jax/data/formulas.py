"""The relations of a schema, checked before any rows are seen: formulas, inequalities and forbidden transitions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hare_jax.base import require
from hare_jax.formula import Expression, affine, columns, in_causal_order, inequality, parse

_TRANSITION = 3  # feature, from, to


class Inequality(NamedTuple):
    """`sum_j coefficients_j x_j + constant <= 0`, in original units."""

    text: str
    coefficients: dict[Any, float]  # by feature
    constant: float


def check_relations(schema: Mapping[str, Any]) -> None:
    """Check the relations of a `schema` with checked features.

    Raises:
        ValueError: a formula is invalid, names a feature that is not numeric, or depends on itself; a relation is not
            linear; a transition names no categorical feature; `max_changes` is no whole number from 1.
    """
    schema_formulas(schema)
    schema_inequalities(schema)
    _check_forbidden(schema)
    most = schema.get("max_changes", 1)
    is_count = isinstance(most, int) and not isinstance(most, bool) and most >= 1
    require(is_count, "schema max_changes", "must be a whole number from 1", most)


def schema_formulas(schema: Mapping[str, Any]) -> dict[str, Expression]:
    """The formula of each derived feature, and of each that follows others, by feature, causes before effects."""
    keys = {name: "formula" if spec["type"] == "derived" else "follows" for name, spec in schema["features"].items()}
    given = {name: key for name, key in keys.items() if key in schema["features"][name] or key == "formula"}
    formulas = {name: _formula(schema, name, key) for name, key in given.items()}
    return in_causal_order(formulas, argument="schema features")


def schema_inequalities(schema: Mapping[str, Any]) -> list[Inequality]:
    """The top-level `relations` of a schema."""
    texts = schema.get("relations", [])
    require(isinstance(texts, list), "schema relations", 'must be a list such as ["card_debt <= total_debt"]', texts)
    return [_inequality(schema, text) for text in texts]


def _formula(schema: Mapping[str, Any], name: str, key: str) -> Expression:
    argument, text = f"schema features.{name}.{key}", schema["features"][name].get(key)
    formula = parse(text, _names(schema), argument=argument)
    _check_numeric(schema, formula, argument, text)
    return formula


def _inequality(schema: Mapping[str, Any], text: Any) -> Inequality:
    expression = inequality(text, _names(schema), argument="schema relations")
    _check_numeric(schema, expression, "schema relations", text)
    found = affine(expression)
    if found is None:
        rule = "must be linear: declare a derived feature for what is not, and relate that"
        raise ValueError(f"schema relations: {rule}; got {text!r}")
    require(len(found[0]) > 0, "schema relations", "must depend on a feature", text)
    return Inequality(text, *found)


def _names(schema: Mapping[str, Any]) -> list[str]:
    return [name for name in schema["features"] if isinstance(name, str)]


def _check_numeric(schema: Mapping[str, Any], expression: Expression, argument: str, text: str) -> None:
    features = schema["features"]
    others = [name for name in columns(expression) if features[name]["type"] == "categorical"]
    require(not others, argument, f"must name numeric features, not {', '.join(others)}", text)


def _check_forbidden(schema: Mapping[str, Any]) -> None:
    listed, argument = schema.get("forbidden", []), "schema forbidden"
    rule = 'must list transitions, each [feature, from, to], such as ["job", "full", "none"]'
    require(isinstance(listed, list), argument, rule, listed)
    for one in listed:
        require(isinstance(one, list) and len(one) == _TRANSITION, argument, rule, one)
        spec = schema["features"].get(one[0]) if isinstance(one[0], str) else None
        is_category = spec is not None and spec["type"] == "categorical"
        require(is_category, argument, f"{rule}, of a categorical feature", one)
