"""What experiments stand on: data, trained classifiers, and cohorts of refused people with hidden wishes."""

import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks import paper
from benchmarks.specs import MODELS, Spec
from hare_jax import data, models, users
from hare_jax.sharding import map_users
from hare_jax.space import ActionSpace


class Timed(NamedTuple):
    """A program's result, the seconds its compilation took and those of one warm run."""

    value: Any
    compile_s: float
    run_s: float


class Setting(NamedTuple):
    """What the specs of one data set, model and mode share."""

    table: data.Table
    space: ActionSpace  # where users and HARE move
    movable: Array | None  # (d,) in paper mode alone: the mutable continuous columns
    params: models.Params  # one set a seed, stacked
    seeds: tuple[int, ...]
    fit_s: float

    def classifier(self, seed: int) -> Partial:
        """The classifier of one seed."""
        at = self.seeds.index(seed)
        return models.classifier(jax.tree.map(lambda leaf: leaf[at], self.params))

    def base(self, method: str, key: Array) -> paper.Base:
        """A base method, as the mode runs it; `key` draws what the original draws among the rows."""
        if self.movable is None:
            return paper.Base(method, self.space, self.table.x_train, {})
        return paper.base(method, key, self.table, self.movable)


class Cohort(NamedTuple):
    """The users of one seed, padded to the number asked for."""

    x: Array  # (users, d)
    user: users.User
    present: Array  # (users,) bool: has an ideal, and is no padding


_compilations: list[str] = []  # events that JAX reported so far


def _listen(event: str, duration_secs: float, **kwargs: Any) -> None:
    if event.startswith("/jax/core/compile"):
        _compilations.append(event)


jax.monitoring.register_event_duration_secs_listener(_listen)


def timed(fn: Callable, *args: Any, **kwargs: Any) -> Timed:
    """Call a jitted function and wait for its result; if that compiled, call it again: the difference is what it took.

    The second call is left out where the first was warm, which halves the time of a table with many seeds.
    """
    seconds: list[float] = []
    known = len(_compilations)
    while not seconds or (len(seconds) == 1 and len(_compilations) > known):
        start = time.perf_counter()
        value = jax.block_until_ready(fn(*args, **kwargs))
        seconds.append(time.perf_counter() - start)
    return Timed(value, max(seconds[0] - seconds[-1], 0.0), seconds[-1])


def compile_quickly() -> None:
    """Have a CPU compile in half the time: tables are many programs that run for milliseconds.

    The flag is read when the first program is compiled, in this process and in those that it starts.
    """
    os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=1 {os.environ.get('XLA_FLAGS', '')}".strip()


def peak_mib() -> float:
    """The largest memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def prepare(spec: Spec, seeds: Sequence[int]) -> Setting:
    """Load the data of `spec` and train its model, all `seeds` at once."""
    faithful = spec.mode == "paper"
    table = data.load(spec.dataset, bounds_from="all" if faithful else "train")
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    fit = jax.jit(jax.vmap(models.fit, in_axes=(None, 0, None, None)))
    start = time.perf_counter()
    training = training_for(table, MODELS[spec.model])
    params = jax.block_until_ready(fit(training, keys, table.x_train, table.y_train))
    fit_s = time.perf_counter() - start
    if not faithful:
        return Setting(table, table.space, None, params, tuple(seeds), fit_s)
    movable = table.space.mutable & ~paper.is_categorical(table)
    return Setting(table, paper.free_space(movable), movable, params, tuple(seeds), fit_s)


def training_for(table: data.Table, hidden: tuple[int, ...]) -> models.Training:
    """The paper's training; of mortgage's 1,488 rows 12 % are refused, and it needs balanced classes."""
    return models.balanced(table.y_train, hidden) if table.name == "mortgage" else models.Training(hidden=hidden)


def draw_cohort(setting: Setting, spec: Spec) -> Cohort:
    """The first refused test rows of a seed's classifier, in file order, each with a user of their own; maybe none."""
    logit_fn, rows = setting.classifier(spec.seed), setting.table.x_test
    refused = rows[jax.vmap(logit_fn)(rows) < 0][: spec.users]
    x = jnp.resize(refused if len(refused) else rows[:1], (spec.users, rows.shape[1]))  # who is not there is padding
    hp = users.Population(distance=users.DISTANCES[spec.ideal])
    keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 1), spec.users)
    faithful = setting.movable is not None
    where = setting.movable if faithful else setting.space
    user = _draw(hp, keys, logit_fn, x, where, draw=paper.draw if faithful else users.draw)
    return Cohort(x, user, (jnp.arange(spec.users) < len(refused)) & user.ideal.valid)


def _draw_rows(
    hp: users.Population, keys: Array, logit_fn: Partial, x: Array, where: Any, *, draw: Callable
) -> users.User:
    return map_users(lambda row: draw(hp, row[0], logit_fn, row[1], where), (keys, x))


_draw = jax.jit(_draw_rows, static_argnames="draw")
