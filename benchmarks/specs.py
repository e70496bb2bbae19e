"""What an experiment is, and the tables of the paper as lists of experiments."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from hare_jax.base import choose, require
from hare_jax.data import SOURCES
from hare_jax.recourse import METHODS
from hare_jax.users import DISTANCES

MODELS = {"mlp": (10, 5, 10), "linear": ()}
ARMS = ("base", "random", "single", "multi")
MODES = ("feasible", "paper")
PAPER_METHODS = ("wachter", "growing_spheres", "face", "cchvae", "clue", "cruds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """One cell of a table, for one seed. Its fields are the key of its row of results."""

    table: str
    dataset: str
    model: str
    method: str
    arm: str
    person: str = "ideal"
    ideal: str = "far"
    budget: int = 30
    per_round: int = 5
    noise: str = "0"
    mode: str = "feasible"
    seed: int = 1
    users: int = 100


class Choice(NamedTuple):
    """What a table's rows are narrowed to; None leaves the table's own."""

    datasets: Sequence[str] | None = None
    models: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    arms: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    users: int = 100
    paper: bool = False


def table1(choice: Choice) -> list[Spec]:
    """The paper's methods, alone and with each arm of HARE: far ideals, K = 30, five candidates a round."""
    cells = itertools.product(
        choice.datasets or ("adult", "compas", "give_me_some_credit", "heloc"),
        choice.models or tuple(MODELS),
        choice.seeds or (1, 2, 3, 4, 5),
        choice.methods or PAPER_METHODS,
        choice.arms or ARMS,
    )
    shared: dict[str, Any] = {"table": "table1", "mode": MODES[int(choice.paper)], "users": choice.users}
    return [
        check(Spec(dataset=dataset, model=model, seed=seed, method=method, arm=arm, **shared))
        for dataset, model, seed, method, arm in cells
    ]


TABLES = {"table1": table1}


def check(spec: Spec) -> Spec:
    """Return `spec`, or raise a `ValueError` that names what is wrong with it."""
    choose("datasets", spec.dataset, SOURCES)
    choose("models", spec.model, MODELS)
    choose("methods", spec.method, METHODS)
    choose("arms", spec.arm, ARMS)
    choose("ideal", spec.ideal, DISTANCES)
    require(spec.users > 0, "users", "must be at least 1", spec.users)
    require(spec.budget >= spec.per_round > 0, "budget", "must hold at least one round", (spec.budget, spec.per_round))
    return spec
