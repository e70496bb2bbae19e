"""What the widget shows, as HTML: the texts of `session.texts`, escaped."""

from html import escape

import pandas as pd

from hare_jax.app.explainer import Explainer
from hare_jax.app.session import Asked, Best, Exploration, texts
from hare_jax.app.session.texts import Grid

_LEFT, _RIGHT, _HEAD = "text-align:left", "text-align:right", "border-bottom:1px solid"
_NUM_PLAIN = 2  # columns: the feature, its present value


def table(grid: Grid) -> str:
    """A table, whose sections a line separates."""
    rows = "".join(
        _row(cells, "border-top:1px solid" if number and not at else "")
        for number, section in enumerate(grid.sections)
        for at, cells in enumerate(section)
    )
    heads = "".join(f'<th scope="col" style="{_RIGHT};padding:0 1em">{escape(text)}</th>' for text in grid.headings)
    return f'<table><thead><tr style="{_HEAD}">{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _row(cells: list[str], style: str) -> str:
    first, *others = (escape(cell) for cell in cells)
    shown = "".join(
        f'<td style="{_RIGHT};padding:0 1em">{cell if at < _NUM_PLAIN or cell == texts.SAME else f"<b>{cell}</b>"}</td>'
        for at, cell in enumerate(others, 1)
    )
    return f'<tr style="{style}"><th scope="row" style="{_LEFT};font-weight:normal">{first}</th>{shown}</tr>'


def lines(parts: list[str]) -> str:
    """A paragraph for each text."""
    return "".join(f"<p>{escape(part)}</p>" for part in parts)


def question(explainer: Explainer, row: pd.Series, asked: Asked) -> str:
    """The options side by side."""
    grid = table(texts.options(explainer, row, asked))
    return f"<h4>{escape(texts.title(asked))}</h4>{grid}{lines([texts.SAME_EXPLAINED])}"


def so_far(best: Best) -> str:
    """The present recommendation."""
    return lines(texts.so_far(best).split("\n"))


def final(explainer: Explainer, row: pd.Series, best: Best) -> str:
    """The recommendation as sentences, a table of before and after, and how sure it is."""
    if not best.valid:
        return lines([texts.NOTHING_LEFT])
    items = "".join(f"<li>{escape(text)}</li>" for text in texts.sentences(best.option))
    grid = table(texts.before_after(explainer, row, best.option))
    return f"<h4>What to change</h4><ul>{items}</ul>{grid}{lines(texts.certainty(best))}"


def exploration(found: Exploration, *, counted: bool) -> str:
    """The answer to a proposal."""
    return lines(texts.exploration(found, counted=counted))
