"""HARE: a tournament between diverse recourses on the decision boundary, in one round or in many.

Each proposal draws candidates around the best recourse so far, moves each to the boundary, and compares them in turn
with the best one. One round asks all of its questions about one proposal of K candidates; each of many rounds draws few
candidates around the winner of the last. HARE (TMLR 2025), algorithms 3 and 4.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, check_problem, pytree_dataclass
from hare_jax.elicit.base import PREFERS_B, Elicitor, Question, check_comparison
from hare_jax.elicit.candidates import Sampling, sample
from hare_jax.hyperparams import NonNegative, check_fields
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace

_BOUNDARY_STEPS = 20  # bisections


@pytree_dataclass
class Hare:
    """Hyperparameters of HARE's proposals."""

    sampling: Sampling = Sampling()
    sample_fn: Partial | None = None  # key, logit_fn, x, centre, space -> (n, d); replaces `candidates.sample`
    winner_only: bool = False  # compare candidates as drawn, and move only the winner of each round to the boundary
    margin: NonNegative = MARGIN  # the least logit of a recourse


class State(NamedTuple):
    """A session: the problem, the best recourse so far, and the challengers of this round."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    best: Recourse
    challengers: Array  # (n, d) on the boundary, the valid ones first
    waiting: Array  # (n,) bool: a valid challenger; all False if the base recourse is invalid
    position: Array  # () int: the next challenger


def elicitor(hp: Hare | None = None) -> Elicitor:
    """HARE with `hp.sampling.num_directions` candidates, and at most as many questions, per proposal.

    `Sampling(num_directions=30)` with one proposal is the paper's single round with K = 30; `num_directions=5` with six
    proposals is its many rounds.

    Raises:
        ValueError: a hyperparameter is out of its range.
    """
    hp = Hare() if hp is None else hp
    check_fields(hp, Hare)
    return Elicitor(
        start=Partial(_start, hp),
        propose=Partial(_propose, hp),
        ask=Partial(_ask),
        tell=Partial(_tell),
        recommend=Partial(_recommend, hp),
        questions_per_proposal=hp.sampling.num_directions,
        differentiable=True,
    )


def one_round(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """HARE with `budget` candidates in one proposal; the hyperparameters are those of `Hare`."""
    return elicitor(with_directions(budget, hyperparameters))


def many_rounds(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """HARE with `per_round` candidates in each of `budget // per_round` proposals."""
    return replace(elicitor(with_directions(per_round, hyperparameters)), num_proposals=budget // per_round)


def with_directions(num: int, hyperparameters: dict[str, Any]) -> Hare:
    """Hyperparameters with `num` candidates per proposal."""
    given = hyperparameters.get("sampling", Sampling())
    check_fields(given, Sampling, "sampling")
    sampling = replace(given, num_directions=num)
    return Hare(**{**hyperparameters, "sampling": sampling})


def _start(hp: Hare, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> State:
    check_problem(key, logit_fn, x, space, recourse)
    best = _at_boundary(hp, logit_fn, x, recourse, space)
    num = hp.sampling.num_directions
    challengers = jnp.broadcast_to(best.x[None, :], (num, x.shape[0]))
    position = jnp.zeros((), jnp.int32)
    return State(logit_fn, x, space, best, challengers, jnp.zeros(num, bool), position)


def _propose(hp: Hare, state: State, key: Array) -> State:
    sample_fn = Partial(sample, hp.sampling) if hp.sample_fn is None else hp.sample_fn
    best = _recommend(hp, state)
    candidates = sample_fn(key, state.logit_fn, state.x, best.x, state.space)
    num_steps = 0 if hp.winner_only else _BOUNDARY_STEPS
    search = partial(boundary, state.logit_fn, state.x, space=state.space, margin=hp.margin, num_steps=num_steps)
    found = jax.vmap(search)(candidates)
    order = jnp.argsort(~found.valid, stable=True)
    return state._replace(
        best=best,
        challengers=found.x[order],
        waiting=found.valid[order] & state.best.valid,
        position=jnp.zeros((), jnp.int32),
    )


def _ask(state: State) -> Question:
    challenger = state.challengers[state.position]
    left = state.waiting[state.position] & (state.position < state.waiting.shape[0])
    return Question(state.best.x, challenger, left & jnp.any(challenger != state.best.x))


def _tell(state: State, answer: Array) -> State:
    check_comparison(answer, "; only the Bayesian elicitor and PEAR accept others")
    shown = _ask(state)
    won = shown.asked & (answer == PREFERS_B)
    best = Recourse(jnp.where(won, shown.b, shown.a), state.best.valid)
    return state._replace(best=best, position=state.position + 1)


def _recommend(hp: Hare, state: State) -> Recourse:
    return _at_boundary(hp, state.logit_fn, state.x, state.best, state.space) if hp.winner_only else state.best


def _at_boundary(hp: Hare, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> Recourse:
    found = boundary(logit_fn, x, recourse.x, space, margin=hp.margin, num_steps=_BOUNDARY_STEPS)
    return Recourse(jnp.where(recourse.valid & found.valid, found.x, recourse.x), recourse.valid)
