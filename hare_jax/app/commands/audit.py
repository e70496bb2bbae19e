"""`hare-jax audit`: who is refused, who has no recourse, and what it costs, by group."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.text import Text

from hare_jax.app import tables
from hare_jax.app.auditing import report, run
from hare_jax.base import choose, require
from hare_jax.recourse import METHODS

_METHOD = (  # tyro keeps the line breaks of a docstring
    "Method of the recourse, as listed by `hare-jax methods`; by default least_cost, and growing_spheres for a model "
    "file. exact takes up to 10 seconds a row."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit(tables.TableOptions):
    """Compare groups: the shares refused and without recourse, the cost of recourse, and the price of a logit.

    Each figure has a 95 % interval, and the difference to all other rows with a test. Without a model file, three
    quarters of the rows train the built-in classifier, and the others are audited.
    """

    by: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN...")]
    """Columns of FILE whose values are the groups, and their intersections; of numbers with cut points: age:40,65."""
    method: Annotated[str | None, tyro.conf.arg(metavar="NAME", help=_METHOD)] = None
    price: bool = True
    """Compute the price of a logit, the derivative of the cost in the margin, which doubles the time."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder for the files audit.csv, rows.csv and audit.png."""


def run_command(options: Audit, console: Console) -> None:
    """Audit, write the files, and print the tables; in this order, so that a closed pipe loses no file."""
    tables.check(options)
    require(len(options.by) > 0, "by", "must name one or more columns", options.by)
    if options.method is not None:
        choose("method", options.method, METHODS)
    with Console(stderr=True).status("Load the rows") as status:
        loaded = tables.load(options, held_out=True)
        status.update(f"Audit {len(loaded.frame):,} rows")
        found = run.run(options, loaded, options.by, options.method, prices=options.price)
    written = [] if options.out is None else report.write(options.out, found)
    report.show(console, found)
    for path in written:
        console.print(Text(f"Wrote {path}"))
