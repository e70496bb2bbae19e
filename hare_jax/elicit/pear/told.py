"""The answers of a session of PEAR: choices from sets, of which a comparison is the smallest."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import require
from hare_jax.elicit import answers
from hare_jax.elicit.answers import Choice


class Told(NamedTuple):
    """The answers so far."""

    options: Array  # (n, k, d) recourses, the chosen one first
    known: Array  # (n, k) bool: the option was there; all False without an answer, or a preference
    num_told: Array  # () int: answers, those without a preference as well


def chosen_first(answer: Choice, set_size: int, width: int) -> tuple[Array, Array]:
    """The options (k, d) of a choice, the chosen one first, and which were there.

    Raises:
        ValueError: see `answers.check`; or more than `set_size` options.
    """
    answers.check(answer, width)
    num = len(answer.options.valid)
    require(num <= set_size, "options", f"must be at most the set_size, {set_size}", num)
    (x, valid), chosen = jax.tree.map(jnp.asarray, answer)
    order = jnp.argsort(jnp.arange(num) != chosen, stable=True)
    return padded(x[order], valid[order], set_size)


def padded(x: Array, known: Array, num: int) -> tuple[Array, Array]:
    """Options (k, d) and whether each is `known` (k,), with rows that are not up to `num`."""
    short = num - len(known)
    return jnp.pad(x, ((0, short), (0, 0)), mode="edge"), jnp.pad(known, (0, short))


def with_answer(told: Told, options: Array, known: Array, given: Array) -> Told:
    """`told` with an answer about the `options` (k, d), if one was `given`."""
    at = given & (jnp.arange(len(told.known)) == told.num_told)
    return Told(
        options=jnp.where(at[:, None, None], options[None], told.options),
        known=jnp.where(at[:, None], known[None], told.known),
        num_told=told.num_told + given,
    )
