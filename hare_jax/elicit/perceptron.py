"""Choice perceptron: linear weights of the features of a recourse, moved by each answer towards the preferred one.

Notation: `phi` (d,) are the features of a recourse, the absolute own changes of its columns relative to the length of
the base's change, `phi = |z - x| / ||base - x||_2`, so that one learning rate serves all scales of recourses. Its cost
is `weights . phi`. Weights start at 1, the L1 cost, and one below 0.1 counts as 0.1. Shivaswamy and Joachims (2015),
"Coactive learning", the preference perceptron; Dragone, Teso and Passerini (2018), "Constructive preference
elicitation", whose questions pair the best recourse with a good one that differs from it.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, check_problem, pytree_dataclass
from hare_jax.elicit import base, recourses
from hare_jax.elicit.base import CANNOT_TELL, PREFERS_A, Elicitor, Question, check_comparison, of_state
from hare_jax.hyperparams import Count, NonNegative, Positive, check_fields
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import ActionSpace

_LEAST = 0.1  # weight that counts: no change is free


@pytree_dataclass
class Perceptron:
    """Hyperparameters of the perceptron and of its questions."""

    learning_rate: Positive = 1.0  # of the weights, for each answer
    diversity: NonNegative = 0.5  # least weighted L1 distance of an alternative to the recommendation, in its cost
    num_pool: Count = 64  # recourses drawn at the start
    num_local: Count = 16  # recourses around the recommendation, drawn for each question
    reach: Positive = 2.0  # largest L2 distance of target points from the factual
    spread: Positive = 1.0  # largest distance of local target points from the recommendation, relative to its own
    search: LocalSearch = recourses.SEARCH  # of the recommendation, after each answer
    short_search: LocalSearch = recourses.SHORT  # of the alternative
    margin: NonNegative = MARGIN  # the least logit of a recourse


class State(NamedTuple):
    """A session."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    key: Array  # its data, of the next search
    scale: Array  # () features of a unit of change
    weights: Array  # (d,)
    best: Recourse  # the recommendation
    drawn: Recourse  # (num_pool, d)
    question: Question


def elicitor(hp: Perceptron | None = None) -> Elicitor:
    """The choice perceptron with one question per proposal.

    Raises:
        ValueError: a hyperparameter is out of its range.
    """
    hp = Perceptron() if hp is None else hp
    check_fields(hp, Perceptron)
    return of_state(hp, _start, _propose, _tell)


def for_budget(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """As `elicitor`, for `budget` questions; the hyperparameters are those of `Perceptron`."""
    return base.for_budget(elicitor(Perceptron(**hyperparameters)), budget)


def _start(hp: Perceptron, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> State:
    check_problem(key, logit_fn, x, space, recourse)
    key_pool, key_search = jax.random.split(key)
    drawn = recourses.draw(key_pool, logit_fn, x, recourse, space, hp.num_pool, hp.reach, hp.margin)
    length = jnp.linalg.norm(recourse.x - x)
    state = State(
        logit_fn=logit_fn,
        x=x,
        space=space,
        key=jax.random.key_data(key_search),
        scale=1 / jnp.where(length > 0, length, 1),
        weights=jnp.ones_like(x),
        best=recourse,
        drawn=drawn,
        question=Question(recourse.x, recourse.x, jnp.array(False)),
    )
    return _search(hp, state)


def _propose(hp: Perceptron, state: State, key: Array) -> State:
    """Search for an alternative to the recommendation that is cheap, and different from it."""
    key_local, key_alternative, key_search = jax.random.split(key, 3)
    problem, best, space = (state.logit_fn, state.x), state.best, state.space
    local = recourses.draw_around(key_local, *problem, best, space, hp.num_local, hp.spread, hp.margin)
    weights, known = _counted(state), recourses.members(state.drawn, local)
    cost = partial(_apart_cost, hp.diversity, weights, recourses.changes(space, state.x, best.x[None])[0])
    found = recourses.cheapest(hp.short_search, key_alternative, cost, *problem, best, known, space)
    change = recourses.changes(space, state.x, found.x[None])[0]
    asked = best.valid & jnp.isfinite(cost(change)) & jnp.any(found.x != best.x)
    return state._replace(key=jax.random.key_data(key_search), question=Question(best.x, found.x, asked))


def _counted(state: State) -> Array:
    return jnp.maximum(state.weights, _LEAST)


def _apart_cost(diversity: Array | float, weights: Array, best: Array, change: Array) -> Array:
    """The cost of a `change` (d,), infinite within `diversity` costs of the recommended change `best` (d,) of it."""
    apart = jnp.sum(weights * jnp.abs(change - best))
    return jnp.where(apart >= diversity * _cost(weights, best), _cost(weights, change), jnp.inf)


def _tell(hp: Perceptron, state: State, answer: Array) -> State:
    """`weights += learning_rate (phi(other) - phi(preferred))`; no change where it cannot be told."""
    check_comparison(answer, "; only the Bayesian elicitor and PEAR accept others")
    shown = state.question
    phi_a, phi_b = state.scale * jnp.abs(recourses.changes(state.space, state.x, jnp.stack([shown.a, shown.b])))
    step = jnp.where(answer == PREFERS_A, phi_b - phi_a, phi_a - phi_b)
    learned = shown.asked & (answer != CANNOT_TELL)
    weights = state.weights + jnp.where(learned, hp.learning_rate * step, 0)
    state = state._replace(weights=weights, question=shown._replace(asked=jnp.zeros_like(shown.asked)))
    return _search(hp, state)


def _search(hp: Perceptron, state: State) -> State:
    """Search for the recourse of least cost."""
    weights, key = _counted(state), jax.random.wrap_key_data(state.key)
    cost, known = partial(_cost, weights), recourses.members(state.drawn, _shown(state))
    best = recourses.cheapest(hp.search, key, cost, state.logit_fn, state.x, state.best, known, state.space)
    return state._replace(best=best)


def _shown(state: State) -> Recourse:
    """The alternative that was shown last."""
    return Recourse(state.question.b, state.best.valid)


def _cost(weights: Array, change: Array) -> Array:
    return jnp.sum(weights * jnp.abs(change))
