"""Loss against the number of questions, by elicitor: `python -m benchmarks questions`.

The base method is growing spheres, the classifier the mlp, and recourses are feasible. By default there are a case for
ideals and one for hidden cost weights, and one for ideals with 10 % of the answers flipped.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jax
from rich.console import Console
from rich.progress import track

from benchmarks import noise as noises
from benchmarks.cohort import prepare
from benchmarks.experiments import answering, cases, cells, grid, groups, observing, question_rows, runner, sessions
from benchmarks.experiments.arms import OBSERVER, bind, default, table
from benchmarks.experiments.best_known import best_known
from benchmarks.experiments.question_rows import MOST
from benchmarks.options import OUT, SEEDS, USERS, Datasets, Ideals, Kinds, NoiseNames, Out, QuestionArms, Seeds, Users
from benchmarks.pages import questions as page
from benchmarks.specs import Spec, not_empty
from benchmarks.store import Store
from benchmarks.tables import DATASETS
from benchmarks.timing import Timed, compile_quickly, run_fields, timed
from hare_jax.app.options import Cache
from hare_jax.base import Recourse
from hare_jax.evaluate import simulate


def questions(
    datasets: Datasets = (*DATASETS, "mortgage"),
    people: Kinds = cases.PEOPLE,
    ideal: Ideals = cases.IDEALS,
    noise: NoiseNames = None,
    arms: QuestionArms = None,
    seeds: Seeds = SEEDS,
    users: Users = USERS,
    out: Out = OUT,
    cache: Cache = True,
) -> int:
    """Run sessions of thirty questions, and write a row per elicitor and budget, a table and a plot."""
    not_empty(datasets=datasets)
    choice = cases.Choice(people, ideal, noise, default() if arms is None else arms, seeds, users)
    todo = {dataset: cases.specs(dataset, choice) for dataset in datasets}
    unavailable = runner.fetch(datasets)
    compile_quickly(cache)
    store, failed = Store(out), False
    for dataset in sorted(todo.keys() - unavailable):
        failed |= _run(store, dataset, todo[dataset])
    store.merge({"questions"})
    print(page.write(out, users))
    return 1 if unavailable or failed else 0


def _run(store: Store, dataset: str, specs: list[Spec]) -> bool:
    """Append the rows that are missing of the specs of a data set; whether a spec failed, with a line on stderr."""
    missing = [spec for spec in specs if asdict(replace(spec, budget=MOST)) not in store]
    outcomes, failed = _outcomes(missing, _kinds(specs)) if missing else iter(()), False
    for spec, rows in track(outcomes, dataset, len(missing), console=Console(stderr=True)):
        if isinstance(rows, str):
            failed = True
            print(f"failed: {asdict(spec)}: {rows}", file=sys.stderr)
            continue
        for row in rows:
            store.append(row)
    return failed


def _kinds(specs: list[Spec]) -> tuple[str, ...]:
    """The kinds of persons of the specs, and those that all metrics need."""
    return tuple(dict.fromkeys(kind for spec in specs for kind in simulate.kinds_for(spec.person)))


def _outcomes(missing: list[Spec], kinds: tuple[str, ...]) -> Iterator[tuple[Spec, list[dict[str, Any]] | str]]:
    """Each spec with its rows, or with the reason of its failure."""
    study = _Study(cells.Group(prepare(missing[0], sorted({spec.seed for spec in missing})), kinds))
    for spec in missing:
        try:
            yield spec, study.rows(spec)
        except Exception as error:  # the other specs continue
            yield spec, grid.reason(error)


@dataclass(frozen=True)
class _Study:
    """The sessions of one data set, and the best known recourses that their specs share."""

    group: cells.Group
    best: dict[tuple, Recourse] = field(default_factory=dict)
    priors: dict[tuple, observing.Prior] = field(default_factory=dict)

    def rows(self, spec: Spec) -> list[dict[str, Any]]:
        """The rows of one spec, one per budget."""
        case = self._case(spec)
        if spec.arm == OBSERVER:
            return list(observing.rows(case, self._prior(spec, case)))
        done = self._elicit(spec, case)
        return [row | run_fields(done) for row in question_rows.rows(case, done.value)]

    def _prior(self, spec: Spec, case: question_rows.Case) -> observing.Prior:
        key = spec.seed, spec.ideal
        if key not in self.priors:
            self.priors[key] = observing.prior(case)
        return self.priors[key]

    def _case(self, spec: Spec) -> question_rows.Case:
        setting, cohort, base = self.group.setting, self.group.cohort(spec), self.group.base(spec).recourse.value
        logit_fn, own = setting.classifier(spec.seed), cohort.of(simulate.kinds_for(spec.person))
        key = spec.seed, spec.person, spec.ideal
        if key not in self.best:
            found = best_known(spec, logit_fn, own, base, setting.space)
            self.best[key] = jax.block_until_ready(found)  # so that the run time of the session is its own
        members = groups.of_rows(setting.table, cohort.x)
        return question_rows.Case(spec, logit_fn, setting.space, cohort, own.present, base, self.best[key], members)

    def _elicit(self, spec: Spec, case: question_rows.Case) -> Timed:
        """A `Timed` of `sessions.Asked`."""
        arm = table()[spec.arm]
        hidden = {kind: user.hidden for kind, user in case.cohort.users.items()}
        keys = jax.random.split(jax.random.fold_in(jax.random.key(spec.seed), 4), (spec.users, 2))
        who = answering.position(spec.person, hidden), noises.shared(spec.noise)
        elicitor = bind(arm, spec.budget, spec.per_round)
        session = elicitor, *who, keys, case.logit_fn, case.cohort.x, hidden, case.base, case.space
        return timed(sessions.elicit_all, *session, arm=arm, num=MOST)
