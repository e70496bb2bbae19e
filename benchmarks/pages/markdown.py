"""Tables in Markdown. A number that is NaN is an empty cell."""

from collections.abc import Iterable, Sequence
from typing import Any


def table(names: Sequence[Any], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a table with a column for each of `names`."""
    return [*header(names), *map(line, rows)]


def header(names: Sequence[Any]) -> list[str]:
    """The line of the names of the columns, and the one below it."""
    return [line(names), "|" + "---|" * len(names)]


def line(cells: Iterable[Any]) -> str:
    """One line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def number(value: float) -> str:
    """A number with three decimals."""
    return "" if value != value else f"{value:.3f}"


def share(value: float) -> str:
    """A share in percent."""
    return "" if value != value else f"{value:.1%}".replace("%", " %")
