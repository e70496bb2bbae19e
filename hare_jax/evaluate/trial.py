"""The figures of one simulated person, for `stream`: a person is drawn, gets a recourse, answers, and is measured."""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax import elicit, people
from hare_jax.base import Generate, LogitFn, choose, pytree_dataclass
from hare_jax.evaluate import simulate
from hare_jax.evaluate.stream import Counted
from hare_jax.hyperparams import check_fields
from hare_jax.space import ActionSpace

_OF_ALL = ("success", "valid")  # counted for everyone; the other metrics for those with a recourse


@pytree_dataclass
class Trial:
    """A classifier, a method, an elicitor and a kind of person."""

    logit_fn: LogitFn
    space: ActionSpace
    generate: Generate  # bound by `recourse.bind`
    elicitor: elicit.Elicitor | None = None  # None: no questions, the recourse is that of the method
    population: people.Population = people.Population()
    person: str = "ideal"  # of `PERSONS`
    noise: people.Noise = people.Noise()


def run(trial: Trial, key: Array, x: Array) -> dict[str, Counted]:
    """All metrics of `metrics.Measures`, and `questions`, for a person drawn for `x` (d,).

    As in `summary.summarise`, success and valid are counted for everyone, the rest for those with a recourse; none for
    a person whose draw is not valid.

    Raises:
        ValueError: no such person, a hyperparameter out of its range, or an argument as in `base.check_problem`.
    """
    check_fields(trial, Trial, "trial")
    choose("person", trial.person, people.PERSONS)
    key_user, key_base, key_session = jax.random.split(key, 3)
    kinds = simulate.kinds_for(trial.person)
    users = people.draw(trial.population, key_user, trial.logit_fn, x, trial.space, kinds)
    base = trial.generate(key_base, trial.logit_fn, x, trial.space)
    found = _session(trial, key_session, x, users, simulate.Sessions(base, jnp.zeros((), jnp.int32)))
    measures = simulate.measured(trial.logit_fn, x, found.recourse, trial.space, users, trial.person)
    present = jnp.all(jnp.stack([user.valid for user in users.values()]))
    figures = measures._asdict() | {"questions": found.questions.astype(x.dtype)}
    has_recourse = present & found.recourse.valid
    return {name: Counted(value, present if name in _OF_ALL else has_recourse) for name, value in figures.items()}


def run_resampled(trial: Trial, rows: Array, key: Array) -> dict[str, Counted]:
    """As `run`, for a row drawn from `rows` (n, d) with equal probabilities."""
    key_row, key_run = jax.random.split(key)
    return run(trial, key_run, jnp.asarray(rows)[jax.random.randint(key_row, (), 0, len(rows))])


def _session(trial: Trial, key: Array, x: Array, users: simulate.Users, start: simulate.Sessions) -> simulate.Sessions:
    """The result of the session of one person; the `start`, without questions, if there is no elicitor."""
    if trial.elicitor is None:
        return start
    user, base = users[trial.person], start.recourse
    session = trial.elicitor, trial.person, trial.noise, key, trial.logit_fn, x, user, base, trial.space
    return simulate.final(trial.elicitor, key, *simulate.answered(*session), user)
