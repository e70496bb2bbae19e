"""The demonstration: train a classifier, simulate people it refuses, and compare elicitors with their base method.

For each person, `run` computes the recourse of the base method and that of each elicitor in `Demo.arms`, by a few
jitted programs over all people at once. It prints nothing; a context manager passed by the caller marks the stages.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from hare_jax import data, elicit, models, recourse
from hare_jax.app.compiling import quick_jit
from hare_jax.app.options import Cache
from hare_jax.base import LogitFn, Recourse, choose, require
from hare_jax.elicit import ELICITORS
from hare_jax.evaluate import metrics, simulate
from hare_jax.evaluate.summary import Summary, summarise
from hare_jax.people import DISTANCES, PERSONS, Noise, Population
from hare_jax.space import ActionSpace

Stage = Callable[[str], AbstractContextManager[Any]]  # name of a stage -> context manager around it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo:
    """Compare a base method, a random control, HARE and the Bayesian elicitor on simulated applicants.

    Trains a classifier, simulates people that it refuses, each with a hidden ideal recourse, and shows how near to it
    each method comes, at what cost and in what time. Then shows the recourse of one person before and after the
    questions.
    """

    dataset: str = "mortgage"
    """Data set, as listed by `hare-jax data list`; all but mortgage are downloaded once."""
    method: str = "wachter"
    """Base method, as listed by `hare-jax methods`; the elicitors start from its recourse."""
    num_users: int = 100
    """People to simulate: the first test rows that the classifier refuses, or all where there are fewer."""
    seed: int = 1
    """Seed of the classifier, the people and the methods."""
    budget: int = 30
    """Largest number of questions per person; also the number of candidates in HARE's one round."""
    per_round: int = 5
    """Candidates in each of HARE's many rounds; the number of rounds is budget / per-round, rounded down."""
    arms: tuple[str, ...] = ("random", "single", "multi", "bayes")
    """Elicitors to compare, as listed by `hare-jax elicitors`."""
    person: str = "ideal"
    """Kind of simulated people, such as ideal (a hidden ideal recourse) or weights; `hare-jax elicitors` lists them."""
    ideal: str = "far"
    """Distance of the hidden ideals from the factuals: near, intermediate or far."""
    applicant: int = 0
    """Number of the person to show, from 1; 0 selects the one with the largest gain from the questions."""
    cache: Cache = True


class Arm(NamedTuple):
    """Results of one arm for n people."""

    recourse: Recourse  # (n, d), (n,)
    measures: metrics.Measures  # fields (n,)
    summaries: dict[str, Summary]
    questions: float  # per person
    seconds: float  # per person, without compilation; an elicitor's exclude those of the base method


class People(NamedTuple):
    """The n refused people for whom an ideal was found."""

    x: Array  # (n, d)
    users: simulate.Users  # leaves (n, ...)
    num_refused: int  # test rows
    num_drawn: int  # people drawn, including those without an ideal


class Report(NamedTuple):
    """The content of the output of `hare-jax demo`."""

    table: data.Table
    accuracy: float  # on the test rows
    balanced_accuracy: float
    people: People
    arms: dict[str, Arm]


def check(demo: Demo) -> None:
    """Raise a `ValueError` if an option is invalid, before any data is loaded."""
    choose("dataset", demo.dataset, data.SOURCES)
    choose("method", demo.method, recourse.METHODS)
    choose("person", demo.person, PERSONS)
    choose("ideal", demo.ideal, DISTANCES)
    require(len(demo.arms) > 0, "arms", "must hold at least one", demo.arms)
    for arm in demo.arms:
        choose("arms", arm, ELICITORS)
    require(demo.num_users >= 1, "num-users", "must be at least 1", demo.num_users)
    require(demo.budget >= 1, "budget", "must be at least 1", demo.budget)
    require(1 <= demo.per_round <= demo.budget, "per-round", "must be at least 1, at most the budget", demo.per_round)
    require(0 <= demo.seed < 2**32, "seed", "must be at least 0 and below 2^32", demo.seed)
    require(demo.applicant >= 0, "applicant", "must be 0 or the number of a person, from 1", demo.applicant)


def run(demo: Demo, stage: Stage = nullcontext) -> Report:
    """Run the demonstration; `stage(name)` is a context manager around each slow part.

    Raises:
        ValueError: an option is invalid, no test row is refused, or no ideal was found for any refused row.
        ImportError, OSError: those of `data.load`.
    """
    check(demo)
    key_train, key_people, key_arms = jax.random.split(jax.random.key(demo.seed), 3)
    with stage(f"Load {demo.dataset}"):
        table = data.load(demo.dataset)
    with stage("Train the classifier"):
        training = models.balanced(table.y_train, models.PAPER)
        logit_fn = models.classifier(quick_jit(models.fit)(training, key_train, table.x_train, table.y_train))
        accuracy, balanced, logits = quick_jit(_scores)(logit_fn, table.x_test, table.y_test)
    with stage("Draw people and their ideals"):
        people = draw_people(demo, key_people, logit_fn, table, np.flatnonzero(logits < 0))
    arms = compare(demo, key_arms, logit_fn, table, people, stage)
    return Report(table, float(accuracy), float(balanced), people, arms)


def draw_people(demo: Demo, key: Array, logit_fn: Partial, table: data.Table, refused: np.ndarray) -> People:
    """Simulate people at the first `num_users` of the `refused` test rows, and keep those with an ideal."""
    require(len(refused) > 0, "dataset", "must have test rows that the classifier refuses", demo.dataset)
    rows = table.x_test[refused[: demo.num_users]]
    population = Population(distance=DISTANCES[demo.ideal])
    draw_all = functools.partial(simulate.draw_all, kinds=simulate.kinds_for(demo.person))
    users = quick_jit(draw_all)(population, key, logit_fn, rows, table.space)
    kept = np.flatnonzero(np.all([user.valid for user in users.values()], axis=0))
    require(len(kept) > 0, "ideal", "must be found for at least one refused person", demo.ideal)
    require(
        demo.applicant <= len(kept), "applicant", f"must be at most {len(kept)}, the number of people", demo.applicant
    )
    return People(rows[kept], jax.tree.map(lambda leaf: leaf[kept], users), len(refused), len(rows))


def compare(
    demo: Demo, key: Array, logit_fn: Partial, table: data.Table, people: People, stage: Stage = nullcontext
) -> dict[str, Arm]:
    """Compute and measure the recourses of all arms for all people."""
    key_fit, key_base, *keys = jax.random.split(key, 2 + len(demo.arms))
    judge_fn = quick_jit(functools.partial(_judge, demo.person))
    judge = functools.partial(judge_fn, jax.random.fold_in(key, 0), logit_fn, people, table.space)
    with stage(f"Base recourse: {demo.method}"):
        generate = recourse.bind(demo.method, key_fit, logit_fn, table.x_train, table.space)
        base, seconds = timed(simulate.generate_all, generate, key_base, logit_fn, people.x, table.space)
        arms = {"base": _arm(judge, base, 0.0, seconds)}
    for name, key_arm in zip(demo.arms, keys, strict=True):
        elicitor = elicit.bind(name, budget=demo.budget, per_round=demo.per_round)
        with stage(f"{ELICITORS[name].label}, {demo.budget} questions at most"):
            args = Noise(), key_arm, logit_fn, people.x, people.users, base, table.space
            done, seconds = timed(functools.partial(simulate.elicit_all, elicitor, demo.person), *args)
            arms[name] = _arm(judge, done.recourse, float(jnp.mean(done.questions)), seconds)
    return arms


def _arm(judge: Callable, found: Recourse, questions: float, seconds: float) -> Arm:
    measures, summaries = judge(found)
    return Arm(found, measures, summaries, questions, seconds / len(found.x))


def label(arm: str) -> str:
    """Display name of an arm."""
    return ELICITORS[arm].label if arm in ELICITORS else arm


def shown_arms(demo: Demo) -> tuple[str, ...]:
    """The last two arms that ask questions; the table of one applicant shows their recourses."""
    return tuple(arm for arm in demo.arms if ELICITORS[arm].asks)[-2:]


def gain(report: Report, arm: str) -> np.ndarray:
    """Loss of the base recourse minus that of an `arm`, (n,); -inf where the base method failed."""
    before, after = (report.arms[name].measures for name in ("base", arm))
    return np.asarray(jnp.where(before.success > 0, before.loss - after.loss, -jnp.inf))


def timed(fn: Callable, *args: Any) -> tuple[Any, float]:
    """Jit and run `fn(*args)`: its result, and the seconds of a second, warm run."""
    compiled = quick_jit(fn).lower(*args).compile()
    result = jax.block_until_ready(compiled(*args))
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    return result, time.perf_counter() - start


def _scores(logit_fn: Partial, x: Array, y: Array) -> tuple[Array, Array, Array]:
    return models.accuracy(logit_fn, x, y), models.balanced_accuracy(logit_fn, x, y), jax.vmap(logit_fn)(x)


def _judge(
    person: str, key: Array, logit_fn: LogitFn, people: People, space: ActionSpace, recourses: Recourse
) -> tuple[metrics.Measures, dict[str, Summary]]:
    measures = simulate.measure_all(logit_fn, people.x, recourses, space, people.users, person)
    return measures, summarise(key, measures)
