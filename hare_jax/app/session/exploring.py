"""A person's own proposal: what the model says, what the action space forbids, and the nearest valid recourse.

The nearest recourse is that of least weighted L1 distance to the proposal, by a local search on the decision boundary
from the accepted end of the way to a known recourse.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from hare_jax.app.explainer import cells, wording
from hare_jax.app.explainer.cells import blocks, moved
from hare_jax.app.explainer.judging import encode, judge
from hare_jax.app.session import programs
from hare_jax.app.session.showing import Person, options, written
from hare_jax.app.session.telling import columns_of, is_finite
from hare_jax.app.session.turns import Problem, Turn
from hare_jax.app.session.views import Exploration, Option
from hare_jax.base import LogitFn, Recourse, require
from hare_jax.data.schema import Feature
from hare_jax.elicit import Range, pool
from hare_jax.elicit.answers import in_ranges
from hare_jax.models import Classifier, Wrapped
from hare_jax.models.wrapping.decision import PROBABILITY, ByClass
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import ActionSpace, allows, is_follower, norm, own_change, project, with_own_change

_SEARCH = LocalSearch(num_first=16, num_starts=2, num_rounds=8, num_rays=8)
_SLACK = 1e-3  # of a step
_TOLERANCE = 1e-5  # of a bound, in encoded units
_TWO = 2  # classes
_NEAREST = "nearest recourse"  # label


class Limits(NamedTuple):
    """What may change now."""

    space: ActionSpace
    ranges: Range


class Found(NamedTuple):
    """What the program finds."""

    proposal: Array  # (d,) with what follows from it
    allowed: Array  # () bool
    nearest: Recourse


def respond(
    key: Array, logit_fn: LogitFn, x: Array, wanted: Array, own: Array, known: Recourse, limits: Limits
) -> Found:
    """What follows from a proposal, whether it is allowed, and the nearest valid recourse.

    `wanted` (d,) are the values of the columns that are `own` (d,) bool; `known` are recourses (m, d).
    """
    space = limits.space
    proposal = with_own_change(space, x, jnp.where(own, wanted - x, 0))
    allowed = allows(space, x, proposal) & in_ranges(limits.ranges, x, proposal)
    target = project(space, x, proposal)
    inside = jax.vmap(partial(_fits, limits, x))(known.x)
    anchors = Recourse(known.x, known.valid & inside)
    cost = partial(_cost, limits, x, target)
    found = jax.tree.map(lambda leaf: leaf[0], pool.to_accepted(logit_fn, x, target[None], anchors, space, MARGIN))
    points = Recourse(jnp.concatenate([found.x[None], known.x]), jnp.concatenate([found.valid[None], anchors.valid]))
    costs = jnp.where(points.valid, jax.vmap(cost)(points.x), jnp.inf)
    near = jnp.argmin(costs)
    start = Recourse(points.x[near], jnp.isfinite(costs[near]))
    given = jax.random.wrap_key_data(key), cost, logit_fn, x, start, space
    return Found(proposal, allowed, local_search(_SEARCH, *given))


def _fits(limits: Limits, x: Array, z: Array) -> Array:
    return allows(limits.space, x, z) & in_ranges(limits.ranges, x, z)


def _cost(limits: Limits, x: Array, target: Array, z: Array) -> Array:
    """The distance () of the own changes to those of the `target` (d,); infinite outside of the ranges."""
    apart = own_change(limits.space, x, z) - own_change(limits.space, x, target)
    return jnp.where(in_ranges(limits.ranges, x, z), norm(limits.space, apart), jnp.inf)


def explore(
    problem: Problem, person: Person, turn: Turn, changes: Mapping[str, Any]
) -> tuple[Exploration, np.ndarray | None]:
    """What is said to a proposal, and the nearest valid recourse (d,), encoded."""
    row = proposed(person, changes)
    wanted, own = encoded(person, row, changes)
    given = _arguments(problem, turn, wanted, own)
    limits, found = given[-1], jax.tree.map(np.asarray, programs.call(respond, *given))
    logit = float(judge(problem.logit_fn, person.explainer.table, _complete(person, row, found.proposal))[0])
    forbidden = problems(person, limits, wanted, own, allowed=bool(found.allowed))
    near = found.nearest.x if found.nearest.valid else None
    option = _option(person, near)
    text = _sentence(logit >= 0, forbidden, option)
    chance = probability(problem.logit_fn, logit)
    answer = Exploration(logit >= 0, chance, bool(found.allowed), forbidden, option, text)
    return answer, near if option is not None else None


def prepare(problem: Problem, turn: Turn) -> None:
    """Compile what a proposal needs."""
    programs.prepared(respond, *_arguments(problem, turn, problem.x, np.zeros(len(problem.x), bool)))


def _arguments(problem: Problem, turn: Turn, wanted: Any, own: Any) -> tuple[Any, ...]:
    """The arguments of `respond`."""
    points: Any = np.stack([turn.best.x, turn.question.a, turn.question.b])
    asked = bool(turn.question.asked)
    valid: Any = np.array([bool(turn.best.valid), asked, asked])
    limits = limits_of(problem, turn)
    return problem.keys.start, problem.logit_fn, problem.x, wanted, own, Recourse(points, valid), limits


def limits_of(problem: Problem, turn: Turn) -> Limits:
    """The action space and the ranges of a turn."""
    low: Any = np.full_like(problem.x, -np.inf)
    free = Range(low, -low)
    return Limits(getattr(turn.state, "space", problem.space), getattr(turn.state, "ranges", free))


def _complete(person: Person, row: pd.DataFrame, point: np.ndarray) -> pd.DataFrame:
    """The row with what follows from its changes, which is in the encoded `point` (d,)."""
    table = person.explainer.table
    if table.space.relations is None:
        return row
    return cells.write(table, person.row, person.x, point[None], person.explainer.digits)


def _option(person: Person, near: np.ndarray | None) -> Option | None:
    if near is None:
        return None
    found = written(person, near[None])
    return options(person, found, (_NEAREST,))[0] if found.logit[0] >= 0 else None


def _sentence(accepted: bool, forbidden: tuple[str, ...], near: Option | None) -> str:
    """The answer to a proposal."""
    verdict = "the model accepts it" if accepted else "the model refuses it"
    if forbidden:
        verdict += f", but {'; '.join(forbidden)}" if accepted else f", and {'; '.join(forbidden)}"
    if accepted and not forbidden:
        return verdict
    return f"{verdict}; {f'the nearest recourse found: {near.sentence}' if near else 'no recourse near it was found'}"


def proposed(person: Person, changes: Any) -> pd.DataFrame:
    """The row with the `changes`, by name of feature, in original units.

    Raises:
        ValueError: no changes, an unknown or computed feature, or a value that the table can't encode.
    """
    rule = "must be a dict of feature to value, not empty"
    require(isinstance(changes, Mapping) and len(changes) > 0, "changes", rule, changes)
    row, table = person.row.copy(), person.explainer.table
    for name, value in changes.items():
        feature, _ = columns_of(table, name, "changes")
        require(feature.type != "derived", "changes", f"must not hold {name}, which is computed from others", value)
        row[name] = pd.Series([_value(feature, value)], index=row.index)
    return row.drop(columns=[one.name for one in table.features if one.type == "derived"])


def _value(feature: Feature, value: Any) -> Any:
    """A value of a feature: a category as the table knows it, also by its text; or a finite number."""
    if feature.type == "categorical":
        known = [
            category
            for category in feature.categories
            if str(category) == str(value) or (is_finite(value) and category == value)
        ]
        rule = f"of {feature.name} must be one of {', '.join(map(str, feature.categories))}"
        require(len(known) > 0, "changes", rule, value)
        return known[0]
    require(is_finite(value), "changes", f"of {feature.name} must be a finite number", value)
    return value


def encoded(person: Person, row: pd.DataFrame, changes: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The encoded row (d,), and its own columns (d,) bool: those of the features in `changes`."""
    table = person.explainer.table
    own = np.concatenate([np.full(len(one.columns), one.name in changes) for one in table.features])
    return encode(table, row)[0].astype(person.x.dtype), own


def problems(person: Person, limits: Limits, wanted: np.ndarray, own: np.ndarray, *, allowed: bool) -> tuple[str, ...]:
    """What the action space, the vetoes and the ranges forbid in a proposal, feature by feature."""
    if allowed:
        return ()
    x, found = person.x[0], []
    changed = moved(x, wanted) & own
    for feature, columns in blocks(person.explainer.table.features):
        if changed[columns].any():
            found += _problem(person, limits, feature, columns, wanted)
    return tuple(found) or ("the changes together break a relation between features",)


def _problem(person: Person, limits: Limits, feature: Feature, columns: slice, wanted: np.ndarray) -> list[str]:
    """What is forbidden in the change of one feature: at most one text."""
    table, at = person.explainer.table, columns.start
    name = feature.label
    if not bool(np.asarray(table.space.mutable)[columns].any()):
        follows = is_follower(table.space)[at]
        return [f"{name} only follows other features" if follows else f"{name} can't be changed"]
    if not bool(np.asarray(limits.space.mutable)[columns].any()):
        return [f"changes of {name} are ruled out"]
    return [] if feature.type == "categorical" else _of_number(person, limits, feature, at, wanted)


def _of_number(person: Person, limits: Limits, feature: Feature, at: int, wanted: np.ndarray) -> list[str]:
    x, z, digits = float(person.x[0, at]), float(wanted[at]), person.explainer.digits

    def text(value: float) -> str:
        shown = feature.low + value * (feature.high - feature.low)
        return wording.text(feature, digits, shown) + (f" {feature.unit}" if feature.unit else "")

    name, rises = feature.label, z > x
    if feature.direction * (z - x) < 0:
        return [f"{name} may only {'fall' if rises else 'rise'}"]
    lower, upper = (float(np.asarray(bound)[at]) for bound in (limits.ranges.lower, limits.ranges.upper))
    own = (limit for limit in (lower, upper) if np.isfinite(limit))
    if not lower - _TOLERANCE <= z <= upper + _TOLERANCE:
        return [f"{name} is outside of the range that was set, with the bound {' and '.join(map(text, own))}"]
    low, high = (float(np.asarray(bound)[at]) for bound in (limits.space.lower, limits.space.upper))
    if not min(low, x) - _TOLERANCE <= z <= max(high, x) + _TOLERANCE:
        return [f"{name} must be from {text(min(low, x))} to {text(max(high, x))}"]
    step = float(np.asarray(limits.space.step)[at])
    if step > 0 and abs((z - x) / step - round((z - x) / step)) > _SLACK:
        return [f"{name} changes in steps of {feature.step:g}{' ' + feature.unit if feature.unit else ''}"]
    return []


def probability(logit_fn: LogitFn, logit: float) -> float | None:
    """The model's probability of acceptance; None of a model that gives none."""
    if isinstance(logit_fn, Classifier):
        return _expit(logit)
    model: Any = logit_fn.args[0] if isinstance(logit_fn, Wrapped) else None
    decision = getattr(model, "decision", None)
    scores = hasattr(model, "judge") and (model.classes or getattr(decision, "outputs", None) != PROBABILITY)
    if not isinstance(decision, ByClass) or scores:
        return None
    if decision.threshold is not None:
        return _expit(logit + np.log(decision.threshold) - np.log1p(-decision.threshold))
    return _expit(logit) if len(decision.inside) + len(decision.outside) == _TWO else None


def _expit(logit: float) -> float:
    """`1 / (1 + exp(-logit))`, without overflow; SciPy's takes a tenth of a second to import."""
    return float(np.exp(-np.logaddexp(0.0, -logit)))
