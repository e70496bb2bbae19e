"""Distance and cost against the number of questions, by elicitor: `python -m benchmarks questions`.

Base recourses are those of growing spheres, classifiers the mlp, recourses feasible, ideals far and valid. People hide
an ideal, hide one and answer wrongly once in ten times, or hide cost weights.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from rich.console import Console
from rich.progress import track

import hare_jax
from benchmarks.cohort import Cohort, Setting, draw_cohort, prepare
from benchmarks.experiments import runner
from benchmarks.experiments.preferences import best_known
from benchmarks.pages import figures, plots
from benchmarks.specs import BAYES, Spec, check
from benchmarks.store import Store
from benchmarks.timing import compile_quickly, peak_mib, timed
from hare_jax import elicit, people
from hare_jax.base import Recourse, require
from hare_jax.elicit.bayesian.bayes import State, ideal_region
from hare_jax.elicit.bayesian.region import inside
from hare_jax.evaluate import metrics
from hare_jax.evaluate.sharding import map_users
from hare_jax.space import ActionSpace

BUDGETS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)
CASES = {"ideal": ("ideal", "0"), "ideal, 10 % flipped": ("ideal", "0.1"), "weights": ("weights", "0")}
DATASETS = ("adult", "compas", "give_me_some_credit", "heloc", "mortgage")
_MOST = BUDGETS[-1]


class Asked(NamedTuple):
    """What was recommended to n people after each question."""

    recourse: Recourse  # x (n, T, d), valid (n, T)
    asked: Array  # (n, T) bool
    in_region: Array  # (n,) bool: the 90 % region after the last question holds the ideal, if both are there


def questions(
    datasets: tuple[str, ...] = DATASETS,
    arms: tuple[str, ...] = ("multi", "random", *BAYES),
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5),
    users: int = 100,
    out: Path = Path("benchmarks/results"),
) -> int:
    """Run sessions of thirty questions, and write a row for each elicitor and budget, a table and a plot.

    Args:
        datasets: Data sets.
        arms: `multi` (HARE, six rounds of five), `random`, `bayes`, and `bayes_ideal` and `bayes_weights`, which are
            nearly sure beforehand what people hide.
        seeds: Seeds of training, users and sampling.
        users: Refused people for each seed.
        out: Folder of the results.
    """
    for name, given in (("datasets", datasets), ("arms", arms), ("seeds", seeds)):
        require(len(given) > 0, name, "must hold at least one", given)
    compile_quickly()
    store = Store(out / "rows.jsonl")
    for dataset in datasets:
        todo = []
        for seed in seeds:
            for person, noise in CASES.values():
                shared: dict[str, Any] = {"person": person, "noise": noise, "seed": seed, "users": users}
                specs = [
                    check(
                        Spec(
                            table="questions", dataset=dataset, model="mlp", method="growing_spheres", arm=arm, **shared
                        )
                    )
                    for arm in arms
                ]
                todo += [spec for spec in specs if asdict(replace(spec, budget=_MOST)) not in store]
        if todo:
            setting = prepare(todo[0], sorted({spec.seed for spec in todo}))
            for spec, row in track(
                _rows(setting, todo), dataset, len(todo) * len(BUDGETS), console=Console(stderr=True)
            ):
                store.append({**asdict(spec), **row})
    print(write(out, users))
    return 0


def _rows(setting: Setting, specs: list[Spec]) -> Iterator[tuple[Spec, dict[str, Any]]]:
    cohorts: dict[int, tuple] = {}
    for spec in specs:
        logit_fn = setting.classifier(spec.seed)
        if spec.seed not in cohorts:
            cohort = draw_cohort(setting, spec)
            base = runner.base_row(setting, spec, logit_fn, cohort).recourse.value
            best = best_known(spec.seed, logit_fn, cohort, base, setting.space)
            cohorts[spec.seed] = cohort, base, best
        cohort, base, best = cohorts[spec.seed]
        keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 4), (spec.users, 2))
        answers = runner.Answers(person=spec.person, flip=float(spec.noise))
        args = answers, logit_fn, keys, cohort.x, cohort.user, base, setting.space
        elicitor, num_proposals = runner.arm_elicitor(spec)
        done = timed(asked_rows, elicitor, *args, num_proposals=num_proposals)
        before = runner.measure_rows(logit_fn, cohort.x, base, setting.table.space, cohort.user)
        for budget in BUDGETS:
            row = _figures(setting, logit_fn, cohort, done.value, before, best, spec, budget)
            run = {"fit_s": 0.0, "compile_s": round(done.compile_s, 3), "run_s": round(done.run_s, 4)}
            machine = {"device": jax.devices()[0].device_kind, "version": hare_jax.__version__}
            yield replace(spec, budget=budget), row | run | {"peak_mib": round(peak_mib())} | machine


def _figures(
    setting: Setting,
    logit_fn: Partial,
    cohort: Cohort,
    asked: Asked,
    before: Any,
    best: Recourse,
    spec: Spec,
    budget: int,
) -> dict[str, Any]:
    recourse = jax.tree.map(lambda leaf: leaf[:, budget - 1], asked.recourse)
    measures = runner.measure_rows(logit_fn, cohort.x, recourse, setting.table.space, cohort.user)
    row: dict[str, Any] = runner.means(measures, before, jnp.sum(asked.asked[:, :budget], axis=1), cohort.present)
    there = np.asarray(cohort.present & recourse.valid & best.valid)
    known = jax.vmap(metrics.weighted_cost)(cohort.user.weights, cohort.x, best.x)
    loss = measures.ideal_l2 if spec.person == "ideal" else measures.weighted_cost - known
    row["regret"] = float(np.mean(np.asarray(loss)[there])) if there.any() else None
    row["best_known_cost"] = float(np.mean(np.asarray(known)[there])) if there.any() else None
    if budget == _MOST and spec.arm in BAYES and spec.person == "ideal" and there.any():
        row["in_region"] = float(np.mean(np.asarray(asked.in_region)[there]))
    row["num_mutable"] = int(jnp.sum(setting.space.mutable))
    return row


@partial(jax.jit, static_argnames="num_proposals")
def asked_rows(
    elicitor: elicit.Elicitor,
    answers: runner.Answers,
    logit_fn: Partial,
    keys: Array,
    x: Array,
    user: people.User,
    base: Recourse,
    space: ActionSpace,
    *,
    num_proposals: int,
) -> Asked:
    """A session for each row `x` (n, d) with `keys` (n, 2): for all that is asked, and for what is known of it.

    Who asks nothing recommends the same after any number of questions.
    """

    def one(row: tuple[Array, Array, people.User, Recourse]) -> Asked:
        keys, x, user, base = row
        prefers = runner.prefers_fn(answers, user)
        state, trace = elicit.session(elicitor, prefers, keys[0], logit_fn, x, base, space, num_proposals=num_proposals)
        if not elicitor.questions_per_proposal:
            best = jax.tree.map(lambda leaf: jnp.stack([leaf] * _MOST), elicitor.recommend(state))
            return Asked(best, jnp.zeros(_MOST, bool), jnp.array(False))
        held = jnp.array(False)
        if isinstance(state, State) and answers.person == "ideal":
            held = inside(ideal_region(state, keys[1], level=0.9), user.ideal.x)
        return Asked(Recourse(trace.x, trace.valid), trace.asked, held)

    return map_users(one, (keys, x, user, base))


def write(out: Path, users: int) -> Path:
    """Render `questions.md` and `questions.png` from the rows in `out` of that many `users`; the path of the former."""
    rows = figures.load(out, "questions")
    rows = rows[rows["users"] == users] if len(rows) else rows
    lines = [
        "# questions: how near, and how cheap, after how many questions",
        "",
        "Mean over users and seeds of the distance to the hidden ideal, or of the weighted cost, after that many "
        "questions, and its ratio to HARE's after 30 without flips; *asked* is how many of the 30 were asked: HARE has "
        "no question where a candidate is refused or is the best one already. *region* is the share of ideals in the "
        "90 % region after 30. The curve of k bits counts each column that may change as a continuous one; yes or no "
        "takes fewer bits, so a distance may fall below it. *random* asks nothing; its cost is above what the plots of "
        "weights show. Best known is the best of a long search with the true weights, from 32 starts.",
        "",
        "| data set | people | elicitor | 1 | 3 | 5 | 8 | 10 | 20 | 30 | 8 / HARE's 30 | 30 / 30 | asked | region |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    theirs: dict[tuple[str, str], float] = {}
    for (dataset, case), part in _cases(rows):
        means = part.groupby(["arm", "budget"], observed=True)[_metric(case)].mean().unstack("budget")
        last = part[part["budget"] == _MOST].groupby("arm", observed=True)[["in_region", "questions"]].mean()
        metric = dataset, _metric(case)
        if metric not in theirs:
            theirs[metric] = means.loc["multi", _MOST] if "multi" in means.index else float("nan")
        for arm, values in means.iterrows():
            shown = [f"{values[budget]:.3f}" for budget in (1, 3, 5, 8, 10, 20, 30)]
            share = [f"{values[budget] / theirs[metric]:.2f}" for budget in (8, 30)]
            asked = f"{last['questions'][arm]:.1f}"
            held = f"{last['in_region'][arm]:.2f}" if arm in BAYES and case != "weights" else ""
            lines.append(f"| {' | '.join([dataset, case, str(arm), *shown, *share, asked, held])} |")
        if case == "weights":
            known = part["best_known_cost"].mean()
            lines.append(f"| {dataset} | weights | best known | {' | '.join([f'{known:.3f}'] * 7)} | | | | |")
    path = out / "questions.md"
    if len(rows) and (plot := plots.questions(list(_cases(rows)), _metric, out / "questions.png")):
        lines[2:2] = [f"![{plot.stem}]({plot.name})", ""]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _metric(case: str) -> str:
    return "weighted_cost" if case == "weights" else "ideal_l2"


def _cases(rows: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    for dataset, of_dataset in rows.groupby("dataset", observed=True, sort=False) if len(rows) else ():
        for case, (person, noise) in CASES.items():
            part = of_dataset[(of_dataset["person"] == person) & (of_dataset["noise"] == noise)]
            if len(part):
                yield (str(dataset), case), part
