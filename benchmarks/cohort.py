"""What experiments stand on: data, trained classifiers, and cohorts of refused people with hidden wishes."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks.original import paper
from benchmarks.specs import MODELS, Spec
from hare_jax import data, models, people
from hare_jax.evaluate.sharding import map_users
from hare_jax.space import ActionSpace


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
    user: people.User
    present: Array  # (users,) bool: has an ideal, and is no padding


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
    hp = people.Population(distance=people.DISTANCES[spec.ideal])
    keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 1), spec.users)
    faithful = setting.movable is not None
    where = setting.movable if faithful else setting.space
    user = _draw(hp, keys, logit_fn, x, where, draw=paper.draw if faithful else people.draw)
    return Cohort(x, user, (jnp.arange(spec.users) < len(refused)) & user.ideal.valid)


def _draw_rows(
    hp: people.Population, keys: Array, logit_fn: Partial, x: Array, where: Any, *, draw: Callable
) -> people.User:
    return map_users(lambda row: draw(hp, row[0], logit_fn, row[1], where), (keys, x))


_draw = jax.jit(_draw_rows, static_argnames="draw")
