"""Specifications of experiments: frozen dataclasses, whose fields are the key of a row of results."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from benchmarks import noise
from hare_jax.base import choose, require
from hare_jax.data import SOURCES
from hare_jax.elicit import ELICITORS
from hare_jax.people import DISTANCES, PERSONS
from hare_jax.recourse import METHODS

MODELS = {"mlp": (10, 5, 10), "linear": ()}
MODES = ("feasible", "paper")
BOUNDARIES = ("all", "winner")
REASONS = ("kink", "other_minimum", "unexplained")  # of a derivative that differs from the repeated search
QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}  # of the metrics of a streamed population, by suffix
BASE = "base"  # the arm without an elicitor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """One cell of a table, for one seed."""

    table: str
    dataset: str
    model: str
    method: str
    arm: str  # `base` or a row of `ELICITORS`; the experiment `preferences` has arms of its own
    person: str = "ideal"
    ideal: str = "far"
    budget: int = 30
    per_round: int = 5
    noise: str = "0"  # a name of `noise.parse`, such as the probability of a flipped answer
    boundary: str = "all"  # candidates moved to the boundary: all of them before comparison, or the winner afterwards
    mode: str = "feasible"
    seed: int = 1
    users: int = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedSpec:
    """One stage of a pipeline, timed on one device."""

    table: str = "speed"
    dataset: str
    stage: str
    method: str  # the base method timed, or the one whose recourses the stage starts from
    users: int
    budget: int
    per_round: int
    seed: int
    device: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientSpec:
    """A gradient through a method or the pipeline, or a classifier trained with one; timed on one device."""

    table: str = "gradients"
    experiment: str  # "method", "repeated search", "end to end" or "training"
    dataset: str
    seed: int
    users: int
    candidates: int = 0  # end to end: number that each user compares
    method: str = ""  # method, repeated search: a row of `METHODS`
    model: str = "mlp"
    classifiers: int = 1  # end to end: number with `users` each, in one program
    recourse_weight: float = 0.0  # training: weight of the cost of recourse in the loss
    device: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamSpec(Spec):
    """A streamed population of users with their own refused rows, drawn from those of the test set."""

    table: str = "stream"
    chunk: int
    processes: int
    devices: int  # of each process
    device: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobustnessSpec(Spec):
    """Recourses of one method or elicitor, judged by retrained classifiers."""

    table: str = "robustness"
    others: int = 0  # retrained classifiers that have to accept a recourse, besides the classifier itself
    retrained: int = 50  # of each kind, that judge it


_SPECS: dict[str, type] = {
    "speed": SpeedSpec,
    "gradients": GradientSpec,
    "robustness": RobustnessSpec,
    "stream": StreamSpec,
}  # by table; `Spec` for all others


def spec_fields(table: str) -> tuple[dataclasses.Field, ...]:
    """The fields of the specs of `table`."""
    return dataclasses.fields(_SPECS.get(table, Spec))


def spec_values(row: dict[str, Any]) -> list[Any]:
    """The values of the fields of a row's spec; a field that the row lacks has its default."""
    return [row.get(field.name, field.default) for field in spec_fields(row["table"])]


def arms() -> tuple[str, ...]:
    """The arms of a table: the base method, and each elicitor, which starts from its recourse."""
    return (BASE, *ELICITORS)


def named_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """Names of base methods; `all` as the only name stands for every row of `METHODS`.

    Raises:
        ValueError: a method is unknown.
    """
    names = tuple(METHODS) if tuple(methods) == ("all",) else tuple(methods)
    for name in names:
        require(name in METHODS, "methods", f"must be all, or among {', '.join(METHODS)}", name)
    return names


def not_empty(**options: Sequence[Any]) -> None:
    """Raise a `ValueError` if an option is an empty sequence."""
    for name, given in options.items():
        require(len(given) > 0, name, "must hold at least one", given)


def check(spec: Spec, arms_allowed: Sequence[str] | None = None) -> Spec:
    """Return `spec` if it is valid; `arms_allowed` is `arms()` by default.

    Raises:
        ValueError: a name is unknown, a number is out of range, or an option does not apply to the arm.
    """
    choose("datasets", spec.dataset, SOURCES)
    choose("models", spec.model, MODELS)
    choose("methods", spec.method, METHODS)
    choose("arms", spec.arm, arms() if arms_allowed is None else arms_allowed)
    choose("person", spec.person, PERSONS)
    choose("ideal", spec.ideal, DISTANCES)
    choose("boundary", spec.boundary, BOUNDARIES)
    choose("mode", spec.mode, MODES)
    fits = spec.boundary == "all" or spec.arm not in ELICITORS or takes(spec.arm, "winner_only")
    require(fits, "arms", "must be base or an elicitor with `winner_only`, such as HARE, for boundary=winner", spec.arm)
    noise.parse(spec.noise)
    require(spec.users > 0, "users", "must be at least 1", spec.users)
    require(spec.budget >= spec.per_round > 0, "budget", "must hold at least one round", (spec.budget, spec.per_round))
    return spec


def takes(arm: str, hyperparameter: str) -> bool:
    """Whether the elicitor `arm` has this hyperparameter."""
    return hyperparameter in [field.name for field in dataclasses.fields(ELICITORS[arm].hyperparams)]
