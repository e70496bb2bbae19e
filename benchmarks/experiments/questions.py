"""Loss against the number of questions, by elicitor: `python -m benchmarks questions`.

The base method is growing spheres, the classifier the mlp, recourses are feasible, ideals far and valid. There is a
case for each kind of person, and one for ideals with 10 % of the answers flipped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from rich.console import Console
from rich.progress import track

from benchmarks.cohort import Cohort, prepare
from benchmarks.experiments import cells, runner
from benchmarks.experiments.best_known import best_known
from benchmarks.options import OUT, SEEDS, USERS, Datasets, Out, OwnArms, Seeds, Users
from benchmarks.pages import questions as page
from benchmarks.specs import Spec, check, not_empty
from benchmarks.store import Store
from benchmarks.tables import DATASETS
from benchmarks.timing import compile_quickly, run_fields, timed
from hare_jax import elicit, people
from hare_jax.base import Recourse
from hare_jax.elicit import ELICITORS
from hare_jax.elicit.bayesian.bayes import State
from hare_jax.elicit.bayesian.region import inside
from hare_jax.evaluate.sharding import map_users
from hare_jax.evaluate.simulate import Sessions
from hare_jax.people import PERSONS

BUDGETS = (1, 3, 5, 8, 10, 15, 20, 25, 30)
_MOST = BUDGETS[-1]
_LEVEL = 0.9  # of the credible region
_FLIP = "0.1"
_TABLE10 = ("single",)  # not run by default: table 10 covers it, with all candidates in one round


class Asked(NamedTuple):
    """One session: the recommendation after each question."""

    recourse: Recourse  # x (T, d), valid (T,)
    asked: Array  # (T,) bool
    state: State | None  # the last one, of an elicitor with a posterior


def questions(
    datasets: Datasets = (*DATASETS, "mortgage"),
    arms: OwnArms = None,
    seeds: Seeds = SEEDS,
    users: Users = USERS,
    out: Out = OUT,
) -> int:
    """Run sessions of thirty questions, and write a row per elicitor and budget, a table and a plot."""
    names = [name for name in ELICITORS if name not in _TABLE10] if arms is None else arms
    not_empty(datasets=datasets, arms=names, seeds=seeds)
    todo = {dataset: specs(dataset, names, seeds, users) for dataset in datasets}
    unavailable = runner.fetch(datasets)
    compile_quickly()
    store = Store(out)
    for dataset in sorted(todo.keys() - unavailable):
        wanted = todo[dataset]
        missing = [spec for spec in wanted if asdict(replace(spec, budget=_MOST)) not in store]
        rows = _rows(missing) if missing else iter(())
        for row in track(rows, dataset, len(missing) * len(BUDGETS), console=Console(stderr=True)):
            store.append(row)
    store.merge({"questions"})
    print(page.write(out, users))
    return 1 if unavailable else 0


def cases() -> tuple[tuple[str, str], ...]:
    """Kind of person and noise of the answers of each case."""
    return (*((kind, "0") for kind in PERSONS), ("ideal", _FLIP))


def specs(dataset: str, arms: Sequence[str], seeds: Sequence[int], users: int) -> list[Spec]:
    """The specs of the sessions for one data set; each yields one row per budget."""
    cell = Spec(table="questions", dataset=dataset, model="mlp", method="growing_spheres", arm="", users=users)
    found = [
        replace(cell, seed=seed, person=person, noise=noise, arm=arm)
        for seed in seeds
        for person, noise in cases()
        for arm in arms
    ]
    return [check(spec, tuple(ELICITORS)) for spec in found]


def _rows(missing: list[Spec]) -> Iterator[dict[str, Any]]:
    group = cells.Group(prepare(missing[0], sorted({spec.seed for spec in missing})))
    best: dict[tuple[int, str], Recourse] = {}
    for spec in missing:
        key = spec.seed, spec.person
        if key not in best:
            base = group.base(spec).recourse.value
            logit_fn = group.setting.classifier(spec.seed)
            best[key] = best_known(spec, logit_fn, group.cohort(spec), base, group.setting.space)
        yield from _session_rows(group, spec, best[key])


def _session_rows(group: cells.Group, spec: Spec, best: Recourse) -> Iterator[dict[str, Any]]:
    """The rows of the sessions of one spec, one per budget."""
    setting, cohort, base = group.setting, group.cohort(spec), group.base(spec).recourse.value
    keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 4), (spec.users, 2))
    session = cells.bind_elicitor(spec), spec.person, cells.noise(spec), keys[:, 0], setting.classifier(spec.seed)
    done = timed(cells.elicit_all, *session, cohort.x, cohort.users, base, setting.space, read=_read)
    for budget in BUDGETS:
        recourse = jax.tree.map(lambda leaf, at=budget - 1: leaf[:, at], done.value.recourse)
        found = Sessions(recourse, jnp.sum(done.value.asked[:, :budget], axis=1))
        row = asdict(replace(spec, budget=budget)) | cells.figures(setting, spec, cohort, found, base)
        row |= _regret(spec, cohort, recourse, best)
        if budget == _MOST:
            row |= _in_region(spec, cohort, done.value, keys[:, 1])
        yield row | {"num_mutable": int(jnp.sum(setting.space.mutable))} | run_fields(done)


def _read(elicitor: elicit.Elicitor, key: Array, state: Any, trace: elicit.Trace, user: people.User) -> Asked:
    """The recommendation after each question of one session; constant for an elicitor that asks none."""
    kept = state if isinstance(state, State) else None
    if not elicitor.questions_per_proposal:
        best = jax.tree.map(lambda leaf: jnp.stack([leaf] * _MOST), elicitor.recommend(state))
        return Asked(best, jnp.zeros(_MOST, bool), kept)
    return Asked(Recourse(trace.x, trace.valid), trace.asked, kept)


def _regret(spec: Spec, cohort: Cohort, recourse: Recourse, best: Recourse) -> dict[str, float | None]:
    """Mean loss of the best known recourse, and mean regret of the recommended one relative to it."""
    hidden, loss = cohort.users[spec.person].hidden, jax.vmap(PERSONS[spec.person].loss)
    both = cohort.present & recourse.valid & best.valid
    known = loss(hidden, cohort.x, best.x)
    regret = loss(hidden, cohort.x, recourse.x) - known
    return {"regret": cells.mean_of(regret, both), "best_known": cells.mean_of(known, both)}


def _in_region(spec: Spec, cohort: Cohort, asked: Asked, keys: Array) -> dict[str, float | None]:
    """The share of hidden ideals in the 90 % region after the last question, for elicitors with a posterior."""
    if asked.state is None or spec.person != "ideal":
        return {}
    held = _held(asked.state, keys, cohort.users["ideal"].hidden)
    counted = cohort.present & asked.recourse.valid[:, _MOST - 1]
    return {"in_region": cells.mean_of(held, counted)}


@jax.jit
def _held(states: State, keys: Array, ideals: Array) -> Array:
    def one(row: tuple[State, Array, Array]) -> Array:
        state, key, ideal = row
        return inside(elicit.ideal_region(state, key, level=_LEVEL), ideal)

    return map_users(one, (states, keys, ideals))
