"""`hare-jax methods`: the recourse methods, and their hyperparameters."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hare_jax.base import choose
from hare_jax.hyperparams import typed_fields
from hare_jax.recourse import METHODS, nothing_to_fit

_FIT_WIDTH = 24  # characters: leaves enough width for the URLs of the sources


@dataclasses.dataclass(frozen=True)
class Methods:
    """List the recourse methods, or the hyperparameters of the given ones."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME...", help_behavior_hint="")
    ] = ()
    """Methods whose hyperparameters to show."""


def run_command(options: Methods, console: Console) -> None:
    """List the methods, or the hyperparameters of those named."""
    console.print(_list_hyperparameters(options.names) if options.names else _list_methods())


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
