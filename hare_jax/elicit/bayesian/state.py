"""Hyperparameters and state of a Bayesian session."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse, choose, holds, is_known, pytree_dataclass, require
from hare_jax.elicit.base import Question
from hare_jax.elicit.bayesian.acquisition import ACQUISITIONS
from hare_jax.elicit.bayesian.answers import Range, Rated
from hare_jax.elicit.bayesian.pool import Pool
from hare_jax.elicit.bayesian.posterior import Answering, Belief, Kinds
from hare_jax.people.base import Prior
from hare_jax.hyperparams import Count, Natural, NonNegative, Positive, check_fields
from hare_jax.people import PERSONS
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import ActionSpace

_SUM_TOLERANCE = 1e-5  # of probabilities in float32


@pytree_dataclass
class Bayes:
    """Prior, model of the answers, and compute budget."""

    probabilities: dict[str, float] | None = None  # prior of the kinds, rows of PERSONS; None: uniform over the linear
    priors: dict[str, Any] | None = None  # hyperparameters of `Person.prior` by kind, e.g. people.WeightsPrior
    lapses: tuple[float, ...] = (0.002, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45)
    lapse_probabilities: tuple[float, ...] = (0.4, 0.15, 0.15, 0.1, 0.1, 0.05, 0.05)
    widths: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4)
    width_probabilities: tuple[float, ...] = (0.6, 0.1, 0.1, 0.1, 0.1)
    noise: Positive = 0.03  # s.d. of the noise of a difference of utilities, relative to its prior s.d.
    reaches: tuple[float, ...] = (0.1, 0.3, 1.0, 2.0)
    boundary: bool = True
    free: float = 0.2
    thickness: float = 0.03
    most_worse: float = 1.0
    info_weight: float = 0.0
    cols: float = 1.0
    acquisition: str = "utility"  # "utility" of the better of a pair, or "information" about theta
    least_gain: float = -1e9  # least acquisition value of a question, in nats or prior s.d. of the pool's utilities
    num_pool: Count = 64  # recourses drawn at the start
    num_local: Count = 24  # recourses a proposal, near draws of the target point, for each kind with one
    num_cheap: Count = 8  # recourses a proposal, searched by drawn utilities, for each kind without a target point
    num_favourites: Count = 8  # members of highest expected utility, one of which is in each question
    max_questions: Count = 32  # answers that a session can hold
    questions_per_proposal: Count = 1
    num_sweeps: Natural = 1  # of expectation propagation, after each answer
    search: LocalSearch = LocalSearch(num_first=8, num_starts=1, num_rounds=6, num_rays=8)  # of the recommendation
    short_search: LocalSearch = LocalSearch(
        num_first=2, num_starts=1, num_rounds=2, num_rays=4
    )  # of each drawn utility
    margin: NonNegative = MARGIN  # the least logit of a recourse


class State(NamedTuple):
    """A session."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    ranges: Range
    key: Array  # its data, (2,) uint32 of most generators, which can be saved
    belief: Belief
    prior: Prior  # (k, d), (k, d, d) of theta, for each kind
    pool: Pool
    question: Question
    rated: Rated
    told: Array  # (T, 2, d) the pairs compared so far
    vetoed: Array | None = None  # (d,) bool, in a space with relations: columns of the vetoes so far

    @property
    def best(self) -> Recourse:
        """The recommendation."""
        return self.pool.best


def with_probabilities(hp: Bayes) -> Bayes:
    """`hp` with equal probabilities of all kinds written out where left out: one program then serves any others."""
    names = linear_kinds(hp)
    return replace(hp, probabilities=dict.fromkeys(names, 1 / len(names))) if hp.probabilities is None else hp


def kinds_of(hp: Bayes) -> Kinds:
    """The kinds that the posterior covers, in the order of `PERSONS`."""
    return Kinds(tuple(kind for kind, _ in entries(hp)))


def linear_kinds(hp: Bayes) -> tuple[str, ...]:
    linear = [kind for kind, person in PERSONS.items() if person.features is not None and person.prior is not None]
    return tuple(kind for kind in linear if hp.probabilities is None or kind in hp.probabilities)


def entries(hp: Bayes) -> list[tuple[str, float]]:
    """Each kind with each scale of its prior."""
    return [
        (kind, reach)
        for kind in linear_kinds(hp)
        for reach in (hp.reaches if PERSONS[kind].target is not None else (1.0,))
    ]


def log_prior(hp: Bayes) -> Array:
    """Log prior probability (k,) of each kind."""
    probabilities = with_probabilities(hp).probabilities or {}
    names = kinds_of(hp).names
    return jnp.log(jnp.stack([jnp.asarray(probabilities[kind]) / names.count(kind) for kind in names]))


def check(hp: Bayes) -> None:
    """Check the hyperparameters.

    Raises:
        ValueError: one of them is out of its range.
    """
    check_fields(hp, Bayes)
    choose("acquisition", hp.acquisition, ACQUISITIONS)
    _check_probabilities(hp.probabilities)
    _check_priors(hp)


def _check_probabilities(probabilities: dict[str, float] | None) -> None:
    if probabilities is None:
        return
    require(isinstance(probabilities, dict), "probabilities", "must be a dict by kind of person", probabilities)
    linear = linear_kinds(Bayes())
    for kind, probability in probabilities.items():
        choose("probabilities", kind, linear)
        require(holds(lambda p: p > 0, probability), "probabilities", "must be above 0", probability)
    if is_known(probabilities):
        total = float(np.sum(np.asarray(jax.tree.leaves(probabilities))))
        require(abs(total - 1) < _SUM_TOLERANCE, "probabilities", "must sum to 1", probabilities)


def _check_priors(hp: Bayes) -> None:
    names = linear_kinds(hp)
    for kind, given in (hp.priors or {}).items():
        choose("priors", kind, names)
        check_prior = PERSONS[kind].check_prior
        require(check_prior is not None or given is None, "priors", f"{kind} has no hyperparameters", given)
        if check_prior is not None:
            check_prior(given)


def answering(hp: Bayes, dtype: Any) -> Answering:
    """The prior of the manner of answering."""
    parts = (hp.lapses, hp.lapse_probabilities, hp.widths, hp.width_probabilities)
    lapses, share, widths, width_share = (jnp.stack([jnp.asarray(v, dtype) for v in part]) for part in parts)
    return Answering(lapses, jnp.log(share), widths, jnp.log(width_share))
