"""The share of recourses that retrained classifiers still accept: `python -m benchmarks robustness`.

Classifiers are retrained with new seeds, on bootstrap samples and under covariate shifts (`models.fit_many`), and judge
the recourses of all methods and elicitors, for the classifier alone and for an ensemble (`models.ensemble`). The
ensemble is the classifier and others, trained on bootstrap samples of their own; none of them is a judge. All seeds
share the judges.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from rich.console import Console
from rich.progress import track

from benchmarks.cohort import Cohort, prepare, training_for
from benchmarks.experiments import cells, grid, runner
from benchmarks.options import OUT, Datasets, ElicitorArms, Methods, Models, Others, Out, Retrained, Seeds, Users
from benchmarks.pages import robustness as page
from benchmarks.specs import BASE, MODELS, RobustnessSpec, check, named_methods, not_empty
from benchmarks.store import Row, Store
from benchmarks.tables import DATASETS
from benchmarks.timing import Timed, compile_quickly, run_fields
from hare_jax import models as classifiers
from hare_jax.app.options import Cache
from hare_jax.base import Recourse, require
from hare_jax.evaluate import robustness as evaluated
from hare_jax.evaluate.summary import Summary
from hare_jax.models import CHANGES, Ensemble
from hare_jax.recourse import METHODS

_STARTS_FROM = "growing_spheres"  # the base method of the elicitors
_PER_SPARE = 3  # classifiers for each spare one, which replaces a constant one


class Judges(NamedTuple):
    """Retrained classifiers of one kind, and their accuracy."""

    members: Ensemble
    accuracy: float  # mean over the members, on the test rows


def robustness(
    datasets: Datasets = (*DATASETS, "mortgage"),
    models: Models = ("mlp",),
    methods: Methods = ("all",),
    arms: ElicitorArms = ("multi", "bayes"),
    seeds: Seeds = (1, 2, 3),
    users: Users = 100,
    others: Others = 10,
    retrained: Retrained = 50,
    out: Out = OUT,
    cache: Cache = True,
) -> int:
    """Retrain classifiers, and write a row for each method, elicitor and seed, robust and not, and a table."""
    methods = named_methods(methods)
    not_empty(datasets=datasets, models=models, seeds=seeds)
    require(others >= 0, "others", "must be at least 0", others)
    require(retrained > 0, "retrained", "must be at least 1", retrained)
    cell = RobustnessSpec(dataset=datasets[0], model=models[0], method=_STARTS_FROM, arm=BASE, users=users)
    cell = replace(cell, retrained=retrained)
    todo = {
        (dataset, model): list(_specs(replace(cell, dataset=dataset, model=model), methods, arms, seeds, others))
        for dataset in datasets
        for model in models
    }
    unavailable = runner.fetch(datasets)
    compile_quickly(cache)
    store, failed = Store(out), bool(unavailable)
    for names, specs in todo.items():
        if names[0] not in unavailable:
            failed |= _run(store, " ".join(names), [spec for spec in specs if asdict(spec) not in store])
    store.merge({"robustness"})
    print(page.write(out, users))
    return int(failed)


def _specs(
    cell: RobustnessSpec, methods: Sequence[str], arms: Sequence[str], seeds: Sequence[int], others: int
) -> Iterator[RobustnessSpec]:
    """The specs of a data set and model: each method and elicitor, plain and then robust.

    `exact` reads the weights of one classifier, and has no robust row.
    """
    for seed in seeds:
        for method, arm in [*((method, BASE) for method in methods), *((_STARTS_FROM, arm) for arm in arms)]:
            for asked in (0, others) if others and not METHODS[method].uses_weights else (0,):
                spec = replace(cell, seed=seed, method=method, arm=arm, others=asked)
                check(spec)
                yield spec


def _run(store: Store, name: str, missing: list[RobustnessSpec]) -> bool:
    """Append the rows of the specs; whether one failed, with a line on stderr."""
    failed = False
    rows = _rows(missing) if missing else iter(())
    for spec, row in track(rows, name, len(missing), console=Console(stderr=True)):
        if isinstance(row, str):
            failed = True
            print(f"failed: {asdict(spec)}: {row}", file=sys.stderr)
        else:
            store.append(asdict(spec) | row)
    return failed


def _rows(missing: Sequence[RobustnessSpec]) -> Iterator[tuple[RobustnessSpec, Row | str]]:
    """Each spec of one data set and model with its figures, or with the reason of its failure."""
    study = _Study(cells.Group(prepare(missing[0], sorted({spec.seed for spec in missing}))))
    for spec in missing:
        try:
            yield spec, study.row(spec)
        except Exception as error:  # the other specs continue
            yield spec, grid.reason(error)


@dataclass(frozen=True)
class _Study:
    """The recourses of one data set and model, and the classifiers that judge them."""

    group: cells.Group
    judges: dict[str, Judges] = field(default_factory=dict)
    ensembles: dict[int, Ensemble] = field(default_factory=dict)
    found: dict[RobustnessSpec, tuple[Timed, float]] = field(default_factory=dict)

    def row(self, spec: RobustnessSpec) -> Row:
        """The figures of one spec."""
        cohort = self.group.cohort(spec)
        timing, fit_s = self.recourses(spec)
        plain, _ = self.recourses(replace(spec, others=0))
        row = figures(cohort, timing.value, plain.value)
        for number, change in enumerate(CHANGES):
            judges = self.judged_by(spec, change)
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(spec.seed), 5), number)
            row |= _columns(change, _summarise(key, judges.members, timing.value, cohort.present))
            row[f"{change}_accuracy"] = judges.accuracy
        return row | run_fields(timing, fit_s)

    def recourses(self, spec: RobustnessSpec) -> tuple[Timed, float]:
        """A `Timed` of `Recourse`, and the seconds of the fit of the base method; computed once."""
        if spec not in self.found:
            self.found[spec] = self._solve(spec)
        return self.found[spec]

    def _solve(self, spec: RobustnessSpec) -> tuple[Timed, float]:
        setting, cohort, logit_fn = self.group.setting, self.group.cohort(spec), self.classifier(spec)
        if spec.arm == BASE:
            fitted = cells.fit_base(setting, spec, cohort.x, logit_fn)
            return fitted.recourse, fitted.fit_s
        base, fit_s = self.recourses(replace(spec, arm=BASE))
        done = cells.run_arm(setting, spec, cohort, base, logit_fn)
        return done._replace(value=done.value.recourse), fit_s

    def classifier(self, spec: RobustnessSpec) -> Partial:
        """The classifier of the spec's seed, or the ensemble that contains it."""
        own = self.group.setting.classifier(spec.seed)
        if spec.others == 0:
            return own
        if spec.seed not in self.ensembles:
            key = jax.random.fold_in(jax.random.key(spec.seed), 6)
            others = self._fit(spec, key, spec.others, "bootstrap")
            self.ensembles[spec.seed] = classifiers.ensemble(own, classifiers.classifier(others))
        return self.ensembles[spec.seed]

    def judged_by(self, spec: RobustnessSpec, change: str) -> Judges:
        """The retrained classifiers of one kind, the same for all seeds."""
        if change not in self.judges:
            table, number = self.group.setting.table, list(CHANGES).index(change)
            params = self._fit(spec, jax.random.fold_in(jax.random.key(0), number), spec.retrained, change)
            accuracy = _accuracy(params, table.x_test, table.y_test)
            self.judges[change] = Judges(classifiers.ensemble(classifiers.classifier(params)), cells.rounded(accuracy))
        return self.judges[change]

    def _fit(self, spec: RobustnessSpec, key: Array, num: int, change: str) -> classifiers.Params:
        table = self.group.setting.table
        training, spare = training_for(table, MODELS[spec.model]), max(2, num // _PER_SPARE)
        return classifiers.fit_many(
            training, key, table.x_train, table.y_train, num=num, change=change, num_spare=spare
        )


def figures(cohort: Cohort, found: Recourse, plain: Recourse) -> dict[str, Any]:
    """The share that is valid, the L1 cost, and the costs of both where `found` and `plain` are valid.

    `found` (n, d) are the recourses of a spec, `plain` (n, d) those that the classifier alone has to accept.
    """
    x, found, plain, present = jax.device_get((cohort.x, found, plain, cohort.present))
    cost, plain_cost = (np.abs(one.x - x).sum(axis=1) for one in (found, plain))
    valid = present & found.valid
    both = valid & plain.valid
    return {
        "valid": cells.mean_of(found.valid, present),
        "valid_n": int(present.sum()),
        "l1": cells.mean_of(cost, valid),
        "l1_sd": cells.rounded(np.std(cost[valid], ddof=1)) if valid.sum() > 1 else None,
        "l1_n": int(valid.sum()),
        "both_l1": cells.mean_of(cost, both),
        "plain_l1": cells.mean_of(plain_cost, both),
        "both_n": int(both.sum()),
    }


def _columns(change: str, share: Summary) -> dict[str, float | int | None]:
    known = jax.device_get(share)
    n = int(known.n)
    named = known._asdict() | {"n": n}
    columns = {name: cells.rounded(value) if n else None for name, value in named.items()} | {"n": n}
    return {change if name == "mean" else f"{change}_{name}": value for name, value in columns.items()}


_summarise = jax.jit(evaluated.summarise)


@jax.jit
def _accuracy(params: classifiers.Params, x: Array, y: Array) -> Array:
    """The mean accuracy () of stacked classifiers for rows `x` (n, d) with labels `y` (n,)."""
    each = jax.vmap(partial(_accuracy_of_one, x=x, y=y))(params)
    return jnp.mean(each)


def _accuracy_of_one(params: classifiers.Params, x: Array, y: Array) -> Array:
    return classifiers.accuracy(classifiers.classifier(params), x, y)
