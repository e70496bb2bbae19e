"""What an experiment is."""

import dataclasses

from hare_jax.base import choose, require
from hare_jax.data import SOURCES
from hare_jax.people import DISTANCES
from hare_jax.recourse import METHODS

MODELS = {"mlp": (10, 5, 10), "linear": ()}
ARMS = ("base", "random", "single", "multi")
BAYES = {"bayes": 0.5, "bayes_ideal": 0.95, "bayes_weights": 0.05}  # prior probability that people hide an ideal
ORACLES = ("known", "learnt", "search")  # told the weights, or 30 answers; the best of a long search
MODES = ("feasible", "paper")
PERSONS = ("ideal", "weights")
BOUNDARIES = ("all", "winner")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """One cell of a table, for one seed. Its fields are the key of its row of results."""

    table: str
    dataset: str
    model: str
    method: str
    arm: str
    person: str = "ideal"
    ideal: str = "far"
    budget: int = 30
    per_round: int = 5
    noise: str = "0"  # probability of a flipped answer, or "logistic"
    boundary: str = "all"  # candidates that are brought to the boundary before they are compared, or the winner after
    mode: str = "feasible"
    seed: int = 1
    users: int = 100


def check(spec: Spec) -> Spec:
    """Return `spec`, or raise a `ValueError` that names what is wrong with it."""
    choose("datasets", spec.dataset, SOURCES)
    choose("models", spec.model, MODELS)
    choose("methods", spec.method, METHODS)
    choose("arms", spec.arm, (*ARMS, *BAYES, *ORACLES))
    choose("person", spec.person, PERSONS)
    choose("ideal", spec.ideal, DISTANCES)
    choose("boundary", spec.boundary, BOUNDARIES)
    choose("mode", spec.mode, MODES)
    if spec.noise != "logistic":
        require(_is_probability(spec.noise), "noise", "must be a probability or logistic", spec.noise)
    require(spec.users > 0, "users", "must be at least 1", spec.users)
    require(spec.budget >= spec.per_round > 0, "budget", "must hold at least one round", (spec.budget, spec.per_round))
    return spec


def _is_probability(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
