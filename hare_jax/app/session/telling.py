"""Events as answers of an elicitor, in encoded units, and the checks of what is told."""

import math
from typing import Any

import numpy as np

from hare_jax.app.explainer.cells import blocks
from hare_jax.app.session.turns import Problem, Turn
from hare_jax.app.session.views import CANNOT_TELL
from hare_jax.base import CANNOT_TELL as TIED
from hare_jax.base import PREFERS_A, PREFERS_B, Recourse, choose, require
from hare_jax.data import Table
from hare_jax.data.schema import Feature
from hare_jax.elicit import ELICITORS, Bayes, Choice, Pear, Range, Rating, Veto
from hare_jax.space import is_follower

_ROUNDING = 1e-6  # of the span of a feature
_SHARE = 0.25  # of the range of a feature: the change that `importance` compares
_COMPARISONS = ("answers to its questions",)
_TAKES: dict[type, tuple[str, ...]] = {
    Bayes: (*_COMPARISONS, "ratings", "vetoes", "ranges", "importance", "explorations"),
    Pear: (*_COMPARISONS, "importance", "explorations"),
}  # by the hyperparameters of an elicitor

CHOICES = {"A": PREFERS_A, "B": PREFERS_B, CANNOT_TELL: TIED}


def takes(name: str) -> tuple[str, ...]:
    """What an elicitor of this name can be told."""
    return _TAKES.get(ELICITORS[name].hyperparams, _COMPARISONS)


def check_takes(name: str, what: str) -> None:
    """Raise a `ValueError` unless the elicitor takes `what`."""
    rule = f"{what} can't be told to it: it takes {', '.join(takes(name))}; 'bayes' takes all"
    require(what in takes(name), f"elicitor {name}", rule, what)


def room(turn: Turn) -> int | None:
    """How many more comparisons the state can hold; None: any number."""
    belief, told = getattr(turn.state, "belief", None), getattr(turn.state, "told", None)
    if belief is not None:
        return int(belief.tied.shape[0]) - int(belief.num_told)
    return int(told.known.shape[0]) - int(told.num_told) if told is not None and hasattr(told, "num_told") else None


def check_room(turn: Turn, needed: int) -> None:
    """Raise a `ValueError` unless the state has room for `needed` more comparisons."""
    left = room(turn)
    rule = "must fit: the session holds no more comparisons (max_questions)"
    require(left is None or left >= needed, "answer", rule, left)


def choice(text: Any) -> Any:
    """The answer to a question."""
    known = isinstance(text, str) and text in CHOICES
    require(known, "choice", f"must be one of {', '.join(map(repr, CHOICES))}", text)
    return np.int32(CHOICES[text])


def number(argument: str, value: Any) -> float:
    """`value` as a finite float."""
    require(is_finite(value), argument, "must be a finite number", value)
    return float(value)


def is_finite(value: Any) -> bool:
    """Whether a value is a number that is finite as a float."""
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the floats
        return False


def columns_of(table: Table, name: Any, argument: str = "feature") -> tuple[Feature, slice]:
    """A feature by its name, with its encoded columns."""
    choose(argument, name, list(table.schema["features"]))
    return next(pair for pair in blocks(table.features) if pair[0].name == name)


def veto(table: Table, names: tuple[Any, ...]) -> Veto:
    """The veto of some features."""
    require(len(names) > 0, "features", "must name at least one feature", names)
    columns: Any = np.zeros(len(table.columns), bool)
    for name in names:
        columns[columns_of(table, name)[1]] = True
    return Veto(columns)


def interval(table: Table, x: np.ndarray, name: Any, lower: Any, upper: Any) -> Range:
    """The range of a feature in original units; None is no bound."""
    feature, columns = columns_of(table, name)
    numeric = [one.name for one in table.features if one.type != "categorical"]
    rule = f"must be a number with a range, one of {', '.join(numeric)}; a category can be vetoed"
    require(feature.type != "categorical", "feature", rule, name)
    require(lower is not None or upper is not None, "range", f"of {name} must have a bound", (lower, upper))
    low = -math.inf if lower is None else number("lower", lower)
    high = math.inf if upper is None else number("upper", upper)
    require(low <= high, "range", f"of {name} must have lower at most upper", (lower, upper))
    span = feature.high - feature.low
    present = feature.low + float(x[columns.start]) * span
    least, most = (pick(bound, present) for pick, bound in zip((min, max), feature.range, strict=True))
    noise = span * _ROUNDING
    rule = f"of {name} must meet its values, {least:g} to {most:g}{' ' + feature.unit if feature.unit else ''}"
    require(low <= most + noise and high >= least - noise, "range", rule, (lower, upper))
    bounds = np.full((2, len(x)), [[-np.inf], [np.inf]], x.dtype)
    bounds[:, columns.start] = (np.array([low, high]) - feature.low) / span
    return Range(*bounds)


def harder(problem: Problem, table: Table, feature: Any, over: Any) -> Choice:
    """`feature` is harder to change than `over`: the row that changes the latter is preferred.

    Both change by the same share of their ranges.
    """
    require(feature != over, "over", "must be another feature", over)
    pairs = [columns_of(table, feature), columns_of(table, over, "over")]
    rooms = [_room(problem, *pair) for pair in pairs]
    for (one, _), (up, down) in zip(pairs, rooms, strict=True):
        require(max(up, down) > 0, "importance", "must be of features that can change", one.name)
    share = min(_SHARE, *(max(room) for room in rooms))
    points = np.stack([_changed(problem.x, pair, room, share) for pair, room in zip(pairs, rooms, strict=True)])
    return _best_of(points, np.int32(1))


def _room(problem: Problem, feature: Feature, columns: slice) -> tuple[float, float]:
    """How far a feature can rise and fall, in shares of its range; 1 for a category."""
    space, at = problem.space, columns.start
    acted_on = bool(np.asarray(space.mutable)[columns].any()) and not is_follower(space)[at]
    if not acted_on:
        return 0.0, 0.0
    if feature.type == "categorical":
        return 1.0, 1.0
    direction = int(np.asarray(space.direction)[at])
    low, high = (float(np.asarray(bound)[at]) for bound in (space.lower, space.upper))
    up, down = (max(0.0, room) / (high - low) for room in (high - problem.x[at], problem.x[at] - low))
    return (up if direction >= 0 else 0.0), (down if direction <= 0 else 0.0)


def _changed(x: np.ndarray, pair: tuple[Feature, slice], room: tuple[float, float], share: float) -> np.ndarray:
    """The row `x` (d,) with one feature changed by a share of its range; of a category, to another level."""
    (feature, columns), point = pair, x.copy()
    if feature.type != "categorical":
        up, down = room
        low, high = feature.range
        step = share * (high - low) / (feature.high - feature.low)
        point[columns.start] += step if up >= down else -step
    elif columns.stop - columns.start == 1:
        point[columns] = 1 - point[columns]
    else:
        present = int(x[columns].argmax())
        point[columns] = np.roll(np.eye(columns.stop - columns.start)[present], 1)
    return point


def examples(name: str, x: Any) -> list[Any]:
    """An answer of each type that an elicitor takes, besides those to its questions, in the order of use."""
    nothing: Any = np.zeros(len(x), bool)
    low: Any = np.full_like(x, -np.inf)
    known = {
        "vetoes": Veto(nothing),
        "ranges": Range(low, -low),
        "importance": preferred(x, x),
        "ratings": rating(x, 0),
    }
    return [answer for what, answer in known.items() if what in takes(name)]


def rating(x: Any, value: Any) -> Rating:
    """The rating of the recourse `x` (d,)."""
    scored: Any = np.asarray(number("value", value), x.dtype)
    return Rating(x, scored)


def preferred(chosen: np.ndarray, other: np.ndarray) -> Choice:
    """`chosen` (d,) is preferred to `other` (d,)."""
    return _best_of(np.stack([chosen, other]), np.int32(0))


def _best_of(points: Any, chosen: Any) -> Choice:
    """The `chosen` one of points (k, d) is preferred to the others."""
    valid: Any = np.ones(len(points), bool)
    return Choice(Recourse(points, valid), chosen)
