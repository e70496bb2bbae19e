"""Bounds of formulas over a box of their columns: intervals, and linear relaxations for a program.

`interval` is interval arithmetic. `relaxed` is the factorable relaxation of McCormick (1976), Mathematical Programming
10: each operation that is not affine becomes a variable `w` between linear functions of its operands, which are exact
where the box is a point. A product `w = a b` lies in its envelope, a quotient is the `w` whose product with the divisor
is the dividend, and a convex function lies above its tangents and below its secant.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from hare_jax import formula
from hare_jax.recourse.exact.draft import Draft, add_row, add_variable

_ENDLESS = -np.inf, np.inf
_CONVEX = ("exp", "abs")
_CONCAVE = ("log", "sqrt")
_TANGENTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # fractions of the interval at which a function has tangents
_DIFFERENCE = 1e-6  # of the interval, for the slope of a tangent
_STRAIGHT = 1e-9  # by which a function may differ from a line within such a difference


class Interval(NamedTuple):
    """Bounds, floats or arrays."""

    low: Any
    high: Any


class Term(NamedTuple):
    """An affine function of the variables of a program, and its interval."""

    slopes: dict[int, float]  # by variable
    constant: float
    span: Interval


def interval(expression: formula.Expression, values: Interval) -> Interval:
    """The interval of an `expression` over a box `values` (d,), (d,) of its columns, in original units.

    >>> quotient = ("/", ("column", 0), ("column", 1))
    >>> interval(quotient, Interval(np.array([1.0, 2.0]), np.array([4.0, 5.0])))
    Interval(low=0.2, high=2.0)
    """
    kind, *parts = expression
    if kind == "number":
        return Interval(parts[0], parts[0])
    if kind == "column":
        return Interval(float(values.low[parts[0]]), float(values.high[parts[0]]))
    return _operate(kind, [interval(part, values) for part in parts])


def _operate(kind: str, parts: list[Interval]) -> Interval:
    """The interval of an operation on intervals."""
    a, b = parts[0], parts[-1]
    if kind == "**":
        return _power(a, float(b.low))
    if kind == "/":
        divides = not b.low <= 0 <= b.high
        return _over_corners("*", a, Interval(1 / b.high, 1 / b.low)) if divides else Interval(*_ENDLESS)
    if kind == "abs":
        least = 0.0 if a.low <= 0 <= a.high else min(abs(a.low), abs(a.high))
        return Interval(least, max(abs(a.low), abs(a.high)))
    if kind in _CONCAVE:  # where it is not defined, nothing is allowed
        a = Interval(max(a.low, 0.0), max(a.high, 0.0))
        parts = [a]
    if kind == "log" and a.low == 0:
        return Interval(-np.inf, np.log(a.high) if a.high > 0 else -np.inf)
    return _over_corners(kind, *parts)


def _over_corners(kind: str, *parts: Interval) -> Interval:
    """The interval of an operation that takes its extremes at corners of the box."""
    corners = [(end,) for end in parts[0]] if len(parts) == 1 else [(a, b) for a in parts[0] for b in parts[1]]
    with np.errstate(all="ignore"):
        values = [_value(kind, *corner) for corner in corners]
    return Interval(min(values), max(values)) if not np.isnan(values).any() else Interval(*_ENDLESS)


def _value(kind: str, *operands: float) -> float:
    expression = (kind, *(("number", float(operand)) for operand in operands))
    try:
        return float(formula.evaluate(expression, {}))
    except OverflowError:
        return math.inf


def _at(kind: str, others: list[float], operand: float) -> float:
    return _value(kind, operand, *others)


def _power(a: Interval, power: float) -> Interval:
    """The interval of `a ** power`."""
    if power < 0:
        return _operate("/", [Interval(1.0, 1.0), _power(a, -power)])
    a = a if power.is_integer() else Interval(max(a.low, 0.0), max(a.high, 0.0))
    ends = [_value("**", end, power) for end in a]
    least = 0.0 if a.low <= 0 <= a.high and power % 2 == 0 and power > 0 else min(ends)
    return Interval(min(least, *ends), max(ends))


def relaxed(draft: Draft, expression: formula.Expression, columns: dict[int, Term]) -> Term:
    """A term for `expression` over its `columns`, with variables and constraints in the `draft` that it needs."""
    kind, *parts = expression
    if kind == "number":
        return Term({}, parts[0], Interval(parts[0], parts[0]))
    if kind == "column":
        return columns[parts[0]]
    terms = [relaxed(draft, part, columns) for part in parts]
    span = _operate(kind, [term.span for term in terms])
    if kind in ("+", "-", "neg"):
        signs = {"+": (1, 1), "-": (1, -1), "neg": (-1,)}[kind]
        return _sum(terms, signs, span)
    if kind in ("*", "/"):
        return (_product if kind == "*" else _quotient)(draft, terms[0], terms[1], span)
    if kind in ("min", "max"):
        return _extreme(draft, terms, 1 if kind == "max" else -1, span)
    return _function(draft, kind, terms, span)


def _sum(terms: list[Term], factors: tuple[float, ...], span: Interval, constant: float = 0.0) -> Term:
    slopes: dict[int, float] = {}
    for term, factor in zip(terms, factors, strict=True):
        for key, slope in term.slopes.items():
            slopes[key] = slopes.get(key, 0.0) + factor * slope
        constant += factor * term.constant
    return Term(slopes, constant, span)


def _is_point(span: Interval) -> bool:
    return bool(span.high <= span.low)


def _new(draft: Draft, span: Interval) -> Term:
    """A term for a new variable with values in `span`, scaled to the order of 1."""
    size = max(abs(span.low), abs(span.high))
    scale = size if 0 < size < np.inf else 1.0
    index = add_variable(draft, span.low / scale, span.high / scale)
    return Term({index: scale}, 0.0, span)


def _at_least(draft: Draft, left: Term, right: Term) -> None:
    """Add the constraint `left >= right`."""
    difference = _sum([left, right], (1.0, -1.0), left.span)
    if np.isfinite([*difference.slopes.values(), difference.constant]).all():
        add_row(draft, difference.slopes, -difference.constant, np.inf)


def _product(draft: Draft, a: Term, b: Term, span: Interval) -> Term:
    if _is_point(b.span):
        return _sum([a], (b.span.low,), span)
    if _is_point(a.span):
        return _sum([b], (a.span.low,), span)
    w = _new(draft, span)
    _envelope(draft, w, a, b)
    return w


def _quotient(draft: Draft, a: Term, b: Term, span: Interval) -> Term:
    if _is_point(b.span) and b.span.low != 0:
        return _sum([a], (1 / b.span.low,), span)
    w = _new(draft, span)
    _envelope(draft, a, w, b)
    return w


def _envelope(draft: Draft, w: Term, a: Term, b: Term) -> None:
    """McCormick's envelope of `w = a b`: `(a - a_i) (b - b_j)` is at least 0 at opposite corners, else at most 0."""
    for a_end, b_end, sign in (
        (a.span.low, b.span.low, 1.0),
        (a.span.high, b.span.high, 1.0),
        (a.span.low, b.span.high, -1.0),
        (a.span.high, b.span.low, -1.0),
    ):
        if np.isfinite([a_end, b_end]).all():
            plane = _sum([a, b], (sign * b_end, sign * a_end), w.span, -sign * a_end * b_end)
            _at_least(draft, _sum([w], (sign,), w.span), plane)


def _extreme(draft: Draft, terms: list[Term], sign: int, span: Interval) -> Term:
    """The larger of two terms, or with `sign` -1 the smaller one."""
    w = _new(draft, span)
    for term in terms:
        _at_least(draft, _sum([w], (sign,), span), _sum([term], (sign,), span))
    return w


def _function(draft: Draft, kind: str, terms: list[Term], span: Interval) -> Term:
    """A function of one term, or a constant power of it: between secant and tangents where its curvature is known."""
    a, sign = terms[0], _curvature(kind, terms)
    if _is_point(a.span):
        return Term({}, span.low, span)
    w = _new(draft, span)
    low, high = a.span
    if sign and np.isfinite([low, high, *span]).all():
        function = partial(_at, kind, [term.span.low for term in terms[1:]])
        for line in _lines(function, low, high):
            _at_least(draft, _sum([w], (sign,), span), _sum([a], (sign * line[0],), span, sign * line[1]))
        slope = (function(high) - function(low)) / (high - low)
        secant = _sum([a], (sign * slope,), span, sign * (function(low) - slope * low))
        _at_least(draft, secant, _sum([w], (sign,), span))
    return w


def _lines(function: Callable[[float], float], low: float, high: float) -> list[tuple[float, float]]:
    """Slopes and constants of tangents, by differences within the interval, which stay on the tangent's side.

    Where the function is curved so much that the difference is no tangent, as the square root at 0, there is no line.
    """
    lines, size = [], _DIFFERENCE * (high - low)
    for fraction in _TANGENTS:
        start = low + fraction * (high - low - size)
        first, middle, last = (function(start + share * size) for share in (0.0, 0.5, 1.0))
        if abs(first + last - 2 * middle) <= _STRAIGHT * (1 + abs(middle)):
            slope = (last - first) / size
            lines.append((slope, first - slope * start))
    return lines


def _curvature(kind: str, terms: list[Term]) -> int:
    """+1 where the function is convex on the interval of its operand, -1 where it is concave, otherwise 0."""
    low, high = terms[0].span
    if kind != "**":
        return 1 if kind in _CONVEX else -1 if kind in _CONCAVE and low > 0 else 0
    power = terms[1].span.low
    if low >= 0 and (power >= 0 or low > 0):
        return -1 if 0 < power < 1 else 1
    return 1 if power >= 0 and power % 2 == 0 else (-1 if high <= 0 and power % 2 == 1 and power > 0 else 0)
