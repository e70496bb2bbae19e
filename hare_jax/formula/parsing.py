"""Text to expressions: the syntax tree of Python's parser, of which only arithmetic is accepted."""

import ast
import difflib
import itertools
import keyword
import math
import re
import unicodedata
import warnings
from collections.abc import Collection, Mapping
from typing import NamedTuple

from hare_jax.base import require
from hare_jax.formula.algebra import FUNCTIONS, Expression, build, columns, number

_LONGEST = 1000  # characters
_DEEPEST = 100  # levels: every function of an expression is recursive
_HIGHEST_POWER = 10
_MOST_SHOWN = 10  # names in a message
_QUOTED = re.compile("`[^`]*`")
_SYMBOLS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_SYMBOLS |= {ast.USub: "neg", ast.UAdd: "pos"}


def parse(text: str, names: Collection[str], *, argument: str = "formula") -> Expression:
    """Parse the formula `text` over the columns `names`. Arithmetic of numbers alone is computed.

    Raises:
        ValueError: `text` is too long or too deep, holds anything but arithmetic, an unknown name or no column, a power
            that is no number from -10 to 10, or numbers whose result is not finite.

    >>> parse("debt / (12 * `gross-income`)", ["debt", "gross-income"])
    ('/', ('column', 'debt'), ('*', ('number', 12.0), ('column', 'gross-income')))
    >>> parse("debt / incme", ["debt", "income"])
    Traceback (most recent call last):
    ...
    ValueError: formula: 'incme' is unknown; did you mean income; got 'debt / incme'
    """
    tree, source = _tree(text, names, argument)
    return _with_column(_expression(tree, source), source)


def inequality(text: str, names: Collection[str], *, argument: str = "relation") -> Expression:
    """Parse `left <= right` or `left >= right` to the expression that must be at most 0.

    Raises:
        ValueError: `text` is no single inequality of this kind, or one of its sides is no formula; see `parse`.

    >>> inequality("total >= card", ["card", "total"])
    ('-', ('column', 'card'), ('column', 'total'))
    """
    rule = "must be one inequality, left <= right or left >= right"
    require(isinstance(text, str), argument, rule, text)
    tree, source = _tree(text, names, argument)
    if not isinstance(tree, ast.Compare):
        raise ValueError(f"{argument}: {rule}; got {text!r}")
    source.require(len(tree.ops) == 1, f"{rule}: split a chain")
    sign = type(tree.ops[0])
    source.require(sign not in (ast.Lt, ast.Gt), f"{rule}, not < or >, which differ by rounding only")
    source.require(sign is not ast.Eq, f"{rule}: declare a derived feature for an equality")
    source.require(sign in (ast.LtE, ast.GtE), rule)
    left, right = (_expression(side, source) for side in (tree.left, tree.comparators[0]))
    return _with_column(("-", left, right) if sign is ast.LtE else ("-", right, left), source)


class _Source(NamedTuple):
    """A formula while it is parsed."""

    argument: str
    text: str
    known: Mapping[str, str]  # column of each identifier

    def require(self, ok: bool, rule: str) -> None:
        require(ok, self.argument, rule, self.text)


def _tree(text: str, names: Collection[str], argument: str) -> tuple[ast.expr, _Source]:
    """The syntax tree of `text`, in which identifiers stand for the names in backticks."""
    require(isinstance(text, str) and bool(text.strip()), argument, 'must be a formula such as "debt / income"', text)
    require(len(text) <= _LONGEST, argument, f"must have at most {_LONGEST} characters", text)
    require(text.count("`") % 2 == 0, argument, "must close each backtick", text)
    _, *quoted = text.split("`")
    prefix = "quoted"
    while any(prefix in name for name in (text, *names)):
        prefix += "_"
    known = {unicodedata.normalize("NFKC", name): name for name in names} | {name: name for name in names}
    for index, name in enumerate(quoted[::2]):
        require(name in names, argument, _unknown(name, names), text)
        known[f"{prefix}{index}"] = name
    identifiers = (f" {prefix}{index} " for index in itertools.count())
    plain = _QUOTED.sub(lambda _: next(identifiers), text).strip()
    require("#" not in plain, argument, "must hold # only in names in backticks, as it starts no comment", text)
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(plain, mode="eval").body, _Source(argument, text, known)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{argument}: {_rule(names)}; got {text!r}") from None


def _rule(names: Collection[str]) -> str:
    hint = "" if all(map(_is_plain, names)) else ", names such as `total-debt` in backticks"
    return f"must be arithmetic: columns{hint}, numbers, + - * / ** and {', '.join(sorted(FUNCTIONS))}"


def _unknown(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, names) or [other for other in names if len(name) > 2 and name in other]
    shown = [other if _is_plain(other) else f"`{other}`" for other in near or names]
    more = ", ..." if len(shown) > _MOST_SHOWN else ""
    listed = ", ".join(shown[:_MOST_SHOWN]) + more
    return f"{name!r} is unknown; " + (f"did you mean {listed}" if near else f"use {listed}")


def _is_plain(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _with_column(expression: Expression, source: _Source) -> Expression:
    source.require(len(columns(expression)) > 0, "must name a column")
    return expression


def _expression(node: ast.expr, source: _Source, depth: int = 0) -> Expression:
    """The expression of a syntax tree."""
    names = dict.fromkeys(source.known.values())
    source.require(depth <= _DEEPEST, f"must be nested at most {_DEEPEST} deep")
    if isinstance(node, ast.Constant):
        is_number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        source.require(is_number, _rule(names))
        return _finite(number(node.value), source)
    if isinstance(node, ast.Name):
        source.require(node.id in source.known, _unknown(node.id, names))
        return ("column", source.known[node.id])
    kind, operands = _operation(node)
    source.require(bool(kind), _rule(names))
    parts = [_expression(operand, source, depth + 1) for operand in operands]
    if kind == "**":
        rule = f"must have powers that are numbers from -{_HIGHEST_POWER} to {_HIGHEST_POWER}"
        source.require(parts[1][0] == "number" and abs(parts[1][1]) <= _HIGHEST_POWER, rule)
    return parts[0] if kind == "pos" else _finite(build(kind, *parts), source)


def _finite(expression: Expression, source: _Source) -> Expression:
    source.require(expression[0] != "number" or math.isfinite(expression[1]), "must have finite numbers")
    return expression


def _operation(node: ast.expr) -> tuple[str, list[ast.expr]]:
    """Symbol or function of a node, and its operands; "" for anything but arithmetic."""
    if isinstance(node, ast.BinOp):
        return _SYMBOLS.get(type(node.op), ""), [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return _SYMBOLS.get(type(node.op), ""), [node.operand]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        fits = FUNCTIONS.get(node.func.id) == len(node.args) and not node.keywords
        return node.func.id if fits else "", node.args
    return "", []
