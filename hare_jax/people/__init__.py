"""Kinds of persons, one file each: hidden parameters, utility, prior and simulated population.

Also: noise and probabilities of answers, fitted preferences, and the distribution over outcomes.

To add a kind, write its file and add its line to `PERSONS`.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, as_partial, check_problem, choose
from hare_jax.hyperparams import check_fields
from hare_jax.people import choice as choice
from hare_jax.people import (
    dont_touch,
    drift,
    fatigue,
    few_features,
    fixed_l1,
    l1_ideal,
    lexicographic,
    log_cost,
    mahalanobis,
    percentile,
    quadratic,
    weighted_ideal,
)
from hare_jax.people import fit as fit
from hare_jax.people import ideal as ideal
from hare_jax.people import noise as noise
from hare_jax.people import objective as objective
from hare_jax.people import response as response
from hare_jax.people import weights as weights
from hare_jax.people.base import DISTANCES as DISTANCES
from hare_jax.people.base import Moment as Moment
from hare_jax.people.base import Person as Person
from hare_jax.people.base import Population as Population
from hare_jax.people.base import User as User
from hare_jax.people.base import in_space as in_space
from hare_jax.people.base import prefers_by as prefers_by
from hare_jax.people.ideal import prefers_nearer as prefers_nearer
from hare_jax.people.ideal import refused_start as refused_start
from hare_jax.people.noise import Noise as Noise
from hare_jax.people.noise import Noisy as Noisy
from hare_jax.people.noise import flipped as flipped
from hare_jax.people.noise import logistic_flipped as logistic_flipped
from hare_jax.people.noise import noisy as noisy
from hare_jax.people.response import Response as Response
from hare_jax.people.response import answering as answering
from hare_jax.people.simulated import Simulated as Simulated
from hare_jax.people.simulated import simulate
from hare_jax.people.weights import WeightsPrior as WeightsPrior
from hare_jax.people.weights import cost_weights as cost_weights
from hare_jax.people.weights import prefers_cheaper as prefers_cheaper
from hare_jax.space import ActionSpace

PERSONS: dict[str, Person] = {
    "ideal": ideal.PERSON,
    "weights": weights.PERSON,
    "weighted_ideal": weighted_ideal.PERSON,
    "l1_ideal": l1_ideal.PERSON,
    "mahalanobis": mahalanobis.PERSON,
    "dont_touch": dont_touch.PERSON,
    "few_features": few_features.PERSON,
    "percentile": percentile.PERSON,
    "log_cost": log_cost.PERSON,
    "lexicographic": lexicographic.PERSON,
    "fixed_l1": fixed_l1.PERSON,
    "quadratic": quadratic.PERSON,
    "drift": drift.PERSON,
    "fatigue": fatigue.PERSON,
}
_FIRST = ("ideal", "weights")  # kinds whose keys are split; those of others don't depend on the length of the table


def draw(
    hp: Population,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    space: ActionSpace,
    kinds: Sequence[str] = ("ideal", "weights"),
) -> dict[str, User]:
    """Draw a simulated person of each of the `kinds`, rows of `PERSONS`, for the factual `x` (d,).

    All kinds `of_ideal` share the ideal of the kind `ideal`, which is searched for once. A draw depends on the key and
    its kind alone, not on the other `kinds`.

    Raises:
        ValueError: no such kind, `hp` is out of its range, or an argument as in `base.check_problem`.
    """
    check_fields(hp, Population)
    check_problem(key, logit_fn, x, space)
    for kind in kinds:
        choose("kinds", kind, PERSONS)
    users: dict[str, User] = {}
    if any(kind == "ideal" or PERSONS[kind].of_ideal for kind in kinds):
        users["ideal"] = PERSONS["ideal"].draw(hp, draw_key(key, "ideal"), logit_fn, x, space)
    for kind in kinds:
        if kind not in users:
            shared = {"ideal": users["ideal"]} if PERSONS[kind].of_ideal else {}
            users[kind] = PERSONS[kind].draw(hp, draw_key(key, kind), logit_fn, x, space, **shared)
    return {kind: users[kind] for kind in kinds}


def draw_key(key: Array, kind: str) -> Array:
    """The key () of the draw of one `kind`, given that of `draw`."""
    if kind in _FIRST:
        return jax.random.split(key, len(_FIRST))[_FIRST.index(kind)]
    return jax.random.fold_in(key, zlib.crc32(kind.encode()))


def utility(kind: str, hidden: Any, space: ActionSpace | None = None) -> Partial:
    """The utility `(x, z) -> ()` of a person of `kind`, a row of `PERSONS`, with parameters `hidden`.

    In a `space` with relations, a kind that weighs own changes does not see what only follows from them.

    Raises:
        ValueError: no such kind.
    """
    choose("person", kind, PERSONS)
    return as_partial(in_space(PERSONS[kind], Partial(PERSONS[kind].utility, hidden), space))


def loss(kind: str, hidden: Any, space: ActionSpace | None = None) -> Partial:
    """The loss `(x, z) -> ()` that is reported for a person of `kind`; otherwise as `utility`.

    Raises:
        ValueError: no such kind.
    """
    choose("person", kind, PERSONS)
    return as_partial(in_space(PERSONS[kind], Partial(PERSONS[kind].loss, hidden), space))


def prefers(kind: str, hidden: Any, space: ActionSpace | None = None) -> Simulated:
    """The noiseless answers of a person with the `utility` of these arguments: a `Prefers`.

    Where answers depend on the number of the question (`Person.at`), `at_question(number)` returns those to one
    question, as `elicit.session` does; called directly, they are by the `utility` alone.

    Raises:
        ValueError: no such kind.

    >>> import jax.numpy as jnp
    >>> prefers_fn = prefers("ideal", jnp.array([1.0, 0.0]))
    >>> bool(prefers_fn(jax.random.key(0), jnp.zeros(2), jnp.array([1.0, 0.5]), jnp.zeros(2)))
    True
    """
    choose("person", kind, PERSONS)
    return simulate(PERSONS[kind], hidden, space)
