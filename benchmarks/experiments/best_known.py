"""The recourse of least loss, given the true hidden parameters: a reference for all arms.

A row of `PERSONS` says how it is found: by its `target`, by `exact` where the loss is a weighted L1 cost, or else by a
long search. It starts from the base recourse, or, for a loss like a weighted L1 cost, from the recourse of least cost.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import Cohort
from benchmarks.experiments import cells
from benchmarks.specs import Spec
from hare_jax.base import LogitFn, Recourse
from hare_jax.people import PERSONS
from hare_jax.recourse import exact
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import ActionSpace, weighted_l1

LONG = LocalSearch(num_first=128, num_starts=32, num_rounds=120)
_START_LIMIT = 1.0  # seconds a row for the exact recourse from which a search starts


def best_known(spec: Spec, logit_fn: Partial, cohort: Cohort, start: Recourse, space: ActionSpace) -> Recourse:
    """Recourses of least loss for a cohort, given the base recourses `start`.

    They are the targets of the people, exact recourses of least weighted cost, or those of a search with 32 starts.
    """
    user, person = cohort.users[spec.person], PERSONS[spec.person]
    if person.target is not None:
        return Recourse(jax.vmap(person.target)(user.hidden), user.valid)
    key = jax.random.fold_in(jax.random.key(spec.seed), 6)
    args = key, logit_fn, cohort.x, space
    if person.l1_weights is None:
        return cells.generate_each(Partial(_search, Partial(person.loss)), (user.hidden, start, start), *args)
    weights = jax.vmap(person.l1_weights)(user.hidden)
    if person.loss is weighted_l1:
        return cells.generate_each(Partial(exact_for), weights, *args)
    near = cells.generate_each(Partial(_start_for), weights, *args)
    return cells.generate_each(Partial(_search, Partial(person.loss)), (user.hidden, near, start), *args)


def exact_for(weights: Array, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Exact recourse for `x` (d,) with cost `weights` (d,)."""
    return exact.generate(exact.Exact(weights=weights), key, logit_fn, x, space)


def _start_for(weights: Array, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """As `exact_for`, in less time: the best recourse found within the limit."""
    return exact.generate(exact.Exact(weights=weights, time_limit=_START_LIMIT), key, logit_fn, x, space)


def _search(
    loss: Partial, given: tuple[Any, Recourse, Recourse], key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace
) -> Recourse:
    """The result of the search from the first of two recourses, or the second where its loss is less."""
    hidden, near, base = given
    found = local_search(LONG, key, partial(loss, hidden, x), logit_fn, x, near, space)
    better = base.valid & (~found.valid | (loss(hidden, x, base.x) < loss(hidden, x, found.x)))
    return jax.tree.map(partial(jnp.where, better), base, found)
