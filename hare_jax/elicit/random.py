"""The random control: HARE's candidates with a random winner, without questions."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import Recourse
from hare_jax.elicit import hare
from hare_jax.elicit.base import Elicitor
from hare_jax.elicit.hare import Hare, State


def elicitor(hp: Hare | None = None) -> Elicitor:
    """As `hare.elicitor`, but the winner of each proposal is drawn uniformly from its candidates, without questions."""
    control = hare.elicitor(hp)
    return Elicitor(
        start=control.start,
        propose=Partial(_propose, control.propose),
        ask=control.ask,
        tell=control.tell,
        recommend=control.recommend,
        questions_per_proposal=0,
        differentiable=control.differentiable,
    )


def one_round(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """A random one of `budget` candidates; the hyperparameters are those of `Hare`."""
    return elicitor(hare.with_directions(budget, hyperparameters))


def _propose(propose: Partial, state: State, key: Array) -> State:
    key_propose, key_winner = jax.random.split(key)
    state = propose(state, key_propose)
    winner = jax.random.randint(key_winner, (), 0, jnp.sum(state.waiting) + 1)  # 0 is the best recourse so far
    drawn = jnp.where(winner == 0, state.best.x, state.challengers[winner - 1])
    return state._replace(best=Recourse(drawn, state.best.valid), waiting=jnp.zeros_like(state.waiting))
