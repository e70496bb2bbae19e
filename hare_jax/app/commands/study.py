"""`hare-jax study`: people answer on web pages, in arms assigned at random; their answers are kept and exported."""

import contextlib
import dataclasses
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hare_jax.app import interrupts
from hare_jax.app.options import Cache
from hare_jax.app.study import analysis, exporting, facts, reading, setting
from hare_jax.app.study.conduct import Conduct
from hare_jax.app.study.database import Database
from hare_jax.app.study.sessions import Sessions
from hare_jax.app.study.store import Store
from hare_jax.app.web import address
from hare_jax.base import require


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Run a study: a web page where people answer, until Ctrl-C. The same command goes on after any end."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.toml")]
    """TOML file of the study: `hare-jax study example` prints one."""
    db: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """SQLite file of the answers; a new one, or that of this study."""
    host: str = "127.0.0.1"
    """Address to listen at: by default only this computer is answered. 0.0.0.0 is everybody who reaches it."""
    port: int = 8000
    """Port to listen at."""
    names: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Names under which the page is reached from elsewhere, such as study.example.org."""
    cache: Cache = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """Write the answers and the people of a study as CSV files, with the analysis by arm, which is printed, too."""

    db: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """SQLite file of the answers; the study may be running."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """Folder for answers.csv, people.csv and analysis.csv."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """Print the TOML file of a study that runs as it is, with comments on each key."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Run a study with many people, and export their answers."""

    action: (
        Annotated[Run, tyro.conf.subcommand("run")]
        | Annotated[Export, tyro.conf.subcommand("export")]
        | Annotated[Example, tyro.conf.subcommand("example")]
    )


def run_command(options: Study, console: Console) -> None:
    """Run, export or print the example."""
    _ACTIONS[type(options.action)](options.action, console)


def _example(options: Example, console: Console) -> None:
    console.file.write(reading.EXAMPLE.read_text("utf-8"))


def _run(options: Run, console: Console) -> None:
    """Check everything, and serve the pages."""
    _check(options)
    study = reading.read(options.file)
    from hare_jax.app.web.serve import listening

    opened = listening(options.host, options.port)
    database = Database(options.db, create=True)
    with interrupts.cleaned_by(database.close):  # no log is left beside the file
        with Console(stderr=True).status("Load the data and the model"):
            found, store = setting.load(study), Store(database)
            secret = facts.agreed(store, study, found)
        conduct = Conduct(study, store, Sessions(study, found, store))
        link = address.link(options.host, options.port, options.names)
        console.print(Text(f"{study.title}: {link} (Ctrl-C ends it; answers: {options.db})"))
        database.purge()  # of people who withdrew when it was in use
        _serve(conduct, secret, options, opened)
    interrupts.leave()


def _check(options: Run) -> None:
    address.check("study", options.port)
    known = bool(options.names) or not address.is_any(options.host)
    require(known, "names", "must name the address of the page where --host is everybody", options.host)


def _serve(conduct: Conduct, secret: str, options: Run, opened: socket.socket) -> None:
    from hare_jax.app.study.site import Tokens, build
    from hare_jax.app.web.serve import serve

    serve(build(conduct, Tokens(secret), address.hosts_of(options.host, options.names)), opened)


def _export(options: Export, console: Console) -> None:
    with contextlib.closing(Database(options.db)) as database:
        found = exporting.tables(database)
    figures = analysis.analyse(found)
    frames = {"answers": found.answers, "people": found.people, "analysis": figures}
    for path in exporting.write(options.out, frames):
        console.print(Text(f"Wrote {path}"))
    console.print(_table(figures), Text(analysis.NOTE))


def _table(figures: pd.DataFrame) -> Table:
    """A row a figure, a column an arm."""
    grid = Table(box=box.SIMPLE_HEAD)
    arms = list(dict.fromkeys(figures["arm"]))
    for heading in ("", *arms):
        grid.add_column(Text(heading), justify="right" if heading else "left")
    for name, rows in figures.groupby("figure", sort=False):
        by_arm = rows.set_index("arm")
        grid.add_row(Text(str(name)), *(Text(_shown(by_arm.loc[arm])) for arm in arms))
    return grid


def _shown(row: Any) -> str:
    """A figure with its interval and its number of people."""
    if not row["n"]:
        return "-"
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['value']:.2f}{interval} (n {row['n']})"


_ACTIONS: dict[type, Callable[[Any, Console], None]] = {Run: _run, Export: _export, Example: _example}
