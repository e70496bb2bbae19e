"""The ten tables of the paper (HARE, TMLR 2025) as data: each varies one field over a grid of experiments."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.specs import MODELS, Spec, check, named_methods
from hare_jax.base import choose, require

PAPER_METHODS = ("wachter", "growing_spheres", "face", "cchvae", "clue", "cruds")
THREE_METHODS = PAPER_METHODS[:3]
PAPER_ARMS = ("base", "random", "single", "multi")
DATASETS = ("adult", "compas", "give_me_some_credit", "heloc")


class Table(NamedTuple):
    """The field that a table varies, and the grid; all other fields have the defaults of `Spec`."""

    title: str
    arms: tuple[str, ...]
    varies: str = "arm"  # a field of `Spec`
    levels: tuple[Any, ...] = ()  # values of that field, unless it is another field of this class
    methods: tuple[str, ...] = THREE_METHODS
    models: tuple[str, ...] = ("mlp",)
    person: str = "ideal"
    main: bool = False  # its page compares base methods and all arms with the original
    runs_of: str = ""  # the table whose runs it shows; by default its own


class Choice(NamedTuple):
    """The subset of a table to run; None stands for all values of the table."""

    datasets: Sequence[str] | None = None
    models: Sequence[str] | None = None
    methods: Sequence[str] | None = None  # or only `all`
    arms: Sequence[str] | None = None
    levels: Sequence[Any] | None = None
    seeds: Sequence[int] = (1, 2, 3, 4, 5)
    users: int = 100
    mode: str = "paper"


_MAIN = Table(
    "every base method, alone and with each arm of HARE",
    PAPER_ARMS,
    methods=PAPER_METHODS,
    models=tuple(MODELS),
    main=True,
)
TABLES = {
    "table1": _MAIN,
    "table2": Table("K questions in one round", ("single",), "budget", (10, 30, 70, 100, 150, 500)),
    "table3": Table("candidates in each of many rounds, K = 30", ("multi",), "per_round", (1, 3, 5, 6, 10)),
    "table4": _MAIN._replace(title="standard metrics of the runs of table 1", runs_of="table1"),
    "table5": Table(
        "boundary search for every candidate, or only for the winner", ("multi",), "boundary", ("all", "winner")
    ),
    "table6": Table(
        "near, intermediate and far ideals", PAPER_ARMS, "ideal", ("near", "intermediate", "far"), models=tuple(MODELS)
    ),
    "table7": Table(
        "people with hidden cost weights", ("base", "single", "multi"), models=tuple(MODELS), person="weights"
    ),
    "table8": Table(
        "answers flipped with a constant probability", ("multi",), "noise", ("0", "0.01", "0.05", "0.1", "0.2")
    ),
    "table9": Table("answers flipped with logistic probability", ("multi",), "noise", ("0", "logistic")),
    "table10": Table("few questions in one round", ("single",), "budget", (1, 2, 3, 4, 5, 6, 7, 8, 9, 30)),
}


def specs(name: str, choice: Choice) -> list[Spec]:
    """The experiments whose rows one table shows, restricted to `choice`.

    Raises:
        ValueError: the table is unknown, or the choice is invalid.
    """
    choose("table", name, TABLES)
    table = TABLES[name]
    levels = table.levels if choice.levels is None else _levels(name, table, choice.levels)
    cells = itertools.product(
        choice.datasets or DATASETS,
        choice.models or table.models,
        choice.seeds,
        named_methods(choice.methods or table.methods),
        levels or (None,),
        choice.arms or table.arms,
    )
    shared: dict[str, Any] = {
        "table": table.runs_of or name,
        "person": table.person,
        "mode": choice.mode,
        "users": choice.users,
    }
    found = []
    for dataset, model, seed, method, value, arm in cells:
        varied = {table.varies: value} if levels else {}
        if table.varies == "budget":
            varied["per_round"] = min(value, Spec.per_round)
        found.append(check(Spec(dataset=dataset, model=model, seed=seed, method=method, arm=arm, **varied, **shared)))
    require(len(found) > 0, "options", "must leave at least one experiment", choice)
    return found


def _levels(name: str, table: Table, given: Sequence[Any]) -> tuple[Any, ...]:
    """The levels `given`, converted to the type of the table's levels."""
    require(len(table.levels) > 0, "levels", f"{name} varies nothing except methods and arms", given)
    as_type = type(table.levels[0])
    for level in given:
        require(as_type is str or str(level).isdigit(), "levels", f"{name} varies whole numbers", level)
    return tuple(map(as_type, given))
