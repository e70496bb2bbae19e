"""`hare-jax explain`: recourse for the rows of a CSV file."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hare_jax import data
from hare_jax.app import tables
from hare_jax.app.explainer import Explainer, Explanation
from hare_jax.base import choose, require
from hare_jax.recourse import METHODS

_INDEX = "row"  # first column of the CSV file: the number of the row in FILE, from 1
_ADDED = ("valid", "cost", "reason", "recourse")  # its last columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explain(tables.TableOptions):
    """Recourse for the rows that a model refuses: what to change, in original units.

    Prints the first rows, and writes all of them to a CSV file. Without a model file, the built-in classifier is
    trained on the rows of FILE, or on those of --train.
    """

    method: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Method, as listed by `hare-jax methods`; by default that of `hare_jax.Explainer`."""
    rows: Literal["refused", "all"] = "refused"
    """Which rows to write: those refused, or all, of which the accepted ones are unchanged."""
    show: int = 10
    """Rows to print."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """CSV file for the rows after the recourse. Column row is the number of the data row in FILE: 1 is the row below
    the column names. The columns valid, cost, reason and recourse are added."""
    save: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File for the explainer, to be loaded by `hare_jax.Explainer.load`."""


def run_command(options: Explain, console: Console) -> None:
    """Explain, print the first rows, and write the files."""
    tables.check(options)
    require(options.show >= 0, "show", "must be at least 0", options.show)
    if options.method is not None:
        choose("method", options.method, METHODS)
    with Console(stderr=True).status("Load the rows") as status:
        loaded = tables.load(options, held_out=False)
        taken = [name for name in (_INDEX, *_ADDED) if options.out is not None and name in loaded.frame]
        require(
            not taken,
            options.file,
            f"must not have the columns {', '.join((_INDEX, *_ADDED))}, which --out adds",
            taken,
        )
        status.update("Prepare the model")
        explainer = explainer_of(options, loaded.table, options.method)
    explanation = explainer.explain(loaded.frame)
    _show(console, options, loaded, explanation)
    if options.out is not None:
        written(explanation, options.rows).to_csv(options.out, index_label=_INDEX)
        console.print(Text(f"Wrote {options.out}"))
    if options.save is not None:
        explainer.save(options.save)
        console.print(Text(f"Wrote {options.save}"))


def written(explanation: Explanation, rows: str) -> pd.DataFrame:
    """The rows after the recourse, `"refused"` or `"all"`, with the columns that are added."""
    added = (explanation.valid, explanation.cost, explanation.reason, explanation.sentences())
    frame = explanation.frame.assign(**{name: one.to_numpy() for name, one in zip(_ADDED, added, strict=True)})
    return frame[_is_refused(explanation)] if rows == "refused" else frame


def explainer_of(options: tables.TableOptions, table: data.Table, method: str | None) -> Explainer:
    """The explainer of the model of the options."""
    if options.model is None:
        return Explainer(tables.classifier(options, table), table, method, seed=options.seed)
    model, keywords = tables.model_of(options, table)
    return Explainer(model, table, method, seed=options.seed, **keywords)


def _is_refused(explanation: Explanation) -> pd.Series:
    return ~(explanation.score["before"] >= 0)


def _show(console: Console, options: Explain, loaded: tables.Loaded, explanation: Explanation) -> None:
    """Print the counts of the reasons, and the first rows with their changes."""
    refused = _is_refused(explanation).to_numpy()
    explainer = explanation.explainer
    counts = explanation.reason[refused].value_counts()
    told = "; ".join(f"{count:,} {reason}" for reason, count in counts.items())
    about = f"{len(refused):,} {loaded.described}, of which {explainer.logit_fn} refuses {refused.sum():,}"
    console.print(Text(f"{about}; method: {explainer.method}. {told}"))
    grid = Table(box=box.SIMPLE_HEAD)
    for heading in ("row", "cost", "recourse"):
        grid.add_column(heading, justify="left" if heading == "recourse" else "right")
    shown = (refused | (options.rows == "all")).nonzero()[0]
    for at in shown[: options.show]:
        cost = explanation.cost.iloc[at]
        texts = (
            str(explanation.frame.index[at]),
            "" if pd.isna(cost) else f"{cost:.3g}",
            explanation.sentences().iloc[at],
        )
        grid.add_row(*map(Text, texts))
    if options.show and len(shown):
        console.print(grid)
    if len(shown) > options.show:
        console.print(Text(f"{min(options.show, len(shown)):,} of {len(shown):,} rows; --out FILE.csv writes all"))
