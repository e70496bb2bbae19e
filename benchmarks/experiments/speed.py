"""How long each stage takes, beside what the machine could do: `python -m benchmarks speed`.

Every stage is one compiled program over all users, timed warm until its result is ready; the best of three runs counts.
The floating-point operations of a user are counted on paper, products alone: F for one evaluation of the classifier and
twice that for its value and gradient, N * N * d * 4 for a step of spreading N directions in d columns.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from rich.console import Console
from rich.table import Table

import hare_jax
from benchmarks.cohort import Setting, draw_cohort, prepare
from benchmarks.experiments import runner
from benchmarks.specs import Spec, check
from benchmarks.store import append_row
from benchmarks.timing import Timed, peak_mib, timed
from hare_jax import elicit, models, people
from hare_jax.base import Recourse, require
from hare_jax.elicit import candidates
from hare_jax.elicit.hare import State
from hare_jax.evaluate.sharding import map_users
from hare_jax.recourse import METHODS, bind
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace

_SHOWN = (
    "users",
    "stage",
    "fit_s",
    "compile_s",
    "us_per_user",
    "mflop_per_user",
    "gflops",
    "share_of_peak",
    "peak_mib",
)


def speed(
    dataset: str = "adult",
    users: tuple[int, ...] = (100, 1_000, 10_000),
    methods: tuple[str, ...] = ("wachter", "growing_spheres"),
    budget: int = 30,
    per_round: int = 5,
    seed: int = 1,
    out: Path = Path("benchmarks/results"),
) -> int:
    """Time the base methods, the stages of a round, and whole sessions, and append the rows to `speed.jsonl`.

    Args:
        dataset: Data set; its refused test rows are repeated as often as needed.
        users: Numbers of users.
        methods: Base methods, or `all`; the sessions start from the first.
        budget: Questions, K.
        per_round: Candidates a round in the sessions of many rounds.
        seed: Seed of training, users and sampling.
        out: Folder of the results.
    """
    methods = tuple(METHODS) if methods == ("all",) else methods
    for name, given in (("users", users), ("methods", methods)):
        require(len(given) > 0, name, "must hold at least one", given)
    shared: dict[str, Any] = {"dataset": dataset, "budget": budget, "per_round": per_round}
    specs = {
        (num, method): check(
            Spec(table="speed", model="mlp", method=method, arm="multi", seed=seed, users=num, **shared)
        )
        for num in users
        for method in methods
    }
    setting, peak = prepare(specs[users[0], methods[0]], (seed,)), matmul_gflops()
    fitted = {method: _fitted(setting, seed, method) for method in methods}
    machine = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "version": hare_jax.__version__}
    shown = Table(*_SHOWN, title=f"{dataset}, K = {budget}, {machine['device']}, peak {peak:.0f} GFLOP/s")
    for num in users:
        for stage, mflop, fit_s, timing in _stages(setting, specs[num, methods[0]], fitted):
            row = {
                **shared,
                "users": num,
                "stage": stage,
                "fit_s": round(fit_s, 2),
                "compile_s": round(timing.compile_s, 2),
                "us_per_user": round(timing.run_s / num * 1e6, 2),
                "mflop_per_user": round(mflop, 4),
                "gflops": round(mflop * num / timing.run_s / 1e3, 2),
                "peak_gflops": round(peak, 1),
                "peak_mib": round(peak_mib()),
                **machine,
            }
            row["share_of_peak"] = round(row["gflops"] / peak, 4) if mflop else None
            append_row(out / "speed.jsonl", row)
            shown.add_row(*(str(row[name]) for name in _SHOWN))
    waits = _waits(setting, specs[users[0], methods[0]], fitted[methods[0]][0])
    slowest = float(np.quantile(waits, 0.99))
    row = {
        **shared,
        "users": 1,
        "stage": "bayes, answer to next question, 99th percentile",
        "us_per_user": slowest * 1e6,
    }
    append_row(out / "speed.jsonl", {**row, **machine})
    Console(width=110).print(shown)
    print(f"Bayes, from an answer to the next question: {slowest * 1e3:.1f} ms (99th percentile of {len(waits)})")
    return 0


def matmul_gflops(size: int = 2048, dtype: Any = jnp.float32) -> float:
    """The machine's best rate of multiplying two square matrices, in 1e9 floating-point operations a second."""
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    return 2 * size**3 / _best(jax.jit(lambda a: jnp.dot(a, a, precision="highest")), a, runs=5).run_s / 1e9


def _best(fn: Callable, *args: Any, runs: int = 3, **kwargs: Any) -> Timed:
    first = timed(fn, *args, **kwargs)
    seconds = [first.run_s]
    for _ in range(runs - 1):
        start = time.perf_counter()
        jax.block_until_ready(fn(*args, **kwargs))
        seconds.append(time.perf_counter() - start)
    return first._replace(run_s=min(seconds))


def _fitted(setting: Setting, seed: int, method: str) -> tuple[Partial, float]:
    """A base method and the seconds that its fit took, compilation included."""
    start = time.perf_counter()
    generate = bind(method, jax.random.key(seed), setting.classifier(seed), setting.table.x_train, setting.space)
    return jax.block_until_ready(generate), time.perf_counter() - start


def _stages(
    setting: Setting, spec: Spec, fitted: dict[str, tuple[Partial, float]]
) -> list[tuple[str, float, float, Timed]]:
    """Each stage with its 1e6 floating-point operations a user (0 where they depend on the row), its fit and its time.

    Sessions start from the recourses of the first method.
    """
    logit_fn, space = setting.classifier(spec.seed), setting.space
    evaluation = 2e-6 * sum(layer.weight[0].size for layer in models.to_layers(setting.params))
    cohort = draw_cohort(setting, spec)
    keys = jax.random.split(jax.random.key(spec.seed), spec.users)
    stages = []
    for method, (generate, fit_s) in fitted.items():
        stages.append((method, 0.0, fit_s, _best(runner.base_rows, generate, logit_fn, keys, cohort.x, space)))
    base = stages[0][-1]
    width, num = cohort.x.shape[1], spec.budget
    hp = candidates.Sampling(num_directions=num)
    args = logit_fn, keys, cohort.x, base.value.x
    drawn = _best(_sample_rows, hp, *args, space)
    found = _best(_boundary_rows, logit_fn, cohort.x, drawn.value, space)
    asked = _best(_question_rows, logit_fn, cohort.x, found.value, space, cohort.user.ideal.x)
    sampling = hp.num_steps * (num * 2 * evaluation + 4e-6 * num**2 * width)
    stages.append(("sampling", sampling, 0.0, drawn))
    stages.append(("boundary", 21 * num * evaluation, 0.0, found))
    stages.append(("questions", 0.0, 0.0, asked))
    rounds = num // spec.per_round
    spread = hp.num_steps * (num * 2 * evaluation + rounds * 4e-6 * spec.per_round**2 * width)
    bisecting = 21 * (num + 1) * evaluation
    for arm, flops in (("single", sampling + bisecting), ("multi", spread + bisecting), ("bayes", 0.0)):
        elicitor, num_proposals = runner.arm_elicitor(replace(spec, arm=arm))
        session = _best(
            runner.session_rows, elicitor, runner.Answers(), logit_fn, keys, cohort.x, cohort.user, base.value, space,
            num_proposals=num_proposals,
        )  # fmt: skip
        stages.append((f"{arm}, all of it", flops, 0.0, session))
    return stages


def _waits(setting: Setting, spec: Spec, generate: Partial, num_people: int = 10) -> list[float]:
    """Seconds, one by one, from a person's answer to the Bayesian elicitor's next question, after compilation."""
    logit_fn, elicitor = setting.classifier(spec.seed), elicit.bayesian.elicitor()
    cohort = draw_cohort(setting, spec)
    start, propose, ask = (jax.jit(fn) for fn in (elicitor.start, elicitor.propose, elicitor.ask))

    @jax.jit
    def answered(state: Any, key: Array, answer: Array) -> tuple[Any, elicit.Question]:
        state = elicitor.propose(elicitor.tell(state, answer), key)
        return state, elicitor.ask(state)

    seconds = []
    for key, x, user in zip(
        jax.random.split(jax.random.key(0), num_people), cohort.x, cohort.user.ideal.x, strict=False
    ):
        state = propose(start(key, logit_fn, x, generate(key, logit_fn, x, setting.space), setting.space), key)
        shown = ask(state)
        for key_answer in jax.random.split(key, 30):
            answer = 1 - people.prefers_nearer(user, key, x, shown.a, shown.b).astype(int)
            begin = time.perf_counter()
            state, shown = jax.block_until_ready(answered(state, key_answer, answer))
            seconds.append(time.perf_counter() - begin)
    return seconds[1:]  # the first one compiled


@jax.jit
def _sample_rows(
    hp: candidates.Sampling, logit_fn: Partial, keys: Array, x: Array, centre: Array, space: ActionSpace
) -> Array:
    def one(row: tuple[Array, Array, Array]) -> Array:
        return candidates.sample(hp, row[0], logit_fn, row[1], row[2], space)

    return map_users(one, (keys, x, centre))


@jax.jit
def _boundary_rows(logit_fn: Partial, x: Array, x_cf: Array, space: ActionSpace) -> Recourse:
    search = jax.vmap(partial(boundary, logit_fn, space=space), in_axes=(None, 0))
    return map_users(lambda row: search(*row), (x, x_cf))


@jax.jit
def _question_rows(logit_fn: Partial, x: Array, pool: Recourse, space: ActionSpace, ideal: Array) -> Array:
    elicitor = elicit.hare.elicitor()

    def answer(state: State, _: None, prefers: Partial) -> tuple[State, None]:
        shown = elicitor.ask(state)
        return elicitor.tell(state, 1 - prefers(jax.random.key(0), state.x, shown.a, shown.b).astype(int)), None

    def one(row: tuple[Array, Recourse, Array]) -> Array:
        x, pool, ideal = row
        first = Recourse(pool.x[0], pool.valid[0])
        state = State(logit_fn, x, space, first, pool.x, pool.valid, jnp.zeros((), jnp.int32))
        step = partial(answer, prefers=Partial(people.prefers_nearer, ideal))
        return jax.lax.scan(step, state, length=pool.x.shape[0])[0].best.x

    return map_users(one, (x, pool, ideal))
