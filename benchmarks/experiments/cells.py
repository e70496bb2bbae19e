"""The computations for one cell of a table: base recourses, sessions with an elicitor, and the metrics of both.

Programs are compiled once for all seeds of a data set, as the weights and rows of all seeds have the same shapes.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from benchmarks import noise
from benchmarks.cohort import Cohort, Setting, draw_cohort
from benchmarks.original import paper
from benchmarks.specs import BASE, Spec, takes
from benchmarks.timing import Timed, timed
from hare_jax import elicit, recourse
from hare_jax.base import LogitFn
from hare_jax.elicit.candidates import PAPER
from hare_jax.evaluate import metrics, simulate, summary

_GAINS = ("ideal_l2", "weighted_cost", "loss")  # metrics compared with those of the base recourse
_RATES = ("success", "valid")  # means over all users; all other means are over the users with a recourse
_DIGITS = 6  # precision of a float32

generate_all = jax.jit(simulate.generate_all)
generate_each = jax.jit(simulate.generate_each)
elicit_all = jax.jit(simulate.elicit_all, static_argnames=("person", "read"))
measure_all = jax.jit(simulate.measure_all, static_argnames="person")


class Fitted(NamedTuple):
    """A base method's recourses for a cohort, and their timings."""

    recourse: Timed
    fit_s: float


@dataclass(frozen=True)
class Group:
    """A setting, and the cohorts and base recourses shared by its specs.

    Cohorts have people of these `kinds`, by default those that the metrics of a spec need.
    """

    setting: Setting
    kinds: tuple[str, ...] = ()
    cohorts: dict[tuple, Cohort] = field(default_factory=dict)
    bases: dict[tuple, Fitted] = field(default_factory=dict)

    def cohort(self, spec: Spec) -> Cohort:
        """The cohort of a spec, drawn once."""
        kinds = self.kinds or simulate.kinds_for(spec.person)
        key = spec.seed, spec.users, spec.ideal, kinds
        if key not in self.cohorts:
            self.cohorts[key] = draw_cohort(self.setting, spec, kinds)
        return self.cohorts[key]

    def base(self, spec: Spec) -> Fitted:
        """The base recourses of a spec, computed once."""
        key = spec.seed, spec.users, spec.method
        if key not in self.bases:
            self.bases[key] = fit_base(self.setting, spec, self.cohort(spec).x)
        return self.bases[key]


def fit_base(setting: Setting, spec: Spec, x: Array, logit_fn: LogitFn | None = None) -> Fitted:
    """Fit the base method of a spec, and run it for the rows `x` (n, d); `logit_fn` is by default the spec's own."""
    logit_fn = setting.classifier(spec.seed) if logit_fn is None else logit_fn
    key_rows, key_fit, key_each = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 2), 3)
    base = setting.base(spec.method, key_rows)
    start = time.perf_counter()
    bound = recourse.bind(base.method, key_fit, logit_fn, base.rows, base.space, **base.hyperparameters)
    generate = jax.block_until_ready(bound)
    fit_s = time.perf_counter() - start
    return Fitted(timed(generate_all, generate, key_each, logit_fn, x, base.space), fit_s)


def run_arm(setting: Setting, spec: Spec, cohort: Cohort, base: Timed, logit_fn: LogitFn | None = None) -> Timed:
    """The arm of a spec, from base recourses: a `Timed` of `simulate.Sessions`; `logit_fn` as in `fit_base`."""
    if spec.arm == BASE:
        return base._replace(value=simulate.Sessions(base.value, jnp.zeros(spec.users)))
    key = jax.random.fold_in(jax.random.key(spec.seed), 3)
    session = (
        bind_elicitor(spec, setting.movable),
        spec.person,
        noise.parse(spec.noise),
        key,
        setting.classifier(spec.seed) if logit_fn is None else logit_fn,
    )
    return timed(elicit_all, *session, cohort.x, cohort.users, base.value, setting.space)


def bind_elicitor(spec: Spec, movable: Array | None = None) -> elicit.Elicitor:
    """The elicitor of an arm; with `movable` (d,), candidates are sampled as in the original implementation."""
    rounds: dict[str, Any] = {"budget": spec.budget, "per_round": spec.per_round}
    hyperparameters: dict[str, Any] = {}
    if takes(spec.arm, "winner_only"):
        hyperparameters["winner_only"] = spec.boundary == "winner"
    if movable is not None and takes(spec.arm, "sample_fn"):
        plain = elicit.bind(spec.arm, **rounds)
        num = plain.questions_per_proposal or spec.budget // plain.num_proposals
        hyperparameters["sample_fn"] = Partial(paper.sample, replace(PAPER, num_directions=num), movable)
        hyperparameters["margin"] = 0.0
    return elicit.bind(spec.arm, **rounds, **hyperparameters)


def figures(
    setting: Setting, spec: Spec, cohort: Cohort, found: simulate.Sessions, base: recourse.Recourse
) -> dict[str, Any]:
    """The metrics of a row, from the sessions of an arm and the base recourses that they started from."""
    logit_fn, space = setting.classifier(spec.seed), setting.table.space
    measures, before = (
        measure_all(logit_fn, cohort.x, each, space, cohort.users, person=spec.person)
        for each in (found.recourse, base)
    )
    return means(measures, before, found.questions, cohort.present)


def means(
    measures: metrics.Measures, before: metrics.Measures, questions: Array, present: Array
) -> dict[str, float | int | None]:
    """Mean, s.d. and count over the users `present` (n,): success and valid over all, the rest over the successes.

    A gain is a user's metric in `before`, that of the base method, minus the one in `measures`.
    """
    success = present & (measures.success > 0)
    gains = {f"{name}_gain": getattr(before, name) - getattr(measures, name) for name in _GAINS}
    row: dict[str, float | int | None] = {}
    values = {**measures._asdict(), **gains, "questions": questions}
    for name, (mean, sd, n) in jax.device_get(_statistics(values, present, success)).items():
        known = int(n) > 0
        row |= {
            name: rounded(mean) if known else None,
            f"{name}_sd": rounded(sd) if known else None,
            f"{name}_n": int(n),
        }
    return {key: row[key] for name in values for key in (name, f"{name}_sd", f"{name}_n")}


@jax.jit
def _statistics(values: dict[str, Array], present: Array, success: Array) -> dict[str, tuple[Array, Array, Array]]:
    """Mean, s.d. and count of each metric: success and valid of the users `present` (n,), the rest of the successes."""
    return {name: summary.masked_mean(each, present if name in _RATES else success) for name, each in values.items()}


def mean_of(values: ArrayLike, mask: ArrayLike) -> float | None:
    """Mean of `values` (n,) where `mask` (n,) is true; None if the mask is empty."""
    counted = np.asarray(values)[np.asarray(mask)]
    return rounded(np.mean(counted)) if len(counted) else None


def rounded(value: ArrayLike) -> float:
    """A value rounded to six significant digits."""
    return float(f"{np.asarray(value).item():.{_DIGITS}g}")
