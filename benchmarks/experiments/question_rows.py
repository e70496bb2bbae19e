"""The rows of one cell of the experiment `questions`: metrics, regret, harm and calibration after each budget."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.cohort import Cohort
from benchmarks.experiments import answering, cells, groups
from benchmarks.experiments.sessions import CHECKED, Asked
from benchmarks.specs import Spec
from hare_jax.base import LogitFn, Recourse
from hare_jax.evaluate import metrics
from hare_jax.space import ActionSpace

BUDGETS = (1, 3, 5, 8, 10, 15, 20, 25, 30)
MOST = BUDGETS[-1]
_ROUNDING = 1e-5  # times 1 + loss: a loss that is higher by less is not counted as harm
_GROUPED = (10, 30)  # budgets


class Case(NamedTuple):
    """The users of a cell, and the recourses that the sessions are compared with."""

    spec: Spec
    logit_fn: LogitFn
    space: ActionSpace
    cohort: Cohort  # of all kinds
    present: Array  # (n,) bool
    base: Recourse  # (n, d)
    best: Recourse  # (n, d) the best known one
    groups: groups.Groups


class Losses(NamedTuple):
    """The losses of users, and which of them count."""

    base: Array  # (n,)
    best: Array  # (n,)
    both: Array  # (n,) bool: present, with a base and a best known recourse


def rows(case: Case, asked: Asked) -> Iterator[dict[str, Any]]:
    """A row per budget, without the fields of the run, from sessions with leaves (n, T, ...)."""
    measures, asked, present = jax.device_get((_measured(case, asked), asked, case.present))
    case = case._replace(present=present)
    before, best, *after = (jax.tree.map(lambda leaf, at=at: leaf[at], measures) for at in range(len(measures.loss)))
    both = case.present & (before.success > 0) & (best.success > 0)
    losses = Losses(before.loss, best.loss, both)
    for budget, found in zip(BUDGETS, after, strict=True):
        questions = np.sum(asked.asked[:, :budget], axis=1)
        row = asdict(replace(case.spec, budget=budget)) | cells.means(found, before, questions, case.present)
        row |= _regret(losses, found)
        if budget in CHECKED:
            row |= _calibration(case, asked, found, CHECKED.index(budget))
        if budget in _GROUPED:
            row |= groups.means(case.groups, found.loss, case.present & (found.success > 0))
        yield row


def _measured(case: Case, asked: Asked) -> metrics.Measures:
    """The metrics (2 + B, n) of the base, the best known recourse, and the recommendation after each budget."""
    at = jnp.array(BUDGETS) - 1
    x, valid = jnp.swapaxes(asked.recourse.x[:, at], 0, 1), asked.recourse.valid[:, at].T
    first = [case.base, case.best]
    x = jnp.concatenate([jnp.stack([found.x for found in first]), x])
    valid = jnp.concatenate([jnp.stack([found.valid for found in first]), valid])
    hidden = {kind: user.hidden for kind, user in case.cohort.users.items()}
    person = answering.position(case.spec.person, hidden)
    return _measure(case.logit_fn, case.cohort.x, Recourse(x, valid), case.space, person, hidden)


@jax.jit
def _measure(
    logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace, person: Array, hidden: dict[str, Any]
) -> metrics.Measures:
    one = partial(_measure_one, logit_fn, space, person)
    each_user = jax.vmap(one)
    return jax.vmap(each_user, in_axes=(None, 0, None))(x, recourse, hidden)


def _measure_one(
    logit_fn: LogitFn, space: ActionSpace, person: Array, x: Array, recourse: Recourse, hidden: dict[str, Any]
) -> metrics.Measures:
    known = {"ideal": hidden["ideal"], "weights": hidden["weights"]}
    loss = answering.of_kind(answering.loss, person, hidden, space, x, recourse.x)
    return metrics.measure(logit_fn, x, recourse, space, **known, loss_fn=lambda *_: loss)


def _regret(losses: Losses, found: metrics.Measures) -> dict[str, float | None]:
    """Mean loss above the best known one, of the recommendation and of the base, and the share of users harmed."""
    both = losses.both & (found.success > 0)
    harmed = found.loss > losses.base + _ROUNDING * (1 + losses.base)
    return {
        "regret": cells.mean_of(found.loss - losses.best, both),
        "base_regret": cells.mean_of(losses.base - losses.best, both),
        "best_known": cells.mean_of(losses.best, both),
        "harmed": cells.mean_of(harmed, both),
    }


def _calibration(case: Case, asked: Asked, found: metrics.Measures, index: int) -> dict[str, float | None]:
    """The share of ideals in the 90 % region, and the expected and true distance, of elicitors with a posterior."""
    if asked.beliefs is None or case.spec.person != "ideal":
        return {}
    at = CHECKED[index] // CHECKED[0] - 1  # segments are of as many questions as the first number
    counted = case.present & (found.success > 0)
    expected = asked.beliefs.expected_distance[:, at]
    return {
        "in_region": cells.mean_of(asked.beliefs.in_region[:, at], counted),
        "expected_distance": cells.mean_of(expected, counted),
        "true_distance": cells.mean_of(found.ideal_l2, counted),
    }
