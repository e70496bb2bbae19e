"""Answers of simulated people in one program for all kinds of persons.

Notation: `kinds` are the names of a dict of hidden parameters, sorted; a `person` () int is one of them by position. It
is the same for all users, so that of the branches of a `lax.switch` one alone is run.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax import elicit, people
from hare_jax.base import Recourse
from hare_jax.elicit.base import simulated_answer
from hare_jax.space import ActionSpace


class Respondent(NamedTuple):
    """A simulated person."""

    person: Array  # () int: the kind, by position
    hidden: dict[str, Any]  # the hidden parameters of each kind
    noise: people.Noise
    x: Array  # (d,)
    space: ActionSpace


class Asking(NamedTuple):
    """The question that an answer is for."""

    key: Array  # ()
    number: Array  # () int: number of questions asked before


class Offered(NamedTuple):
    """A set of recourses to choose the best from; `asked=False` if no question is left."""

    options: Recourse  # (k, d)
    asked: Array  # () bool


def position(kind: str, hidden: dict[str, Any]) -> Array:
    """The position () of a kind in a dict by kind."""
    return jnp.asarray(sorted(hidden).index(kind))


def of_kind(fn: Callable[..., Any], person: Array, hidden: dict[str, Any], *args: Any) -> Any:
    """`fn(kind, hidden[kind], *args)` for the kind at the position `person`."""
    branches = [partial(_branch, fn, kind) for kind in sorted(hidden)]
    return jax.lax.switch(person, branches, hidden, *args)


def _branch(fn: Callable[..., Any], kind: str, hidden: dict[str, Any], *args: Any) -> Any:
    return fn(kind, hidden[kind], *args)


def loss(kind: str, hidden: Any, space: ActionSpace, x: Array, z: Array) -> Array:
    """The loss () of the recourse `z` (d,)."""
    return people.loss(kind, hidden, space)(x, z).astype(x.dtype)


def utility(kind: str, hidden: Any, space: ActionSpace, x: Array, z: Array) -> Array:
    """The utility () of the recourse `z` (d,)."""
    return people.utility(kind, hidden, space)(x, z).astype(x.dtype)


def compare(them: Respondent, asking: Asking, shown: elicit.Question) -> Array:
    """The answer () int to a pair, with noise."""
    return of_kind(_compare, them.person, them.hidden, them, asking, shown)


def _compare(kind: str, hidden: Any, them: Respondent, asking: Asking, shown: elicit.Question) -> Array:
    prefers: Any = people.noisy(them.noise, people.prefers(kind, hidden, them.space))
    if getattr(prefers, "numbered", False):  # answers that depend on the number of the question
        prefers = prefers.at_question(asking.number)
    return simulated_answer(prefers, them.x, asking.key, shown).astype(jnp.int32)


def choose(them: Respondent, asking: Asking, shown: Offered) -> Array:
    """The position () of the option of highest utility; if flipped, that of another one, drawn uniformly."""
    key_flip, key_other = jax.random.split(asking.key)
    options = shown.options
    values = jax.vmap(partial(_value, them))(options.x)
    best = jnp.argmax(jnp.where(options.valid, values, -jnp.inf))
    others = options.valid & (jnp.arange(len(values)) != best)
    other = jax.random.categorical(key_other, jnp.where(others, 0.0, -jnp.inf))
    flipped = (jax.random.uniform(key_flip) < them.noise.flip) & jnp.any(others)
    return jnp.where(flipped, other, best).astype(jnp.int32)


def rate(them: Respondent, asking: Asking, shown: elicit.Question) -> Array:
    """The rating () of the second recourse of a pair, its utility; if flipped, that of the first."""
    flipped = jax.random.uniform(asking.key) < them.noise.flip
    return _value(them, jnp.where(flipped, shown.a, shown.b))


def _value(them: Respondent, z: Array) -> Array:
    return of_kind(utility, them.person, them.hidden, them.space, them.x, z)
