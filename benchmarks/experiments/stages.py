"""The stages of a round of HARE as programs over all users, with their theoretical floating-point operations.

Only matrix products are counted: F for one evaluation of the classifier and twice that for its value and gradient,
N * N * d * 4 for a step of spreading N directions in d columns.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import Setting
from hare_jax import elicit, people
from hare_jax.base import Prefers, Recourse
from hare_jax.elicit import candidates
from hare_jax.elicit.hare import State
from hare_jax.evaluate.sharding import map_users
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace

_MILLION = 1e6
_BISECTING = 21  # evaluations of one boundary search


class Work(NamedTuple):
    """The sizes that the number of operations per user depends on."""

    evaluation: float  # 1e6 operations of one evaluation of the classifier
    width: int  # d
    num_steps: int  # of spreading


def work(setting: Setting, hp: candidates.Sampling) -> Work:
    """The sizes of a setting."""
    matrices = [leaf for leaf in jax.tree.leaves(setting.params) if leaf.ndim == 3]  # (seeds, inputs, outputs)
    evaluation = 2 / _MILLION * sum(leaf[0].size for leaf in matrices)
    return Work(evaluation, setting.table.x_test.shape[1], hp.num_steps)


def spreading(work: Work, num_rounds: int, num_directions: int) -> float:
    """1e6 operations of drawing candidates for one user."""
    spread = 4 / _MILLION * num_directions**2 * work.width
    return work.num_steps * num_rounds * (num_directions * 2 * work.evaluation + spread)


def bisecting(work: Work, num: int) -> float:
    """1e6 operations of `num` boundary searches."""
    return _BISECTING * num * work.evaluation


@jax.jit
def sample_all(
    hp: candidates.Sampling, logit_fn: Partial, keys: Array, x: Array, centre: Array, space: ActionSpace
) -> Array:
    """Candidates (n, N, d) around each of the centres (n, d)."""

    def one(row: tuple[Array, Array, Array]) -> Array:
        return candidates.sample(hp, row[0], logit_fn, row[1], row[2], space)

    return map_users(one, (keys, x, centre))


@jax.jit
def boundary_all(logit_fn: Partial, x: Array, x_cf: Array, space: ActionSpace) -> Recourse:
    """The boundary points (n, N, d) of candidates (n, N, d)."""
    search = jax.vmap(partial(boundary, logit_fn, space=space), in_axes=(None, 0))
    return map_users(lambda row: search(*row), (x, x_cf))


@jax.jit
def question_all(logit_fn: Partial, x: Array, pool: Recourse, space: ActionSpace, ideal: Array) -> Array:
    """The winners (n, d) of a tournament with one question per member of the `pool` (n, N, d)."""

    def one(row: tuple[Array, Recourse, Array]) -> Array:
        x, pool, ideal = row
        first = Recourse(pool.x[0], pool.valid[0])
        state = State(logit_fn, x, space, first, pool.x, pool.valid, jnp.zeros((), jnp.int32))
        step = partial(_answer, elicit.hare.elicitor(), people.prefers("ideal", ideal))
        return jax.lax.scan(step, state, length=pool.x.shape[0])[0].best.x

    return map_users(one, (x, pool, ideal))


def _answer(elicitor: elicit.Elicitor, prefers: Prefers, state: State, _: None) -> tuple[State, None]:
    shown = elicitor.ask(state)
    chosen = jnp.where(prefers(jax.random.key(0), state.x, shown.a, shown.b), elicit.PREFERS_A, elicit.PREFERS_B)
    return elicitor.tell(state, chosen), None
