"""Hyperparameters and state of a session of PEAR."""

from typing import Annotated, NamedTuple

import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse, holds, pytree_dataclass, require
from hare_jax.elicit import recourses
from hare_jax.elicit.base import Question
from hare_jax.elicit.pear.told import Told
from hare_jax.hyperparams import Count, Natural, NonNegative, Positive, Share, at_least, check_fields
from hare_jax.people.weights import WeightsPrior
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import ActionSpace


@pytree_dataclass
class Pear:
    """Hyperparameters of the prior, the answers, the particles and the questions.

    Before it is clipped to [0.1, 5], each weight has a mixture of Gaussians as its prior, with equal shares.
    """

    mean: float | Array = WeightsPrior().mean  # of the Gaussians: () of one, or (m,)
    sd: float | Array = WeightsPrior().sd  # () of each Gaussian
    sharpness: Positive = 20.0  # of the answers, in 1 / (prior s.d. of the pool's utilities)
    lapse: Share = 0.1  # probability of an answer at random, which the paper does not have
    set_size: Annotated[int, at_least(2)] = 2  # options of a set that an answer can be about, see `offer`
    num_particles: Annotated[int, at_least(2)] = 128
    num_moves: Natural = 4  # Metropolis steps of each particle after each answer
    num_pool: Count = 64  # recourses drawn at the start
    num_cheap: Count = 8  # recourses searched by the weights of as many particles, for each question
    reach: Positive = 2.0  # largest L2 distance of target points from the factual
    max_questions: Count = 32  # answers that a session can hold
    search: LocalSearch = recourses.SEARCH  # of the recommendation, after each answer
    short_search: LocalSearch = LocalSearch(num_first=4, num_starts=1, num_rounds=3, num_rays=6)  # of each particle
    margin: NonNegative = MARGIN  # the least logit of a recourse


POPULATION = {"mean": np.array([0.2, 1.0, 2.0, 3.0, 4.0]), "sd": 1.0}  # the true prior of `people.cost_weights`


class State(NamedTuple):
    """A session."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    key: Array  # its data
    sharpness: Array  # () of the answers, in 1 / utility
    particles: Array  # (N, d) weights before they are clipped
    told: Told
    best: Recourse  # the recommendation
    drawn: Recourse  # (num_pool, d)
    cheap: Recourse  # (num_cheap, d)
    question: Question


def check(hp: Pear) -> None:
    """Check the hyperparameters.

    Raises:
        ValueError: one of them is out of its range.
    """
    check_fields(hp, Pear)
    require(holds(lambda sd: sd > 0, hp.sd), "sd", "must be above 0", hp.sd)
    require(np.ndim(hp.mean) <= 1 and holds(np.isfinite, hp.mean), "mean", "must be () or (m,) and finite", hp.mean)
