"""Weighted cost with weights that are known, learnt, or met by HARE: `python -m benchmarks preferences`.

People hide cost weights, as in table 7; classifiers are the mlp, base recourses those of growing spheres, all feasible.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from rich.console import Console
from rich.table import Table

import hare_jax
from benchmarks.cohort import Cohort, Setting, draw_cohort, prepare
from benchmarks.experiments import runner
from benchmarks.pages import figures
from benchmarks.specs import Spec, check
from benchmarks.store import Store
from benchmarks.tables import DATASETS
from benchmarks.timing import compile_quickly, peak_mib, timed
from hare_jax import people
from hare_jax.base import Recourse, require
from hare_jax.evaluate import metrics
from hare_jax.evaluate.sharding import map_users
from hare_jax.people.fit import Prior, answers, fit_preferences
from hare_jax.people.objective import Objective
from hare_jax.recourse import least_cost
from hare_jax.solvers.boundary import boundary
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import ActionSpace, project

ARMS = ("multi", "known", "learnt", "search")
LONG = LocalSearch(num_first=128, num_starts=32, num_rounds=120)
NUM_ANSWERS = 30
_NUM_DRAWN = 32  # rays, of which a question shows two


def preferences(
    datasets: tuple[str, ...] = DATASETS,
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5),
    users: int = 100,
    out: Path = Path("benchmarks/results"),
) -> int:
    """Measure the weighted cost of each arm on the same users; write the rows that aren't there yet, and show all.

    Args:
        datasets: Data sets.
        seeds: Seeds of training, users and sampling.
        users: Refused people for each seed.
        out: Folder of the results.
    """
    for name, given in (("datasets", datasets), ("seeds", seeds)):
        require(len(given) > 0, name, "must hold at least one", given)
    compile_quickly()
    store = Store(out / "rows.jsonl")
    for dataset in datasets:
        specs = [check(_spec(dataset, arm, seed, users)) for seed in seeds for arm in ARMS]
        todo = sorted({spec.seed for spec in specs if asdict(spec) not in store})
        if todo:
            setting = prepare(specs[0], todo)
        for seed in todo:
            for arm, row in _rows(setting, _spec(dataset, "multi", seed, users)).items():
                store.append({**asdict(_spec(dataset, arm, seed, users)), **row})
    rows = figures.load(out, "preferences")
    _show(rows[rows["users"] == users])
    return 0


def _spec(dataset: str, arm: str, seed: int, users: int) -> Spec:
    method = "growing_spheres" if arm == "multi" else "preference"
    return Spec(
        table="preferences",
        dataset=dataset,
        model="mlp",
        method=method,
        arm=arm,
        person="weights",
        seed=seed,
        users=users,
    )


def _show(rows: Any) -> None:
    shown = Table("data set", *ARMS, "known / search", "learnt / search", title="weighted cost")
    means = rows.groupby(["dataset", "arm"], observed=True)["weighted_cost"].mean().unstack("arm")
    for dataset, costs in means.iterrows():
        ratios = [f"{costs[arm] / costs['search']:.3f}" for arm in ("known", "learnt")]
        shown.add_row(str(dataset), *(f"{costs[arm]:.4f}" for arm in ARMS), *ratios)
    Console(width=110).print(shown)


def _rows(setting: Setting, spec: Spec) -> dict[str, dict[str, Any]]:
    logit_fn, space = setting.classifier(spec.seed), setting.space
    cohort = draw_cohort(setting, spec)
    base = runner.base_row(setting, spec, logit_fn, cohort).recourse.value
    keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 5), spec.users)
    elicitor, num_proposals = runner.arm_elicitor(spec)
    hare = runner.Answers(person="weights"), logit_fn, keys, cohort.x, cohort.user, base, space
    args = logit_fn, keys, cohort.x, cohort.user.weights
    at_one = jax.device_put((*args, space), jax.devices()[0])  # see `map_users` on factorising matrices
    weights, num_answers = jax.device_get(timed(_learnt_weights, *at_one).value)
    hare_timing = timed(runner.session_rows, elicitor, *hare, num_proposals=num_proposals)
    timings = {
        "multi": hare_timing._replace(value=hare_timing.value[0]),
        "known": timed(_preference_rows, *args, space),
        "learnt": timed(_preference_rows, logit_fn, keys, cohort.x, weights, space),
    }
    asked = {"multi": hare_timing.value[1], "learnt": num_answers}
    timings["search"] = timed(best_known, spec.seed, logit_fn, cohort, timings["known"].value, space)
    before = runner.measure_rows(logit_fn, cohort.x, base, space, cohort.user)
    rows = {}
    for arm, timing in timings.items():
        measures = runner.measure_rows(logit_fn, cohort.x, timing.value, space, cohort.user)
        questions = asked.get(arm, jnp.zeros(spec.users))
        rows[arm] = runner.means(measures, before, questions, cohort.present) | {
            "fit_s": 0.0,
            "compile_s": round(timing.compile_s, 3),
            "run_s": round(timing.run_s, 4),
            "peak_mib": round(peak_mib()),
            "device": jax.devices()[0].device_kind,
            "version": hare_jax.__version__,
        }
    return rows


def best_known(seed: int, logit_fn: Partial, cohort: Cohort, start: Recourse, space: ActionSpace) -> Recourse:
    """The cheapest recourses for a cohort's true weights, by a search from 32 starts and from `start`."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 6), len(cohort.x))
    return _long_search(logit_fn, keys, cohort.x, cohort.user.weights, start, space)


@jax.jit
def _long_search(
    logit_fn: Partial, keys: Array, x: Array, weights: Array, start: Recourse, space: ActionSpace
) -> Recourse:
    def one(row: tuple[Array, Array, Array, Recourse]) -> Recourse:
        key, x, weights, start = row
        return local_search(LONG, key, partial(metrics.weighted_cost, weights, x), logit_fn, x, start, space)

    return map_users(one, (keys, x, weights, start))


@jax.jit
def _preference_rows(logit_fn: Partial, keys: Array, x: Array, weights: Array, space: ActionSpace) -> Recourse:
    def one(row: tuple[Array, Array, Array]) -> Recourse:
        key, x, weights = row
        return least_cost.generate(least_cost.LeastCost(weights=weights), key, logit_fn, x, space)

    return map_users(one, (keys, x, weights))


@jax.jit
def _learnt_weights(
    logit_fn: Partial, keys: Array, x: Array, weights: Array, space: ActionSpace
) -> tuple[Array, Array]:
    """Weights (n, d) fitted to each person's answers about 30 pairs of recourses on the boundary, and how many (n,).

    A pair with a refused recourse is not asked about.
    """

    def pair(key: Array, x: Array) -> Recourse:
        """Two recourses in random directions that change half of the columns: the first valid ones of many."""
        key_move, key_change = jax.random.split(key)
        moves = 2 * jax.random.normal(key_move, (_NUM_DRAWN, len(x)), x.dtype)
        changed = jax.random.bernoulli(key_change, 0.5, moves.shape)
        ends = jax.vmap(lambda move: project(space, x, x + move))(jnp.where(changed, moves, 0))
        found = jax.vmap(lambda end: boundary(logit_fn, x, end, space))(ends)
        first = jnp.argsort(~found.valid, stable=True)[:2]
        return jax.tree.map(lambda leaf: leaf[first], found)

    def one(row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        key, x, weights = row
        key_pairs, key_answers = jax.random.split(key)
        shown = jax.vmap(lambda key: pair(key, x))(jax.random.split(key_pairs, NUM_ANSWERS))
        a, b = shown.x[:, 0], shown.x[:, 1]
        chose = partial(people.prefers_cheaper, weights, key_answers, x)
        trust = jnp.all(shown.valid, axis=1).astype(x.dtype)
        said = answers(Objective(), x, a, b, jax.vmap(chose)(a, b), trust)
        return fit_preferences(Prior(), said).weights, jnp.sum(trust)

    return jax.vmap(one)((keys, x, weights))
