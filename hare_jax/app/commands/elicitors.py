"""`hare-jax elicitors`: the elicitors, and the kinds of simulated people."""

import dataclasses

from rich import box
from rich.console import Console
from rich.table import Table

from hare_jax.elicit import ELICITORS
from hare_jax.people import PERSONS


@dataclasses.dataclass(frozen=True)
class Elicitors:
    """List the elicitors, and the kinds of simulated people."""


def run_command(options: Elicitors, console: Console) -> None:
    """List both."""
    console.print(_list_elicitors(), _list_persons())


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
