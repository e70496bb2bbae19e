"""Run time of each stage, relative to the peak rate of the machine: `python -m benchmarks speed`.

Every stage is one compiled program over all users, timed warm until its result is ready; the best of three runs is
reported.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

from benchmarks.cohort import Cohort, Setting, draw_cohort, prepare
from benchmarks.experiments import cells, stages
from benchmarks.experiments.waits import waits
from benchmarks.options import OUT, Arms, Methods, Out
from benchmarks.pages import terminal
from benchmarks.specs import Spec, SpeedSpec, check, named_methods, not_empty, takes
from benchmarks.store import Row, Store
from benchmarks.timing import Timed, best_of, compiling_anew, machine, matmul_gflops, peak_mib, round_if_known
from hare_jax import people, recourse
from hare_jax.base import Recourse
from hare_jax.elicit import ELICITORS
from hare_jax.elicit.candidates import Sampling

_STAGES = ("sampling", "boundary", "questions")  # of a round of HARE
_MICRO = 1e6  # microseconds per second
_QUANTILE = 0.99  # of the waits


class Stage(NamedTuple):
    """A timed stage."""

    name: str
    method: str  # the base method whose recourses it starts from
    mflop: float  # 1e6 floating-point operations per user; 0 if they depend on the row
    fit_s: float
    timing: Timed


class Fit(NamedTuple):
    """A fitted base method, and the seconds of its fit, including compilation."""

    generate: Partial
    fit_s: float


@compiling_anew()
def speed(
    dataset: str = "adult",
    users: tuple[int, ...] = (100, 1_000, 10_000),
    methods: Methods = ("wachter", "growing_spheres"),
    arms: Arms = ("single", "multi", "bayes"),
    budget: int = 30,
    per_round: int = 5,
    seed: int = 1,
    out: Out = OUT,
) -> int:
    """Time the base methods, the stages of a round, and whole sessions from the recourses of the first method.

    Args:
        dataset: Data set; its refused test rows are repeated to the number of users.
        users: Numbers of users.
        methods: Base methods, or all.
        arms: Elicitors.
        budget: Number of questions, K.
        per_round: Candidates per round in the sessions of many rounds.
        seed: Seed of training, users and sampling.
        out: Folder of the results.
    """
    methods = named_methods(methods)
    not_empty(users=users, methods=methods, arms=arms)
    rounds: dict[str, Any] = {"budget": budget, "per_round": per_round, "seed": seed}
    cell = Spec(table="speed", dataset=dataset, model="mlp", method=methods[0], arm=arms[0], **rounds)
    for arm in arms:
        check(replace(cell, arm=arm, users=min(users)), tuple(ELICITORS))
    store = Store(out)
    wanted = [spec for num in users for spec in _wanted(cell, num, methods, arms)]
    missing = [spec for spec in wanted if asdict(spec) not in store]
    for row in _rows(cell, missing, methods, arms) if missing else ():
        store.append(row)
    store.merge({"speed"})
    terminal.show_speed(out, [asdict(spec) for spec in wanted])
    return 0


def _wanted(cell: Spec, num: int, methods: Sequence[str], arms: Sequence[str]) -> list[SpeedSpec]:
    """The specs for `num` users, and those of the waiting times of one user."""
    names = [(method, method, num) for method in methods]
    names += [(stage, cell.method, num) for stage in (*_STAGES, *map(_whole, arms))]
    names += [(_wait(arm), cell.method, 1) for arm in arms if _is_stepwise(cell, arm)]
    return [_speed_spec(cell, *each) for each in names]


def _speed_spec(cell: Spec, stage: str, method: str, users: int) -> SpeedSpec:
    return SpeedSpec(
        dataset=cell.dataset,
        stage=stage,
        method=method,
        users=users,
        budget=cell.budget,
        per_round=cell.per_round,
        seed=cell.seed,
        device=machine()["device"],
    )


def _whole(arm: str) -> str:
    return f"{arm}, all of it"


def _wait(arm: str) -> str:
    return f"{arm}, answer to next question, 99th percentile"


def _is_stepwise(cell: Spec, arm: str) -> bool:
    """Whether the elicitor proposes each question after the answer to the previous one."""
    return cells.bind_elicitor(replace(cell, arm=arm)).questions_per_proposal == 1


def _rows(cell: Spec, missing: list[SpeedSpec], methods: Sequence[str], arms: Sequence[str]) -> Iterator[Row]:
    """The rows of each number of users with a missing spec, and those of the waiting times."""
    setting, peak = prepare(cell, (cell.seed,)), matmul_gflops()
    fits = {method: _fit(setting, cell.seed, method) for method in methods}
    stepwise = [arm for arm in arms if any(spec.stage == _wait(arm) for spec in missing)]
    for num in dict.fromkeys(spec.users for spec in missing if spec.stage not in map(_wait, arms)):
        for stage in _stages(setting, replace(cell, users=num), fits, arms):
            spec = _speed_spec(cell, stage.name, stage.method, num)
            yield asdict(spec) | _figures(stage, num, peak) | machine()
    for arm in stepwise:
        seconds = waits(setting, replace(cell, arm=arm), fits[cell.method].generate)
        spec = _speed_spec(cell, _wait(arm), cell.method, 1)
        yield asdict(spec) | {"us_per_user": cells.rounded(np.quantile(seconds, _QUANTILE) * _MICRO)} | machine()


def _figures(stage: Stage, num: int, peak: float) -> Row:
    gflops = stage.mflop * num / stage.timing.run_s / 1e3
    return {
        "fit_s": round(stage.fit_s, 2),
        "compile_s": round_if_known(stage.timing.compile_s, 2),
        "us_per_user": round(stage.timing.run_s / num * _MICRO, 2),
        "mflop_per_user": round(stage.mflop, 4),
        "gflops": round(gflops, 2),
        "peak_gflops": round(peak, 1),
        "share_of_peak": round(gflops / peak, 4) if stage.mflop else None,
        "peak_mib": round(peak_mib()),
    }


def _fit(setting: Setting, seed: int, method: str) -> Fit:
    start = time.perf_counter()
    logit_fn = setting.classifier(seed)
    generate = recourse.bind(method, jax.random.key(seed), logit_fn, setting.table.x_train, setting.space)
    return Fit(jax.block_until_ready(generate), time.perf_counter() - start)


def _stages(setting: Setting, spec: Spec, fits: dict[str, Fit], arms: Sequence[str]) -> Iterator[Stage]:
    """Each stage for the users of `spec`; all except the base methods start from the recourses of its method."""
    cohort, key = draw_cohort(setting, spec), jax.random.key(spec.seed)
    given = setting.classifier(spec.seed), cohort.x, setting.space
    bases: dict[str, Recourse] = {}
    for method, fit in fits.items():
        timing = best_of(cells.generate_all, fit.generate, key, *given)
        bases[method] = timing.value
        yield Stage(method, method, 0.0, fit.fit_s, timing)
    base = bases[spec.method]
    yield from _round_stages(setting, spec, cohort, base)
    for arm in arms:
        yield _session_stage(setting, replace(spec, arm=arm), cohort, base)


def _round_stages(setting: Setting, spec: Spec, cohort: Cohort, base: Recourse) -> Iterator[Stage]:
    """The stages of HARE's single round."""
    logit_fn, space, num = setting.classifier(spec.seed), setting.space, spec.budget
    hp = Sampling(num_directions=num)
    work = stages.work(setting, hp)
    keys = jax.random.split(jax.random.key(spec.seed), spec.users)
    sampling, to_boundary, questions = _STAGES
    drawn = best_of(stages.sample_all, hp, logit_fn, keys, cohort.x, base.x, space)
    yield Stage(sampling, spec.method, stages.spreading(work, 1, num), 0.0, drawn)
    found = best_of(stages.boundary_all, logit_fn, cohort.x, drawn.value, space)
    yield Stage(to_boundary, spec.method, stages.bisecting(work, num), 0.0, found)
    asked = best_of(stages.question_all, logit_fn, cohort.x, found.value, space, cohort.users["ideal"].hidden)
    yield Stage(questions, spec.method, 0.0, 0.0, asked)


def _session_stage(setting: Setting, spec: Spec, cohort: Cohort, base: Recourse) -> Stage:
    """Whole sessions with an elicitor."""
    elicitor, mflop = cells.bind_elicitor(spec), 0.0
    session = elicitor, spec.person, people.Noise(), jax.random.key(spec.seed), setting.classifier(spec.seed)
    timing = best_of(cells.elicit_all, *session, cohort.x, cohort.users, base, setting.space)
    if takes(spec.arm, "sampling"):
        num = elicitor.questions_per_proposal or spec.budget
        work = stages.work(setting, Sampling(num_directions=num))
        mflop = stages.spreading(work, elicitor.num_proposals, num) + stages.bisecting(work, spec.budget + 1)
    return Stage(_whole(spec.arm), spec.method, mflop, 0.0, timing)
