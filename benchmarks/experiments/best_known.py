"""The recourse of least loss, given the true hidden parameters: a reference for all arms.

A row of `PERSONS` says how it is found: by its `target`, by `exact` with its `l1_weights`, or else by a long search.
"""

from functools import partial
from typing import Any

import jax
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import Cohort
from benchmarks.experiments import cells
from benchmarks.specs import Spec
from hare_jax.base import LogitFn, Recourse
from hare_jax.people import PERSONS
from hare_jax.recourse import exact
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import ActionSpace

LONG = LocalSearch(num_first=128, num_starts=32, num_rounds=120)


def best_known(spec: Spec, logit_fn: Partial, cohort: Cohort, start: Recourse, space: ActionSpace) -> Recourse:
    """Recourses of least loss for a cohort: targets, exact recourses of least weighted cost, or those of a search.

    The search has 32 starts, and `start` beside them.
    """
    user, person = cohort.users[spec.person], PERSONS[spec.person]
    if person.target is not None:
        return Recourse(jax.vmap(person.target)(user.hidden), user.valid)
    key = jax.random.fold_in(jax.random.key(spec.seed), 6)
    if person.l1_weights is not None:
        weights = jax.vmap(person.l1_weights)(user.hidden)
        return cells.generate_each(Partial(exact_for), weights, key, logit_fn, cohort.x, space)
    search = Partial(_search, Partial(person.loss))
    return cells.generate_each(search, (user.hidden, start), key, logit_fn, cohort.x, space)


def exact_for(weights: Array, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Exact recourse for `x` (d,) with cost `weights` (d,)."""
    return exact.generate(exact.Exact(weights=weights), key, logit_fn, x, space)


def _search(
    loss: Partial, given: tuple[Any, Recourse], key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace
) -> Recourse:
    hidden, start = given
    return local_search(LONG, key, partial(loss, hidden, x), logit_fn, x, start, space)
