"""The cells: base recourses and sessions of a seed with switches on, and the metrics that the authors saved."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from benchmarks import noise
from benchmarks.authors import descent, rounding, stream
from benchmarks.authors.switches import Bundle, of_sessions
from benchmarks.cohort import Cohort, Setting, draw_cohort
from benchmarks.experiments import cells
from benchmarks.original import paper
from benchmarks.specs import BASE, Spec
from hare_jax import people, recourse
from hare_jax.base import LogitFn, Recourse
from hare_jax.evaluate import simulate

_AT_SEED_0 = "wachter"  # the base method that seeds PyTorch with 0, whatever the seed of the run


@dataclass(frozen=True)
class Group:
    """What the cells of one data set and classifier share: data, classifiers, cohorts and base recourses."""

    setting: Setting
    cohorts: dict[tuple, Cohort] = field(default_factory=dict)
    bases: dict[tuple, Recourse] = field(default_factory=dict)

    def figures(self, spec: Spec, on: Bundle, metrics: Sequence[str]) -> dict[str, float]:
        """Means of these metrics over the users of a seed; of those with a recourse, except for the success rate."""
        sessions = of_sessions(on)
        cohort = self._cohort(spec, sessions)
        base = self._base(spec, sessions, cohort)
        logit_fn = self.setting.classifier(spec.seed)
        found = base if spec.arm == BASE else _sessions(self.setting, spec, cohort, base, "shared" in on)
        space = self.setting.table.space
        measures = cells.measure_all(logit_fn, cohort.x, found, space, cohort.users, person=spec.person)
        values = {**measures._asdict(), "l2_squared": measures.l2**2}
        if "rounding" in on and "redundancy" in metrics:
            rounded = rounding.of_result(spec.method, spec.arm, self.setting.table, cohort.x)
            values["redundancy"] = rounding.redundancy(logit_fn, cohort.x, found.x, rounded)
        present = np.asarray(cohort.present)
        success = present & (np.asarray(measures.success) > 0)
        masks = {name: present if name == "success" else success for name in metrics}
        return {name: float(np.mean(np.asarray(values[name])[mask])) for name, mask in masks.items() if mask.any()}

    def _cohort(self, spec: Spec, on: Bundle) -> Cohort:
        key = spec.seed, spec.users, spec.ideal, on & {"shared", "stream"}
        if key not in self.cohorts:
            drawn = draw_cohort(self.setting, spec, ("ideal", "weights"))
            if "stream" in on:
                drawn = _streamed(self.setting, spec, drawn)
            elif "shared" in on:
                drawn = _shared(self.setting, spec, drawn)
            self.cohorts[key] = drawn
        return self.cohorts[key]

    def _base(self, spec: Spec, on: Bundle, cohort: Cohort) -> Recourse:
        on = _of_base(spec.method, on)
        key = spec.seed, spec.users, spec.method, on
        if key not in self.bases:
            self.bases[key] = Recourse(*_placed(cohort, *_base(self.setting, spec, cohort.x, on)))
        return self.bases[key]


def _of_base(method: str, on: Bundle) -> Bundle:
    """The switches that change the recourses of a base method."""
    if method == "growing_spheres" and "stream" in on:
        return frozenset({"stream"})
    return on & ({"loop", "shared"} if method == "wachter" else {"shared"})


def _base(setting: Setting, spec: Spec, x: Array, on: Bundle) -> Recourse:
    """The base recourses for the rows `x` (n, d); see `cells.fit_base`."""
    logit_fn = setting.classifier(spec.seed)
    if "stream" in on:
        return _spheres(spec.seed, logit_fn, x, _movable(setting))
    key_rows, key_fit, key_each = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 2), 3)
    base = setting.base(spec.method, key_rows)
    if "loop" in on:
        generate = Partial(descent.wachter)
    else:
        generate = recourse.bind(base.method, key_fit, logit_fn, base.rows, base.space, **base.hyperparameters)
    return cells.generate_all(generate, _keys(key_each, len(x), "shared" in on), logit_fn, x, base.space)


def _spheres(seed: int, logit_fn: LogitFn, x: Array, movable: Array) -> Recourse:
    """The original's growing spheres for the rows `x` (n, d)."""
    logits, columns = _in_numpy(logit_fn), np.asarray(movable)
    found = [stream.spheres(seed, logits, row, columns) for row in np.asarray(x, dtype=np.float64)]
    points = [row if point is None else point for row, point in zip(np.asarray(x), found, strict=True)]
    return Recourse(jnp.asarray(np.stack(points), x.dtype), jnp.array([point is not None for point in found]))


def _sessions(setting: Setting, spec: Spec, cohort: Cohort, base: Recourse, shared: bool) -> Recourse:
    """The results of the sessions of an arm; see `cells.run_arm`."""
    seed = 0 if shared and spec.method == _AT_SEED_0 else spec.seed
    keys = _keys(jax.random.fold_in(jax.random.key(seed), 3), len(cohort.x), shared)
    elicitor, answers = cells.bind_elicitor(spec, setting.movable), noise.parse(spec.noise)
    logit_fn = setting.classifier(spec.seed)
    return cells.elicit_all(
        elicitor, spec.person, answers, keys, logit_fn, cohort.x, cohort.users, base, setting.space
    ).recourse


def _shared(setting: Setting, spec: Spec, cohort: Cohort) -> Cohort:
    """The cohort with people whose ideals and weights come from one key."""
    key = jax.random.fold_in(jax.random.key(spec.seed), 1)
    hp = people.Population(distance=people.DISTANCES[spec.ideal])
    keys = _keys(key, len(cohort.x), True)
    logit_fn, movable = setting.classifier(spec.seed), _movable(setting)
    users = _draw(hp, keys, logit_fn, cohort.x, movable, kinds=("ideal", "weights"))
    return _of(cohort, users)


def _streamed(setting: Setting, spec: Spec, cohort: Cohort) -> Cohort:
    """The cohort with the original's people."""
    table, logits = setting.table, _in_numpy(setting.classifier(spec.seed))
    movable = np.asarray(setting.movable)
    num_coarse = int(np.sum(np.asarray(table.space.mutable & paper.is_categorical(table))))
    draw = partial(stream.person, movable=movable, num_coarse=num_coarse, distance=people.DISTANCES[spec.ideal])
    drawn = [draw(spec.seed, logits, row) for row in np.asarray(cohort.x, dtype=np.float64)]
    valid = jnp.array([each.valid for each in drawn])

    def user(rows: list[np.ndarray]) -> people.User:
        return people.User(jnp.asarray(np.stack(rows), cohort.x.dtype), valid)

    ideals, weights = [each.ideal for each in drawn], [each.weights for each in drawn]
    return _of(cohort, {"ideal": user(ideals), "weights": user(weights)})


def _of(cohort: Cohort, users: simulate.Users) -> Cohort:
    """The cohort with these people, in the place of its own."""
    placed = {kind: people.User(*_placed(cohort, *user)) for kind, user in users.items()}
    return Cohort(cohort.x, placed, cohort.refused, cohort.refused).of(tuple(users))


def _placed(cohort: Cohort, rows: Array, valid: Array) -> tuple[Array, Array]:
    """`rows` (n, d) and `valid` (n,) on the devices of the cohort's people, so that no program is compiled again."""
    there = cohort.users["ideal"]
    return jax.device_put(rows, there.hidden.sharding), jax.device_put(valid, there.valid.sharding)


def _movable(setting: Setting) -> Array:
    assert setting.movable is not None, "the setting must be of paper mode"
    return setting.movable


def _in_numpy(logit_fn: LogitFn) -> stream.Logits:
    """The classifier of rows (n, d) in float64, evaluated in float32."""
    return lambda rows: np.asarray(_logits(logit_fn, jnp.asarray(rows, jnp.float32)))


def _keys(key: Array, num: int, shared: bool) -> Array:
    """Keys (n,) of the users: the same one, or those of `hare_jax.evaluate.simulate`."""
    return jnp.broadcast_to(key, (num,)) if shared else jax.random.split(key, num)


_draw = jax.jit(paper.draw_all, static_argnames="kinds")
_logits: Any = jax.jit(lambda logit_fn, rows: jax.vmap(logit_fn)(rows))
