"""`hare-jax ask`: a session in the terminal."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from hare_jax.app import tables
from hare_jax.app.commands.explain import explainer_of
from hare_jax.app.compiling import uncollected
from hare_jax.app.explainer import Explainer
from hare_jax.app.explainer.judging import complete, encode, judge
from hare_jax.app.session import Session, file_rules, saving
from hare_jax.app.terminal import Conversation, Reader, applicant, plain
from hare_jax.base import choose, require
from hare_jax.elicit import ELICITORS
from hare_jax.recourse import METHODS

_ELICITOR, _QUESTIONS = "bayes", 30
_SHARE_LOADED = 0.2  # of the preparation
_OF_THE_FILE = ("row", "elicitor", "base", "questions")  # options that --resume replaces


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ask(tables.TableOptions):
    """Answer for yourself: which of two changes would you rather make to be accepted?

    Shows the row of a person whom the model refuses, asks, and ends with the change that suits them best. By default
    the person is the first refused test row of the mortgage data, and the built-in classifier decides.
    """

    file: Annotated[str, tyro.conf.arg(name="csv", metavar="FILE.csv|NAME")] = "mortgage"
    """CSV file with a line of column names; or a data set, as listed by `hare-jax data list`, for its test rows."""
    row: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Number of the row, from 1, as `hare-jax explain` counts them; by default the first that the model refuses."""
    elicitor: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Who chooses the questions, as listed by `hare-jax elicitors`; by default bayes."""
    base: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Method of the first recourse, as listed by `hare-jax methods`; by default that of `hare_jax.Explainer`."""
    questions: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Largest number of questions; by default 30."""
    save: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File for the session, written after each answer; by default that of --resume."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File of a session to go on with; give the same data and model again."""


def run_command(options: Ask, console: Console) -> None:
    """Prepare with progress, show the row, and ask."""
    check(options)
    columns = TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.elapsed:.0f} s")
    with uncollected(), Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Loading", total=1)
        session = prepared(options, lambda share, stage: bar.update(task, completed=share, description=stage))
    if console.is_terminal:
        console.width = min(console.width, Console().width)
    console.print(plain(_about(options, session)), "", applicant(session.explainer, session.row))
    Conversation(session, console, Reader(), options.save or options.resume).run()


def check(options: Ask) -> None:
    """Raise a `ValueError` if an option is invalid, before any data is loaded."""
    tables.check(options)
    choose("elicitor", options.elicitor or _ELICITOR, ELICITORS)
    if options.base is not None:
        choose("base", options.base, METHODS)
    few = options.questions is None or 1 <= options.questions <= file_rules.MOST_QUESTIONS
    require(few, "questions", f"must be from 1 to {file_rules.MOST_QUESTIONS:,}", options.questions)
    given = [name for name in _OF_THE_FILE if getattr(options, name) is not None]
    require(options.resume is None or not given, "resume", f"has its own {', '.join(given)}", str(options.resume))
    save, resume = options.save, options.resume
    new = save is None or not save.exists() or (resume is not None and resume.exists() and save.samefile(resume))
    require(new, "save", "must be a new file, or that of --resume", str(save))
    require(save is None or save.parent.is_dir(), "save", "must be in a folder that exists", str(save))


def prepared(options: Ask, progress: Callable[[float, str], Any]) -> Session:
    """The session of the options, ready for its first question; `progress(share, stage)`."""
    if options.resume is None:
        explainer, rows = _loaded(options, options.base, progress)
        row, questions = row_of(options, explainer, rows), options.questions or _QUESTIONS
        given = explainer, None, row, options.elicitor or _ELICITOR
        session = Session(*given, seed=options.seed, questions=questions, base=options.base)
    else:
        text = saving.read(options.resume)
        found = file_rules.parsed(text)
        explainer, _ = _loaded(dataclasses.replace(options, seed=found["seed"]), found["method"], progress)
        session = Session.from_json(text, explainer)
    rest = 1 - _SHARE_LOADED
    session.prepare(lambda share, stage: progress(_SHARE_LOADED + rest * share, stage.capitalize()), wait=False)
    return session


def _loaded(options: Ask, method: str | None, progress: Callable[[float, str], Any]) -> tuple[Explainer, pd.DataFrame]:
    """The explainer, and the rows by their numbers."""
    loaded = tables.load(options, held_out=False)
    progress(_SHARE_LOADED / 2, "Preparing the model")
    return explainer_of(options, loaded.table, method), loaded.frame


def row_of(options: Ask, explainer: Explainer, rows: pd.DataFrame) -> pd.DataFrame:
    """The row with the number of the options, or the first that the model refuses."""
    if options.row is not None:
        rule = f"must be the number of a row, from {rows.index[0]} to {rows.index[-1]}"
        require(options.row in rows.index, "row", rule, options.row)
        return rows.loc[[options.row]]
    full = complete(explainer.table, rows, encode(explainer.table, rows))
    refused = np.flatnonzero(~(judge(explainer.logit_fn, explainer.table, full) >= 0))
    require(len(refused) > 0, "file", "must have a row that the model refuses", f"{len(rows):,} rows")
    return rows.iloc[refused[:1]]


def _about(options: Ask, session: Session) -> str:
    """The first line; the file of a session does not have the number of its row."""
    which = f", row {session.row.name}" if options.resume is None else ""
    return f"{session.explainer.table.name}{which}: this person is refused. Which change would you rather make?"
