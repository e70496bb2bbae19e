"""Kinds of persons, one file each: hidden parameters, utility, prior and simulated population.

Also: noise and probabilities of answers, fitted preferences, and the distribution over outcomes.

To add a kind, write its file and add its line to `PERSONS`.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, as_partial, check_problem, choose
from hare_jax.hyperparams import check_fields
from hare_jax.people import choice as choice
from hare_jax.people import fit as fit
from hare_jax.people import ideal as ideal
from hare_jax.people import noise as noise
from hare_jax.people import objective as objective
from hare_jax.people import response as response
from hare_jax.people import weights as weights
from hare_jax.people.base import DISTANCES as DISTANCES
from hare_jax.people.base import Person as Person
from hare_jax.people.base import Population as Population
from hare_jax.people.base import User as User
from hare_jax.people.base import in_space as in_space
from hare_jax.people.base import prefers_by as prefers_by
from hare_jax.people.ideal import prefers_nearer as prefers_nearer
from hare_jax.people.ideal import refused_start as refused_start
from hare_jax.people.noise import Noise as Noise
from hare_jax.people.noise import flipped as flipped
from hare_jax.people.noise import logistic_flipped as logistic_flipped
from hare_jax.people.noise import noisy as noisy
from hare_jax.people.response import Response as Response
from hare_jax.people.response import answering as answering
from hare_jax.people.weights import WeightsPrior as WeightsPrior
from hare_jax.people.weights import cost_weights as cost_weights
from hare_jax.people.weights import prefers_cheaper as prefers_cheaper
from hare_jax.space import ActionSpace

PERSONS: dict[str, Person] = {
    "ideal": ideal.PERSON,
    "weights": weights.PERSON,
}


def draw(
    hp: Population,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    space: ActionSpace,
    kinds: Sequence[str] = ("ideal", "weights"),
) -> dict[str, User]:
    """Draw a simulated person of each of the `kinds`, rows of `PERSONS`, for the factual `x` (d,).

    Raises:
        ValueError: no such kind, `hp` is out of its range, or an argument as in `base.check_problem`.
    """
    check_fields(hp, Population)
    check_problem(key, logit_fn, x, space)
    for kind in kinds:
        choose("kinds", kind, PERSONS)
    keys = dict(zip(PERSONS, jax.random.split(key, len(PERSONS)), strict=True))
    return {kind: PERSONS[kind].draw(hp, keys[kind], logit_fn, x, space) for kind in kinds}


def utility(kind: str, hidden: Any, space: ActionSpace | None = None) -> Partial:
    """The utility `(x, z) -> ()` of a person of `kind`, a row of `PERSONS`, with parameters `hidden`.

    In a `space` with relations, a kind that weighs own changes does not see what only follows from them.

    Raises:
        ValueError: no such kind.
    """
    choose("person", kind, PERSONS)
    return as_partial(in_space(PERSONS[kind], Partial(PERSONS[kind].utility, hidden), space))


def loss(kind: str, hidden: Any, space: ActionSpace | None = None) -> Partial:
    """The loss `(x, z) -> ()` that is reported for a person of `kind`; otherwise as `utility`."""
    choose("person", kind, PERSONS)
    return as_partial(in_space(PERSONS[kind], Partial(PERSONS[kind].loss, hidden), space))


def prefers(kind: str, hidden: Any, space: ActionSpace | None = None) -> Partial:
    """The noiseless answers of a person with the `utility` of these arguments: a `Prefers`.

    Raises:
        ValueError: no such kind.

    >>> import jax.numpy as jnp
    >>> prefers_fn = prefers("ideal", jnp.array([1.0, 0.0]))
    >>> bool(prefers_fn(jax.random.key(0), jnp.zeros(2), jnp.array([1.0, 0.5]), jnp.zeros(2)))
    True
    """
    return Partial(prefers_by, utility(kind, hidden, space))
