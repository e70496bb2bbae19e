"""Hyperparameters and state of a Bayesian session."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse, choose, holds, is_known, pytree_dataclass, require
from hare_jax.elicit.answers import Range, Rated
from hare_jax.elicit.base import Question
from hare_jax.elicit.bayesian.acquisition import ACQUISITIONS
from hare_jax.elicit.bayesian.belief import Belief, Kinds
from hare_jax.elicit.bayesian.manner import Axis, Grid
from hare_jax.elicit.pool import Pool
from hare_jax.hyperparams import Count, Natural, NonNegative, Positive, Share, check_fields, is_number
from hare_jax.people import PERSONS
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import ActionSpace

_SUM_TOLERANCE = 1e-5  # of probabilities in float32
_SEARCH = LocalSearch(num_first=4, num_starts=1, num_rounds=1, num_rays=14, num_steps=8)
Weighted = tuple[tuple[float, float], ...]  # values, each with its prior probability


@pytree_dataclass
class Bayes:
    """Prior, model of the answers, and compute budget."""

    probabilities: dict[str, float] | None = None  # prior of the kinds, rows of PERSONS; None: uniform over the linear
    priors: dict[str, Any] | None = None  # hyperparameters of `Person.prior` by kind, e.g. people.WeightsPrior
    reaches: tuple[float, ...] = (0.1, 0.3, 1.0, 2.0)  # L2 distances of target points, equally probable
    lapses: Weighted = (
        (0.002, 0.7),
        (0.02, 0.1),
        (0.05, 0.08),
        (0.1, 0.06),
        (0.2, 0.03),
        (0.3, 0.02),
        (0.45, 0.01),
    )  # error rates of the answers; below 1e-4 they count as that
    widths: Weighted = (
        (0.0, 0.962),
        (0.05, 0.007),
        (0.1, 0.007),
        (0.15, 0.004),
        (0.2, 0.004),
        (0.25, 0.004),
        (0.3, 0.003),
        (0.35, 0.003),
        (0.4, 0.003),
        (0.5, 0.003),
    )  # widths of ties, in losses; near 1, that of another category, all categories would be tied
    coins: Share = 0.02  # prior probability that all answers are coin tosses
    memories: Weighted = ((1.0, 0.9), (0.97, 0.05), (0.9, 0.05))  # see `manner`
    noise: Positive = 0.03  # s.d. of the noise of a difference of utilities, relative to its prior s.d.
    boundary_gradient: bool = True  # False: the classifier has no gradient, for the prior and for recourses uphill
    least_on_boundary: NonNegative = 0.2  # reach from which on target points are supposed to lie on the boundary
    thickness: Positive = 0.03  # s.d. of the distance of target points from the boundary
    most_harm: Share = 0.15  # largest probability that a recommendation doesn't beat the base by half a width of ties
    acquisition: str = "mixed"  # a row of `acquisition.ACQUISITIONS`
    least_gain: float = -1e9  # least acquisition value of a question
    num_pool: Count = 64  # recourses drawn at the start
    num_local: Count = 22  # recourses an answer, near draws of the target point, for each kind with one
    num_cheap: Count = 4  # recourses an answer, searched by drawn utilities, for each kind without a target point
    num_favourites: Count = 4  # members of highest expected utility, one of which is in each question
    max_questions: Count = 32  # answers that a session can hold
    num_sweeps: Natural = 1  # of expectation propagation, after each answer
    search: LocalSearch = _SEARCH  # after each answer, of the recommendation and of each drawn utility
    margin: NonNegative = MARGIN  # the least logit of a recourse


class State(NamedTuple):
    """A session."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    ranges: Range
    key: Array  # its data, (2,) uint32 of most generators, which can be saved
    belief: Belief
    pool: Pool
    question: Question
    reaches: Array  # (r,) of target points
    slack: Array  # () logits: the thickness of the boundary times the classifier's gradient; infinite where unknown
    rated: Rated
    vetoed: Array | None = None  # (d,) bool, in a space with relations: columns of the vetoes so far

    @property
    def best(self) -> Recourse:
        """The recommendation."""
        return self.pool.best


class Hypothesis(NamedTuple):
    """A kind of person, with a scale of its prior."""

    kind: str
    reach: float  # of target points; 1 for a kind without


def with_probabilities(hp: Bayes) -> Bayes:
    """`hp` with equal probabilities of all kinds written out where left out: one program then serves any others."""
    names = linear_kinds(hp)
    return replace(hp, probabilities=dict.fromkeys(names, 1 / len(names))) if hp.probabilities is None else hp


def linear_kinds(hp: Bayes) -> tuple[str, ...]:
    """The kinds that the posterior covers, in the order of `PERSONS`."""
    linear = [kind for kind, person in PERSONS.items() if person.features is not None and person.prior is not None]
    return tuple(kind for kind in linear if hp.probabilities is None or kind in hp.probabilities)


def hypotheses(hp: Bayes) -> tuple[Hypothesis, ...]:
    """Each kind that the posterior covers; if it has target points, with each of the reaches."""
    return tuple(
        Hypothesis(kind, reach)
        for kind in linear_kinds(hp)
        for reach in (hp.reaches if PERSONS[kind].target is not None else (1.0,))
    )


def kinds_of(hp: Bayes) -> Kinds:
    """The kind of each hypothesis."""
    return Kinds(tuple(hypothesis.kind for hypothesis in hypotheses(hp)))


def log_prior(hp: Bayes) -> Array:
    """Log prior probability (h,) of each hypothesis."""
    probabilities, names = with_probabilities(hp).probabilities or {}, kinds_of(hp).names
    return jnp.log(jnp.stack([jnp.asarray(probabilities[kind]) / names.count(kind) for kind in names]))


def grid(hp: Bayes, dtype: Any) -> Grid:
    """The prior of the manner of answering."""
    return Grid(*(_axis(values, dtype) for values in (hp.lapses, hp.widths, hp.memories)))


def _axis(values: Weighted, dtype: Any) -> Axis:
    value, probability = (np.array(part) for part in zip(*values, strict=True))
    return Axis(jnp.asarray(value, dtype), jnp.asarray(np.log(probability / probability.sum()), dtype))


def check(hp: Bayes) -> None:
    """Check the hyperparameters.

    Raises:
        ValueError: one of them is out of its range.
    """
    check_fields(hp, Bayes)
    choose("acquisition", hp.acquisition, ACQUISITIONS)
    require(len(hp.reaches) > 0, "reaches", "must hold at least one", hp.reaches)
    require(all(reach > 0 for reach in hp.reaches), "reaches", "must be above 0", hp.reaches)
    _check_weighted("lapses", hp.lapses, "above 0 and below 0.5", lambda lapse: 0 < lapse < 0.5)
    _check_weighted("widths", hp.widths, "at least 0", lambda width: width >= 0)
    _check_weighted("memories", hp.memories, "above 0 and at most 1", lambda memory: 0 < memory <= 1)
    _check_probabilities(hp.probabilities)
    _check_priors(hp)


def _check_weighted(name: str, values: Weighted, rule: str, allows: Callable[[float], bool]) -> None:
    require(len(values) > 0, name, "must hold at least one", values)
    require(all(len(pair) == 2 for pair in values), name, "must be pairs of a value and its probability", values)
    require(all(allows(value) for value, _ in values), name, f"must be {rule}", values)
    require(all(probability > 0 for _, probability in values), name, "must have probabilities above 0", values)


def _check_probabilities(probabilities: dict[str, float] | None) -> None:
    if probabilities is None:
        return
    require(isinstance(probabilities, dict), "probabilities", "must be a dict by kind of person", probabilities)
    linear = linear_kinds(Bayes())
    for kind, probability in probabilities.items():
        choose("probabilities", kind, linear)
        require(is_number(probability), "probabilities", "must be numbers", probability)
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
