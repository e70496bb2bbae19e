"""Whole populations: simulated people, the recourses of a method, the sessions of an elicitor, and all metrics.

Arrays have a leading axis of n rows: `x` (n, d). One program processes all rows, in batches and sharded over all
devices (`sharding.map_users`). A `key` () is split among the rows; of keys (n,), each row uses its own. Every function
here can be jitted, and called under `jit`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax import elicit, people
from hare_jax.base import (
    Generate,
    LogitFn,
    Recourse,
    check_key,
    check_leaves,
    check_rows,
    check_shapes,
    choose,
    require,
)
from hare_jax.evaluate import metrics
from hare_jax.evaluate.sharding import map_users
from hare_jax.hyperparams import check_fields
from hare_jax.space import ActionSpace

Users = dict[str, people.User]  # results of `people.draw`, by kind; leaves (n, ...)


class Sessions(NamedTuple):
    """Results of n sessions."""

    recourse: Recourse  # (n, d), (n,)
    questions: Array  # (n,) int: number of questions asked


def kinds_for(person: str) -> tuple[str, ...]:
    """The kinds that `measure_all` requires for a `person`: the ideal, the weights, and the kind itself."""
    return tuple(dict.fromkeys(("ideal", "weights", person)))


def draw_all(
    hp: people.Population,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    space: ActionSpace,
    kinds: Sequence[str] = ("ideal", "weights"),
) -> Users:
    """Draw a simulated person of each of the `kinds` for each row `x` (n, d): see `people.draw`.

    Raises:
        ValueError: `hp` is not a `Population`, `key` not a key, a kind is unknown, or `x` is not n rows of the space.
    """
    check_fields(hp, people.Population)
    _check_rows(key, x, space)

    def one(row: tuple[Array, Array]) -> Users:
        return people.draw(hp, row[0], logit_fn, row[1], space, kinds)

    return map_users(one, (_keys(key, len(x)), x))


def generate_all(generate: Generate, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """The recourse of a bound method for each row `x` (n, d).

    Raises:
        ValueError: `generate` is not callable, `key` is not a key, or `x` is not n rows of the space.
    """
    _check_rows(key, x, space)
    require(callable(generate), "generate", "must be a method bound by recourse.bind", generate)
    return map_users(lambda row: generate(row[0], logit_fn, row[1], space), (_keys(key, len(x)), x))


def generate_each(
    generate: Callable[..., Recourse], given: Any, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace
) -> Recourse:
    """As `generate_all`, with parameters per row: `generate(given, key, logit_fn, x, space)`; `given` (n, ...).

    Raises:
        ValueError: `given` does not have an entry for each row, `key` is not a key, or `x` is not n rows of the space.
    """
    _check_rows(key, x, space)
    check_leaves(given=(given, len(x)))

    def one(row: tuple[Any, Array, Array]) -> Recourse:
        return generate(row[0], row[1], logit_fn, row[2], space)

    return map_users(one, (given, _keys(key, len(x)), x))


def final(elicitor: elicit.Elicitor, key: Array, state: Any, trace: elicit.Trace, user: people.User) -> Sessions:
    """The last recommendation and the number of questions of one session."""
    return Sessions(elicitor.recommend(state), jnp.sum(trace.asked))


def elicit_all(
    elicitor: elicit.Elicitor,
    person: str,
    noise: people.Noise,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    users: Users,
    base: Recourse,
    space: ActionSpace,
    *,
    read: Callable[..., Any] = final,
) -> Any:
    """Run a session for each row `x` (n, d), with the answers of a `person` of `PERSONS` and `noise`.

    Sessions start from the recourses `base` (n, d). `read(elicitor, key, state, trace, user)` returns the result of one
    session, by default `Sessions`.

    Raises:
        ValueError: an unknown `person`, one that `users` lack, an argument of another kind, or an array of another
            shape.
    """
    choose("person", person, people.PERSONS)
    require(isinstance(elicitor, elicit.Elicitor), "elicitor", "must be an Elicitor", elicitor)
    check_fields(noise, people.Noise, "noise")
    _check_rows(key, x, space)
    _check_recourses("base", base, x)
    _check_users(users, (person,), x)

    def one(row: tuple[Array, Array, people.User, Recourse]) -> Any:
        key, x, user, base = row
        state, trace = answered(elicitor, person, noise, key, logit_fn, x, user, base, space)
        return read(elicitor, key, state, trace, user)

    return map_users(one, (_keys(key, len(x)), x, users[person], base))


def answered(
    elicitor: elicit.Elicitor,
    person: str,
    noise: people.Noise,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    user: people.User,
    base: Recourse,
    space: ActionSpace,
) -> tuple[Any, elicit.Trace]:
    """The session of one `user` for `x` (d,), with the answers of a `person` of `PERSONS` and `noise`."""
    prefers = people.noisy(noise, people.prefers(person, user.hidden, space))
    return elicit.session(elicitor, prefers, key, logit_fn, x, base, space)


def measure_all(
    logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace, users: Users, person: str = "ideal"
) -> metrics.Measures:
    """All metrics of the recourses (n, d) for the rows `x` (n, d); the loss is that of a `person` of `PERSONS`.

    Raises:
        ValueError: an unknown `person`, kinds that `users` lack, or an array of another shape.
    """
    choose("person", person, people.PERSONS)
    _check_rows(None, x, space)
    _check_recourses("recourse", recourse, x)
    _check_users(users, kinds_for(person), x)

    def one(x: Array, recourse: Recourse, users: Users) -> metrics.Measures:
        return measured(logit_fn, x, recourse, space, users, person)

    return jax.vmap(one)(x, recourse, users)


def measured(
    logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace, users: Users, person: str = "ideal"
) -> metrics.Measures:
    """All metrics of the recourse of one row `x` (d,), as in `measure_all`; `users` are those of `people.draw`."""
    loss_fn = people.loss(person, users[person].hidden, space)
    ideal, weights = users["ideal"].hidden, users["weights"].hidden
    return metrics.measure(logit_fn, x, recourse, space, ideal=ideal, weights=weights, loss_fn=loss_fn)


def _keys(key: Array, num: int) -> Array:
    return jax.random.split(key, num) if key.ndim == 0 else key


def _check_rows(key: Array | None, x: Array, space: ActionSpace) -> None:
    """Check the rows `x` (n, d), and that `key` is one of `jax.random.key`, or n of them."""
    check_rows(x, space, argument="x")
    if key is not None:
        check_key(key[0] if np.shape(key) == (len(x),) else key)


def _check_recourses(argument: str, recourse: Recourse, x: Array) -> None:
    require(isinstance(recourse, Recourse), argument, "must be a Recourse", type(recourse).__name__)
    check_shapes(**{f"{argument}_x": (recourse.x, x.shape), f"{argument}_valid": (recourse.valid, x.shape[:1])})


def _check_users(users: Users, kinds: Sequence[str], x: Array) -> None:
    for kind in kinds:
        require(kind in users, "users", f"must hold {', '.join(kinds)}, drawn by draw_all", list(users))
        check_leaves(users=(users[kind], len(x)))
