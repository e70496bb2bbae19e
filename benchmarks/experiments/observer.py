"""The ideal observer: exact Bayesian inference over a discrete prior of ideals, a reference for all elicitors.

The N candidates are ideals drawn from the simulated population for the same row, and the true one is among them. The
observer knows the rate of flips. Each question is a pair of candidates drawn from the posterior, of several the one
that splits its mass most evenly: for a known rate of flips its answer has the highest mutual information with the
ideal. The recommendation is the candidate of least expected distance to the ideal.

Notation: `distance` (N, N) are the distances between the candidates, `log_p` (N,) the log posterior.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.experiments.sessions import Asked
from hare_jax import people
from hare_jax.base import LogitFn, Recourse, exact_products
from hare_jax.evaluate.sharding import map_users
from hare_jax.space import ActionSpace

NUM_CANDIDATES = 1024
_NUM_PAIRS = 256  # from which a question is chosen
_BATCH = 4  # users at a time, as each has an array (N, N)
_LEAST_FLIP = 1e-6  # the observer's, so that its posterior is finite
_EXCLUDED = -1e30  # log probability of a candidate that is not valid


class Candidates(NamedTuple):
    """The discrete prior of each of n users."""

    x: Array  # (n, N, d)
    valid: Array  # (n, N) bool
    true: Array  # (n,) int: the position of the true ideal


class _Problem(NamedTuple):
    """The constants of one session."""

    distance: Array  # (N, N)
    true: Array  # () int
    flip: Array  # ()


@partial(jax.jit, static_argnames="num")
def draw(
    hp: people.Population,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    ideals: people.User,
    space: ActionSpace,
    num: int = NUM_CANDIDATES,
) -> Candidates:
    """Draw `num` candidates for each row `x` (n, d); the true `ideals` (n, d) are at random positions."""
    key_draws, key_true = jax.random.split(key)

    def one(row: tuple[Array, Array]) -> people.User:
        return people.draw(hp, row[0], logit_fn, row[1], space, ("ideal",))["ideal"]

    keys = jax.random.split(key_draws, len(x) * num)
    drawn = map_users(one, (keys, jnp.repeat(x, num, axis=0)))
    hidden, valid = drawn.hidden.reshape(len(x), num, -1), drawn.valid.reshape(len(x), num)
    users, true = jnp.arange(len(x)), jax.random.randint(key_true, (len(x),), 0, num)
    return Candidates(hidden.at[users, true].set(ideals.hidden), valid.at[users, true].set(ideals.valid), true)


@partial(jax.jit, static_argnames="num")
def elicit_all(candidates: Candidates, key: Array, flip: Array, *, num: int) -> Asked:
    """A session of `num` questions with each user, whose answers are flipped with probability `flip` ()."""
    keys = jax.random.split(key, len(candidates.true))
    return map_users(partial(_session, flip, num), (candidates, keys), batch_size=_BATCH)


def _session(flip: Array, num: int, row: tuple[Candidates, Array]) -> Asked:
    (x, valid, true), key = row
    problem = _Problem(distances(x), true, flip)
    log_p = jnp.where(valid, 0.0, _EXCLUDED)
    _, best = jax.lax.scan(partial(_question, problem), log_p, jax.random.split(key, num))
    return Asked(Recourse(x[best], valid[best]), jnp.ones(num, bool), None)


@exact_products
def distances(x: Array) -> Array:
    """Distances (N, N) between the rows of `x` (N, d)."""
    centred = x - jnp.mean(x, axis=0)[None, :]
    squares = jnp.sum(centred**2, axis=1)
    return jnp.sqrt(jnp.maximum(squares[:, None] + squares[None, :] - 2 * centred @ centred.T, 0))


@exact_products
def _question(problem: _Problem, log_p: Array, key: Array) -> tuple[Array, Array]:
    """Ask, update, and recommend: the log posterior, and the position of the recommended candidate."""
    key_pairs, key_flip = jax.random.split(key)
    nearer = _most_even(problem.distance, jax.nn.softmax(log_p), key_pairs)
    flipped = jax.random.uniform(key_flip) < problem.flip
    agrees = nearer == (nearer[problem.true] ^ flipped)
    error = jnp.clip(problem.flip, _LEAST_FLIP, 1 - _LEAST_FLIP)
    log_p += jnp.where(agrees, jnp.log1p(-error), jnp.log(error))
    return log_p, jnp.argmin(problem.distance @ jax.nn.softmax(log_p))


def _most_even(distance: Array, p: Array, key: Array) -> Array:
    """Whether each candidate (N,) is nearer to the first of a pair than to the second, for the most even pair."""
    quantiles = jax.random.uniform(key, (2, _NUM_PAIRS))
    first, second = jnp.minimum(jnp.searchsorted(jnp.cumsum(p), quantiles), len(p) - 1)
    nearer = distance[first] < distance[second]
    return nearer[jnp.argmin(jnp.abs(nearer @ p - 1 / 2))]
