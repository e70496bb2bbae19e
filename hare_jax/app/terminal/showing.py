"""What a terminal shows: a row, a question, a recommendation, a proposal: the texts of `session.texts` with rich."""

import unicodedata
from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hare_jax.app.explainer import Explainer
from hare_jax.app.session import Asked, Best, Exploration, texts
from hare_jax.app.session.texts import Grid
from hare_jax.data.schema import Feature

_NUM_PLAIN = 2  # columns: the feature, its present value


def plain(shown: str, style: str = "") -> Text:
    """A text without control characters: labels and categories of a file could hold escape sequences."""
    return Text("".join(one for one in shown if one == "\n" or unicodedata.category(one) != "Cc"), style=style)


def _table(grid: Grid) -> Table:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in grid.headings:
        found.add_column(plain(heading), justify="right" if heading else "left")
    for rows in grid.sections:
        for row in rows:
            bold = ["bold" if at >= _NUM_PLAIN and cell != texts.SAME else "" for at, cell in enumerate(row)]
            found.add_row(*(plain(cell, style=style) for cell, style in zip(row, bold, strict=True)))
        found.add_section()
    return found


def applicant(explainer: Explainer, row: pd.Series) -> RenderableType:
    """The person's row."""
    return _table(texts.applicant(explainer, row))


def question(explainer: Explainer, row: pd.Series, asked: Asked) -> RenderableType:
    """The options side by side."""
    grid = _table(texts.options(explainer, row, asked))
    return Group(plain(texts.title(asked), style="bold"), grid, plain(texts.SAME_EXPLAINED))


def so_far(best: Best) -> RenderableType:
    """The present recommendation."""
    return plain(texts.so_far(best))


def final(explainer: Explainer, row: pd.Series, best: Best) -> RenderableType:
    """The recommendation as sentences, a table of before and after, and how sure it is."""
    if not best.valid:
        return plain(texts.NOTHING_LEFT)
    head = plain("What to change", style="bold"), plain("\n".join(texts.sentences(best.option)))
    return Group(
        *head, _table(texts.before_after(explainer, row, best.option)), plain("\n".join(texts.certainty(best)))
    )


def exploration(found: Exploration, *, counted: bool) -> RenderableType:
    """The answer to a proposal."""
    return plain("\n".join(texts.exploration(found, counted=counted)))


def numbered(explainer: Explainer, features: Sequence[Feature]) -> RenderableType:
    """The features with their values, by their numbers."""
    return plain("\n".join(f"{number:>3}  {texts.domain(explainer, one)}" for number, one in enumerate(features, 1)))
