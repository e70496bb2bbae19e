"""Data, trained classifiers, and cohorts of refused rows with simulated people, shared by the experiments."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks.original import paper
from benchmarks.specs import MODELS, Spec
from hare_jax import data, models, people
from hare_jax.evaluate import simulate
from hare_jax.space import ActionSpace


class Setting(NamedTuple):
    """Data and classifiers shared by the specs of one data set, model and mode."""

    table: data.Table
    space: ActionSpace  # of users and HARE
    movable: Array | None  # (d,) the mutable continuous columns; only in paper mode
    params: models.Params  # one set per seed, stacked
    seeds: tuple[int, ...]
    fit_s: float

    def classifier(self, seed: int) -> Partial:
        """The classifier of one seed."""
        at = self.seeds.index(seed)
        return models.classifier(jax.tree.map(lambda leaf: leaf[at], self.params))

    def base(self, method: str, key: Array) -> paper.Base:
        """A base method in the mode of the spec; in paper mode `key` draws the original's random choice of rows."""
        if self.movable is None:
            return paper.Base(method, self.space, self.table.x_train, {})
        return paper.base(method, key, self.table, self.movable)


class Cohort(NamedTuple):
    """The users of one seed, padded to the number in the spec."""

    x: Array  # (users, d)
    users: simulate.Users  # leaves (users, ...); the ideal, the weights, and the kind of person of the spec
    refused: Array  # (users,) bool: not padding
    present: Array  # (users,) bool: not padding, and all draws are valid

    def of(self, kinds: Sequence[str]) -> "Cohort":
        """The cohort with the people of these `kinds` alone."""
        users = {kind: self.users[kind] for kind in kinds}
        return Cohort(self.x, users, self.refused, self.refused & _all_valid(users))


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
    """The paper's training; balanced for mortgage, where only 12 % of the 1,488 training rows are of class 0."""
    training = replace(models.PAPER, hidden=hidden)
    return models.balanced(table.y_train, training) if table.name == "mortgage" else training


def draw_cohort(setting: Setting, spec: Spec, kinds: Sequence[str] = ()) -> Cohort:
    """The first test rows refused by a seed's classifier, in file order, with simulated people; possibly none.

    They are of these `kinds`, by default those that the metrics of the spec need.
    """
    logit_fn, rows = setting.classifier(spec.seed), setting.table.x_test
    refused = rows[jax.vmap(logit_fn)(rows) < 0][: spec.users]
    x = jnp.resize(refused if len(refused) else rows[:1], (spec.users, rows.shape[1]))  # padded by repetition
    hp = people.Population(distance=people.DISTANCES[spec.ideal])
    keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 1), spec.users)
    kinds = tuple(kinds) or simulate.kinds_for(spec.person)
    if setting.movable is None:
        users = _draw(hp, keys, logit_fn, x, setting.space, kinds=kinds)
    else:
        users = _draw_paper(hp, keys, logit_fn, x, setting.movable, kinds=kinds)
    real = jnp.arange(spec.users) < len(refused)
    return Cohort(x, users, real, real & _all_valid(users))


def _all_valid(users: simulate.Users) -> Array:
    return jnp.all(jnp.stack([user.valid for user in users.values()]), axis=0)


_draw = jax.jit(simulate.draw_all, static_argnames="kinds")
_draw_paper = jax.jit(paper.draw_all, static_argnames="kinds")
