"""The ten tables of the paper (HARE, TMLR 2025) as data: each is a list of experiments that differ in little."""

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
    """What a table varies, and over what; the rest of each experiment is `Spec`'s default."""

    title: str
    arms: tuple[str, ...]
    varies: str = "arm"  # the field of `Spec` that the table is about
    levels: tuple[Any, ...] = ()  # of it, where it isn't one of the others here
    methods: tuple[str, ...] = THREE_METHODS
    models: tuple[str, ...] = ("mlp",)
    person: str = "ideal"
    main: bool = False  # its page compares base methods and all arms with the original


class Choice(NamedTuple):
    """What a table is narrowed to; None leaves the table's own."""

    datasets: Sequence[str] | None = None
    models: Sequence[str] | None = None
    methods: Sequence[str] | None = None  # or `all` alone
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
    "table4": _MAIN._replace(title="the usual metrics of the runs of table 1"),
    "table5": Table(
        "boundary search for every candidate, or for the winner", ("multi",), "boundary", ("all", "winner")
    ),
    "table6": Table(
        "ideals near, further and far", PAPER_ARMS, "ideal", ("near", "intermediate", "far"), models=tuple(MODELS)
    ),
    "table7": Table(
        "people who answer by hidden cost weights", ("base", "single", "multi"), models=tuple(MODELS), person="weights"
    ),
    "table8": Table("answers flipped at random", ("multi",), "noise", ("0", "0.01", "0.05", "0.1", "0.2")),
    "table9": Table("answers flipped by logistic noise", ("multi",), "noise", ("0", "logistic")),
    "table10": Table("few questions in one round", ("single",), "budget", (1, 2, 3, 4, 5, 6, 7, 8, 9, 30)),
}


def specs(name: str, choice: Choice) -> list[Spec]:
    """The experiments of one table, narrowed to `choice`.

    Raises:
        ValueError: no such table, or a choice that no experiment can have.
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
    shared: dict[str, Any] = {"table": name, "person": table.person, "mode": choice.mode, "users": choice.users}
    found = []
    for dataset, model, seed, method, value, arm in cells:
        varied = {table.varies: value} if levels else {}
        if table.varies == "budget":
            varied["per_round"] = min(value, Spec.per_round)
        found.append(check(Spec(dataset=dataset, model=model, seed=seed, method=method, arm=arm, **varied, **shared)))
    require(len(found) > 0, "options", "must leave at least one experiment", choice)
    return found


def _levels(name: str, table: Table, given: Sequence[Any]) -> tuple[Any, ...]:
    """The levels `given`, of the type that those of the table have."""
    require(len(table.levels) > 0, "levels", f"{name} varies nothing but methods and arms", given)
    as_type = type(table.levels[0])
    for level in given:
        require(as_type is str or str(level).isdigit(), "levels", f"{name} varies whole numbers", level)
    return tuple(map(as_type, given))
