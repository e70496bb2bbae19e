"""Expressions: their value, their columns, and the coefficients of those that are affine."""

import functools
import math
import operator
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Expression = tuple[Any, ...]


def evaluate(expression: Expression, values: Any) -> Any:
    """The value of `expression` for the columns `values[key]`: floats, or arrays of NumPy, pandas or JAX.

    >>> evaluate(("/", ("column", "debt"), ("number", 4.0)), {"debt": np.array([1, 6])}).tolist()
    [0.25, 1.5]
    """
    kind, *parts = expression
    if kind == "number":
        return parts[0]
    if kind == "column":
        return values[parts[0]]
    return _OPERATIONS[kind](*(evaluate(part, values) for part in parts))


def columns(expression: Expression) -> tuple[Any, ...]:
    """The distinct columns of `expression`, in the order of their first use."""
    kind, *parts = expression
    if kind == "number":
        return ()
    found = parts if kind == "column" else [key for part in parts for key in columns(part)]
    return tuple(dict.fromkeys(found))


def rename(expression: Expression, mapping: Any) -> Expression:
    """`expression` with `mapping[key]` for each column `key`.

    >>> rename(("neg", ("column", "debt")), {"debt": 3})
    ('neg', ('column', 3))
    """
    kind, *parts = expression
    if kind == "number":
        return expression
    return (kind, mapping[parts[0]]) if kind == "column" else (kind, *(rename(part, mapping) for part in parts))


def affine(
    expression: Expression, known: Mapping[Any, float] | None = None
) -> tuple[dict[Hashable, float], float] | None:
    """Coefficients that are not 0, and constant, of an `expression` that is affine; None if it is not.

    The values of `known` columns are substituted first.

    >>> expression = ("/", ("-", ("column", "debt"), ("number", 1.0)), ("column", "income"))
    >>> affine(expression), affine(expression, {"income": 4})
    (None, ({'debt': 0.25}, -0.25))
    """
    found = _affine(_substitute(expression, known or {}))
    return found if found is not None and np.isfinite([*found[0].values(), found[1]]).all() else None


def build(kind: str, *parts: Expression) -> Expression:
    """An operation on `parts`; a number if all of them are numbers, NaN where it is not defined."""
    if any(part[0] != "number" for part in parts):
        return (kind, *parts)
    try:
        with np.errstate(all="ignore"):
            return number(evaluate((kind, *parts), {}))
    except ArithmeticError:
        return number(math.nan)


def number(value: Any) -> Expression:
    """The number `value`; NaN if it is complex or too large."""
    try:
        return ("number", float(value))
    except (TypeError, OverflowError):
        return ("number", math.nan)


def _substitute(expression: Expression, known: Mapping[Any, float]) -> Expression:
    kind, *parts = expression
    if kind == "column":
        return ("number", float(known[parts[0]])) if parts[0] in known else expression
    return expression if kind == "number" else build(kind, *(_substitute(part, known) for part in parts))


def _affine(expression: Expression) -> tuple[dict[Hashable, float], float] | None:
    kind, *parts = expression
    if kind == "number":
        return {}, parts[0]
    if kind == "column":
        return {parts[0]: 1.0}, 0.0
    terms = [_affine(part) for part in parts] if kind in ("+", "-", "*", "/", "neg") else [None]
    if any(term is None for term in terms):
        return None
    left, right = terms[0], terms[-1]
    assert left is not None
    assert right is not None
    if kind == "neg":
        return _combine(left, -1.0)
    if kind in ("+", "-"):
        return _combine(left, 1.0, right, 1.0 if kind == "+" else -1.0)
    if kind == "*" and not left[0]:
        left, right = right, left
    if right[0] or (kind == "/" and right[1] == 0):
        return None
    return _combine(left, right[1] if kind == "*" else 1 / right[1])


def _combine(
    left: tuple[dict[Hashable, float], float],
    factor: float,
    right: tuple[dict[Hashable, float], float] = ({}, 0.0),
    other: float = 0.0,
) -> tuple[dict[Hashable, float], float]:
    """`factor * left + other * right`."""
    keys = dict.fromkeys((*left[0], *right[0]))
    sums = {key: factor * left[0].get(key, 0.0) + other * right[0].get(key, 0.0) for key in keys}
    return {key: value for key, value in sums.items() if value != 0}, factor * left[1] + other * right[1]


def _power(base: Any, exponent: float) -> Any:
    """`base ** exponent`, with all derivatives at 0 where the exponent is a natural number."""
    return base ** (int(exponent) if exponent >= 0 and float(exponent).is_integer() else exponent)


def _elementwise(name: str, *operands: Any) -> Any:
    """The function `name` of `jax.numpy`, or of NumPy if no operand is a JAX array."""
    return getattr(jnp if any(isinstance(part, jax.Array) for part in operands) else np, name)(*operands)


FUNCTIONS = {"abs": 1, "exp": 1, "log": 1, "sqrt": 1, "min": 2, "max": 2}  # number of operands
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": _power,
    "neg": operator.neg,
    "abs": operator.abs,
    "exp": functools.partial(_elementwise, "exp"),
    "log": functools.partial(_elementwise, "log"),
    "sqrt": functools.partial(_elementwise, "sqrt"),
    "min": functools.partial(_elementwise, "minimum"),
    "max": functools.partial(_elementwise, "maximum"),
}
