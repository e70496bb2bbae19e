"""Elicitors, one file each: infer a person's preferences from a few questions, and recommend a recourse.

To add one, write its file and add its line to `ELICITORS`.
"""

from dataclasses import fields
from functools import partial
from typing import Any

from hare_jax.base import choose, require
from hare_jax.elicit import bayesian as bayesian
from hare_jax.elicit import candidates as candidates
from hare_jax.elicit import challenger as challenger
from hare_jax.elicit import hare as hare
from hare_jax.elicit import pear as pear
from hare_jax.elicit import perceptron as perceptron
from hare_jax.elicit import random as random
from hare_jax.elicit import reap as reap
from hare_jax.elicit.answers import Choice as Choice
from hare_jax.elicit.answers import Range as Range
from hare_jax.elicit.answers import Rating as Rating
from hare_jax.elicit.answers import Veto as Veto
from hare_jax.elicit.base import CANNOT_TELL as CANNOT_TELL
from hare_jax.elicit.base import PREFERS_A as PREFERS_A
from hare_jax.elicit.base import PREFERS_B as PREFERS_B
from hare_jax.elicit.base import Elicitor as Elicitor
from hare_jax.elicit.base import Entry as Entry
from hare_jax.elicit.base import Question as Question
from hare_jax.elicit.base import Trace as Trace
from hare_jax.elicit.base import run as run
from hare_jax.elicit.base import session as session
from hare_jax.elicit.base import session_keys as session_keys
from hare_jax.elicit.bayesian.bayes import expected_distance as expected_distance
from hare_jax.elicit.bayesian.bayes import ideal_region as ideal_region
from hare_jax.elicit.bayesian.bayes import ideals as ideals
from hare_jax.elicit.bayesian.bayes import offer as offer
from hare_jax.elicit.bayesian.state import Bayes as Bayes
from hare_jax.elicit.candidates import Sampling as Sampling
from hare_jax.elicit.challenger import Challenger as Challenger
from hare_jax.elicit.hare import Hare as Hare
from hare_jax.elicit.pear import Pear as Pear
from hare_jax.elicit.perceptron import Perceptron as Perceptron
from hare_jax.elicit.reap import Reap as Reap
from hare_jax.elicit.saving import attach as attach
from hare_jax.elicit.saving import detach as detach
from hare_jax.elicit.saving import load as load
from hare_jax.elicit.saving import save as save
from hare_jax.hyperparams import Count, check_values

_MOSTLY_IDEAL = {"ideal": 0.95, "weights": 0.05}  # prior probabilities of the kinds of persons
_MOSTLY_WEIGHTS = {"ideal": 0.05, "weights": 0.95}

ELICITORS: dict[str, Entry] = {
    "random": Entry(random.one_round, Hare, "random", uses_gradients=True, asks=False),
    "single": Entry(hare.one_round, Hare, "one round", uses_gradients=True),
    "multi": Entry(hare.many_rounds, Hare, "many rounds", uses_gradients=True),
    "bayes": Entry(bayesian.for_budget, Bayes, "Bayes", uses_gradients=True),
    "bayes_ideal": Entry(
        partial(bayesian.for_budget, probabilities=_MOSTLY_IDEAL),
        Bayes,
        "Bayes, sure of ideals",
        uses_gradients=True,
    ),
    "bayes_weights": Entry(
        partial(bayesian.for_budget, probabilities=_MOSTLY_WEIGHTS),
        Bayes,
        "Bayes, sure of weights",
        uses_gradients=True,
    ),
    "challenger": Entry(challenger.for_budget, Challenger, "random challenger", uses_gradients=False),
    "perceptron": Entry(perceptron.for_budget, Perceptron, "choice perceptron", uses_gradients=False),
    "reap": Entry(reap.for_budget, Reap, "ReAP", uses_gradients=False),
    "pear": Entry(pear.for_budget, Pear, "PEAR", uses_gradients=False),
}


def bind(name: str, *, budget: int = 30, per_round: int = 5, **hyperparameters: Any) -> Elicitor:
    """Build an elicitor by name, for a `budget` of questions.

    `per_round` is the number of candidates in each of HARE's many rounds. The others do not use it, but it is checked
    for all of them: pass it when the budget is below 5.

    Raises:
        ValueError: an unknown elicitor or hyperparameter, one out of its range, a budget below 1 or above
            `max_questions`, or `per_round` outside of [1, budget].

    >>> elicitor = bind("multi", budget=30, per_round=5)
    >>> elicitor.num_proposals, elicitor.questions_per_proposal
    (6, 5)
    """
    choose("elicitor", name, ELICITORS)
    entry = ELICITORS[name]
    check_values(budget=(budget, Count), per_round=(per_round, Count))
    require(1 <= per_round <= budget, "per_round", f"must be at least 1 and at most the budget, {budget}", per_round)
    known = [field.name for field in fields(entry.hyperparams)]
    for argument in hyperparameters:
        require(argument in known, f"{name} hyperparameter", f"must be one of {', '.join(known)}", argument)
    return entry.build(budget, per_round, **hyperparameters)
