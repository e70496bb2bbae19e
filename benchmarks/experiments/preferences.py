"""Weighted cost under known weights, fitted weights, and HARE: `python -m benchmarks preferences`.

People have hidden cost weights, as in table 7; the classifier is the mlp, and the base method growing spheres, in
feasible mode.
"""

from dataclasses import asdict, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import prepare
from benchmarks.experiments import cells, runner
from benchmarks.experiments.best_known import best_known
from benchmarks.options import OUT, SEEDS, USERS, Datasets, Out, Seeds, Users
from benchmarks.pages import terminal
from benchmarks.specs import Spec, check, not_empty
from benchmarks.store import Store
from benchmarks.tables import DATASETS
from benchmarks.timing import Timed, compile_quickly, run_fields, timed
from hare_jax import people
from hare_jax.app.options import Cache
from hare_jax.base import LogitFn, Recourse
from hare_jax.evaluate.simulate import Sessions
from hare_jax.people.fit import Comparisons, Prior, answers, fit_preferences
from hare_jax.people.objective import Objective
from hare_jax.recourse import least_cost
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace, project

ORACLES = ("known", "learnt", "exact")  # least cost under the true weights or fitted ones; the least possible
ARMS = ("multi", *ORACLES)
NUM_ANSWERS = 30
_METHODS = {"multi": "growing_spheres", "exact": "exact"}  # of the arms other than `least_cost`
_NUM_DRAWN = 32  # rays per question, which shows two of them
_SCALE = 2.0  # s.d. of a ray's components
_SHARE_CHANGED = 0.5  # probability that a ray changes a column


def preferences(
    datasets: Datasets = DATASETS,
    seeds: Seeds = SEEDS,
    users: Users = USERS,
    out: Out = OUT,
    cache: Cache = True,
) -> int:
    """Measure the weighted cost of each arm on the same users; compute the missing rows, and print all."""
    not_empty(datasets=datasets, seeds=seeds)
    todo = {
        dataset: [check(_spec(dataset, arm, seed, users), ARMS) for seed in seeds for arm in ARMS]
        for dataset in datasets
    }
    unavailable = runner.fetch(datasets)
    compile_quickly(cache)
    store = Store(out)
    for dataset in sorted(todo.keys() - unavailable):
        specs = todo[dataset]
        missing = sorted({spec.seed for spec in specs if asdict(spec) not in store})
        if missing:
            group = cells.Group(prepare(specs[0], missing))
        for seed in missing:
            for row in _rows(group, _spec(specs[0].dataset, "multi", seed, users)):
                store.append(row)
    store.merge({"preferences"})
    terminal.show_preferences(out, users, ARMS)
    return 1 if unavailable else 0


def _spec(dataset: str, arm: str, seed: int, users: int) -> Spec:
    method = _METHODS.get(arm, "least_cost")
    cell = Spec(table="preferences", dataset=dataset, model="mlp", method=method, arm=arm)
    return replace(cell, person="weights", seed=seed, users=users)


def _rows(group: cells.Group, spec: Spec) -> list[dict[str, Any]]:
    """The rows of all arms for one data set and seed."""
    cohort, base = group.cohort(spec), group.base(spec).recourse.value
    rows = []
    for arm, timing in _timings(group, spec).items():
        found = cells.figures(group.setting, spec, cohort, timing.value, base)
        rows.append(asdict(_spec(spec.dataset, arm, spec.seed, spec.users)) | found | run_fields(timing))
    return rows


def _timings(group: cells.Group, spec: Spec) -> dict[str, Timed]:
    """The results of each arm: a `Timed` of `Sessions`."""
    logit_fn, space = group.setting.classifier(spec.seed), group.setting.space
    cohort, base = group.cohort(spec), group.base(spec).recourse.value
    users, no_questions = cohort.users, jnp.zeros(spec.users)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 5), spec.users)
    at_one = jax.device_put((logit_fn, keys, cohort.x, users["weights"].hidden, space), jax.devices()[0])
    weights, num_answers = jax.device_get(timed(_learnt_weights, *at_one).value)  # factorises: see `map_users`
    session = cells.bind_elicitor(spec), "weights", people.Noise(), keys, logit_fn, cohort.x, users, base, space

    def least(weights: Array, questions: Array) -> Timed:
        found = timed(cells.generate_each, Partial(_with_weights), weights, keys, logit_fn, cohort.x, space)
        return found._replace(value=Sessions(found.value, questions))

    timings = {
        "multi": timed(cells.elicit_all, *session),
        "known": least(users["weights"].hidden, no_questions),
        "learnt": least(weights, num_answers),
    }
    best = timed(best_known, spec, logit_fn, cohort, base, space)
    return timings | {"exact": best._replace(value=Sessions(best.value, no_questions))}


def _with_weights(weights: Array, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    return least_cost.generate(least_cost.LeastCost(weights=weights), key, logit_fn, x, space)


@jax.jit
def _learnt_weights(
    logit_fn: Partial, keys: Array, x: Array, weights: Array, space: ActionSpace
) -> tuple[Array, Array]:
    """Weights (n, d) fitted to each user's answers for 30 pairs of recourses on the boundary; number (n,) of answers.

    Pairs with a refused recourse are skipped.
    """

    def one(row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        key, x, weights = row
        key_pairs, key_answers = jax.random.split(key)
        shown = jax.vmap(lambda key: _pair(key, logit_fn, x, space))(jax.random.split(key_pairs, NUM_ANSWERS))
        a, b = shown.x[:, 0], shown.x[:, 1]
        chose = partial(people.prefers_cheaper, weights, key_answers, x)
        trust = jnp.all(shown.valid, axis=1).astype(x.dtype)
        said = answers(Objective(), x, Comparisons(a, b, jax.vmap(chose)(a, b), trust))
        return fit_preferences(Prior(), said).weights, jnp.sum(trust)

    return jax.vmap(one)((keys, x, weights))


def _pair(key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Two recourses (2, d) along random rays that change half of the columns: the first valid ones of many."""
    key_move, key_change = jax.random.split(key)
    moves = _SCALE * jax.random.normal(key_move, (_NUM_DRAWN, len(x)), x.dtype)
    changed = jax.random.bernoulli(key_change, _SHARE_CHANGED, moves.shape)
    ends = jax.vmap(lambda move: project(space, x, x + move))(jnp.where(changed, moves, 0))
    found = jax.vmap(lambda end: boundary(logit_fn, x, end, space))(ends)
    first = jnp.argsort(~found.valid, stable=True)[:2]
    return jax.tree.map(lambda leaf: leaf[first], found)
