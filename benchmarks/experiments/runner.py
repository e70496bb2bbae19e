"""Runs experiments: base method, arm, figures; one row for each spec.

Specs of one data set, model and mode are a group: they share data, classifiers and every compiled program, since a seed
brings new weights and new rows of the same shapes. Groups run side by side, each in a process of its own.
"""

import multiprocessing
import os
import queue
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from rich.console import Console
from rich.progress import Progress

import hare_jax
from benchmarks.cohort import Cohort, Setting, draw_cohort, prepare
from benchmarks.original import paper
from benchmarks.specs import BAYES, Spec
from benchmarks.store import Store
from benchmarks.timing import Timed, peak_mib, timed
from hare_jax import elicit, people
from hare_jax.base import Prefers, Recourse, hyperparams
from hare_jax.elicit.candidates import Sampling
from hare_jax.evaluate import metrics, summary
from hare_jax.evaluate.sharding import map_users
from hare_jax.recourse import bind
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace

Outcome = tuple[Spec, dict[str, Any] | str]  # a spec with its figures, or with what went wrong


class Fitted(NamedTuple):
    """A base method's recourses for a cohort, and what they took."""

    recourse: Timed
    fit_s: float


def run(specs: Sequence[Spec], out: Path, processes: int | None = None) -> int:
    """Run the specs that have no row in `out` yet; 0 if all have one in the end, 1 if one failed.

    `processes` is by default one a core on a CPU, and one on an accelerator.
    """
    store = Store(out / "rows.jsonl")
    missing = [spec for spec in specs if asdict(spec) not in store]
    start, sessions, peak_mib, failed = time.perf_counter(), 0, 0, False
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(missing))
        for spec, row in outcomes(missing, processes):
            progress.update(task, advance=1, description=f"{spec.dataset} {spec.model} {spec.method} {spec.arm}")
            if isinstance(row, str):
                failed = True
                print(f"failed: {asdict(spec)}: {row}", file=sys.stderr)
            else:
                store.append({**asdict(spec), **row})
                sessions += 0 if spec.arm == "base" else row["valid_n"]
                peak_mib = max(peak_mib, row["peak_mib"])
    minutes = (time.perf_counter() - start) / 60
    print(
        f"{len(missing)} experiments, {sessions} sessions, {minutes:.1f} minutes, {peak_mib} MiB a process",
        file=sys.stderr,
    )
    return int(failed)


def outcomes(specs: Iterable[Spec], processes: int | None = None) -> Iterator[Outcome]:
    """Each spec with its outcome, as soon as it is there; groups take turns on `processes`."""
    groups: dict[tuple, list[Spec]] = {}
    for spec in specs:
        groups.setdefault((spec.dataset, spec.model, spec.mode), []).append(spec)
    cores = os.cpu_count() or 1
    if processes is None:
        processes = cores if jax.default_backend() == "cpu" else 1
    processes = min(processes, len(groups))
    if processes <= 1:
        for group in groups.values():
            yield from _group_outcomes(group)
        return
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with ProcessPoolExecutor(processes, context, _start_process, (results, cores // processes)) as pool:
        yield from _collect(results, [pool.submit(_work, group) for group in groups.values()])


def _collect(results: Any, work: list[Future]) -> Iterator[Outcome]:
    """What the processes put in `results`, until each of `work` has put None; raises what broke one of them."""
    running = len(work)
    while running:
        try:
            outcome = results.get(timeout=1)
        except queue.Empty:
            for future in work:
                if future.done():
                    future.result()
            continue
        if outcome is None:
            running -= 1
        else:
            yield outcome


_results: Any = None  # of a process of its own: where its outcomes go


def _start_process(results: Any, num_devices: int) -> None:
    global _results
    _results = results
    jax.config.update("jax_num_cpu_devices", max(1, num_devices))


def _work(group: list[Spec]) -> None:
    for outcome in _group_outcomes(group):
        _results.put(outcome)
    _results.put(None)


def _group_outcomes(group: list[Spec]) -> Iterator[Outcome]:
    try:
        setting = prepare(group[0], sorted({spec.seed for spec in group}))
    except Exception as error:  # the other groups go on
        yield from ((spec, _reason(error)) for spec in group)
        return
    cohorts: dict[tuple, Cohort] = {}
    bases: dict[tuple, Fitted] = {}
    rows: dict[Spec, dict[str, Any]] = {}  # tables share many of their experiments
    for spec in group:
        shared = replace(spec, table="")
        try:
            if shared not in rows:
                rows[shared] = _row(setting, spec, cohorts, bases)
            yield spec, rows[shared]
        except Exception as error:  # the other specs go on
            yield spec, _reason(error)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _row(setting: Setting, spec: Spec, cohorts: dict[tuple, Cohort], bases: dict[tuple, Fitted]) -> dict[str, Any]:
    """The figures of one spec; what it shares with others is looked up in `cohorts` and `bases`, or put there."""
    logit_fn = setting.classifier(spec.seed)
    drawn = (spec.seed, spec.ideal, spec.users)
    if drawn not in cohorts:
        cohorts[drawn] = draw_cohort(setting, spec)
    cohort = cohorts[drawn]
    if (spec.method, *drawn) not in bases:
        bases[spec.method, *drawn] = base_row(setting, spec, logit_fn, cohort)
    base = bases[spec.method, *drawn]
    (recourse, questions), compile_s, run_s = _arm(setting, spec, logit_fn, cohort, base.recourse)
    judged = (
        measure_rows(logit_fn, cohort.x, each, setting.table.space, cohort.user)
        for each in (recourse, base.recourse.value)
    )
    measures, before = judged
    return {
        **means(measures, before, questions, cohort.present),
        "fit_s": round(base.fit_s, 3),
        "compile_s": round(compile_s, 3),
        "run_s": round(run_s, 4),
        "peak_mib": round(peak_mib()),
        "device": jax.devices()[0].device_kind,
        "version": hare_jax.__version__,
    }


def base_row(setting: Setting, spec: Spec, logit_fn: Partial, cohort: Cohort) -> Fitted:
    """The base method of a spec, fitted and run for its cohort."""
    key_rows, key_fit, key_each = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 2), 3)
    base = setting.base(spec.method, key_rows)
    start = time.perf_counter()
    bound = bind(base.method, key_fit, logit_fn, base.rows, base.space, **base.hyperparameters)
    generate = jax.block_until_ready(bound)
    fit_s = time.perf_counter() - start
    keys = jax.random.split(key_each, spec.users)
    return Fitted(timed(base_rows, generate, logit_fn, keys, cohort.x, base.space), fit_s)


def _arm(setting: Setting, spec: Spec, logit_fn: Partial, cohort: Cohort, base: Timed) -> Timed:
    if spec.arm == "base":
        return base._replace(value=(base.value, jnp.zeros(spec.users)))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 3), spec.users)
    elicitor, num_proposals = arm_elicitor(spec, setting.movable)
    logistic = spec.noise == "logistic"
    answers = Answers(person=spec.person, logistic=logistic, flip=0.0 if logistic else float(spec.noise))
    args = elicitor, answers, logit_fn, keys, cohort.x, cohort.user, base.value, setting.space
    return timed(session_rows, *args, num_proposals=num_proposals)


def arm_elicitor(spec: Spec, movable: Array | None = None) -> tuple[elicit.Elicitor, int]:
    """The elicitor of an arm, and its number of proposals; `movable` asks for the original's sampling."""
    if spec.arm in BAYES:
        return elicit.bayesian.elicitor(
            elicit.Bayes(ideal_probability=BAYES[spec.arm], max_questions=spec.budget)
        ), spec.budget
    many = spec.arm == "multi"
    sampling = Sampling(num_directions=spec.per_round if many else spec.budget)
    margin = MARGIN if movable is None else 0.0
    hp = elicit.Hare(sampling=sampling, winner_only=spec.boundary == "winner", margin=margin)
    sample_fn = None if movable is None else Partial(paper.sample, sampling, movable)
    make = elicit.random.elicitor if spec.arm == "random" else elicit.hare.elicitor
    return make(hp, sample_fn), spec.budget // spec.per_round if many else 1


@hyperparams
class Answers:
    """How people answer."""

    person: str = "ideal"  # by what they hide: `ideal` or `weights`
    logistic: bool = False
    flip: float = 0.0  # probability of a flipped answer, where it isn't logistic


def prefers_fn(hp: Answers, user: people.User) -> Prefers:
    """The answers of one user."""
    if hp.person == "ideal":
        prefers = Partial(people.prefers_nearer, user.ideal.x)
    else:
        prefers = Partial(people.prefers_cheaper, user.weights)
    return Partial(people.logistic_flipped, prefers) if hp.logistic else Partial(people.flipped, hp.flip, prefers)


@jax.jit
def base_rows(generate: Partial, logit_fn: Partial, keys: Array, x: Array, space: ActionSpace) -> Recourse:
    """A base recourse for each row `x` (n, d)."""
    return map_users(lambda row: generate(row[0], logit_fn, row[1], space), (keys, x))


@partial(jax.jit, static_argnames="num_proposals")
def session_rows(
    elicitor: elicit.Elicitor,
    answers: Answers,
    logit_fn: Partial,
    keys: Array,
    x: Array,
    user: people.User,
    base: Recourse,
    space: ActionSpace,
    *,
    num_proposals: int,
) -> tuple[Recourse, Array]:
    """A whole session for each row `x` (n, d): what is recommended in the end, and the number of questions (n,)."""

    def one(row: tuple[Array, Array, people.User, Recourse]) -> tuple[Recourse, Array]:
        key, x, user, base = row
        prefers = prefers_fn(answers, user)
        best, trace = elicit.run(elicitor, prefers, key, logit_fn, x, base, space, num_proposals=num_proposals)
        return best, jnp.sum(trace.asked)

    return map_users(one, (keys, x, user, base))


@jax.jit
def measure_rows(
    logit_fn: Partial, x: Array, recourse: Recourse, space: ActionSpace, user: people.User
) -> metrics.Measures:
    """Every figure of each of the recourses for the rows `x` (n, d)."""

    def one(x: Array, recourse: Recourse, user: people.User) -> metrics.Measures:
        return metrics.measure(logit_fn, x, recourse, space, ideal=user.ideal.x, weights=user.weights)

    return jax.vmap(one)(x, recourse, user)


def means(
    measures: metrics.Measures, before: metrics.Measures, questions: Array, present: Array
) -> dict[str, float | int | None]:
    """Mean, s.d. and count over the users that are there: of success and validity all, of the rest the successes.

    A gain is by how much a user's figure fell from `before`, the base method's.
    """
    success = present & (measures.success > 0)
    gains = {f"{name}_gain": getattr(before, name) - getattr(measures, name) for name in ("ideal_l2", "weighted_cost")}
    columns = {**measures._asdict(), **gains, "questions": questions}
    figures: dict[str, float | int | None] = {}
    for name, values in columns.items():
        mean, sd, n = summary.masked_mean(values, present if name in ("success", "valid") else success)
        known = int(n) > 0
        figures |= {
            name: _rounded(mean) if known else None,
            f"{name}_sd": _rounded(sd) if known else None,
            f"{name}_n": int(n),
        }
    return figures


def _rounded(value: Array) -> float:
    """Six digits: what a float32 holds."""
    return float(f"{float(value):.6g}")
