"""PEAR: particles of hidden cost weights, and questions of greatest expected utility of selection.

Notation: N particles of the weights `w` (d,) of a cost `sum_j w_j |z_j - x_j|` of own changes; a set has k options.
Option i is chosen with the probability `exp(sharpness u_i) / sum_j exp(sharpness u_j)`, with utilities `u = -cost`; for
pairs that is the model of Bradley and Terry (1952). A lapse rate, which is ours, bounds the effect of a wrong answer.
The expected utility of selection of a set is the mean, over particles and choices, of the utility of the option chosen
(Viappiani and Boutilier, 2010, "Optimal Bayesian recommendation sets and myopically optimal choice query sets"). De
Toni, Viappiani, Teso, Lepri and Passerini (TMLR 2024), "Personalized algorithmic recourse with preference
elicitation", https://arxiv.org/abs/2205.13743: there costs are of sequences of actions, found by
reinforcement learning; here of recourses, found by local search.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse, check_key, check_problem, exact_products, holds, require
from hare_jax.elicit import base, recourses
from hare_jax.elicit.answers import Choice
from hare_jax.elicit.base import CANNOT_TELL, PREFERS_A, Elicitor, Question, check_comparison, is_compared, of_state
from hare_jax.elicit.pear.particles import clipped, draw_prior, updated, utilities, utility_scale
from hare_jax.elicit.pear.state import Pear, State, check
from hare_jax.elicit.pear.told import Told, chosen_first, padded, with_answer
from hare_jax.hyperparams import Count, check_values
from hare_jax.space import ActionSpace


def elicitor(hp: Pear | None = None) -> Elicitor:
    """PEAR with one question per proposal: a pair; `offer` returns larger sets, up to `set_size`.

    Raises:
        ValueError: a hyperparameter is out of its range.
    """
    hp = Pear() if hp is None else hp
    check(hp)
    return of_state(hp, _start, _propose, _tell)


def for_budget(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """As `elicitor`, for `budget` questions; the hyperparameters are those of `Pear`.

    Raises:
        ValueError: a hyperparameter is out of its range, or `max_questions` is below the budget.
    """
    hp = Pear(**{"max_questions": budget, **hyperparameters})
    return base.for_budget(elicitor(hp), budget, hp.max_questions)


@exact_products
def offer(state: State, key: Array, num: int) -> Recourse:
    """A set of `num` recourses (num, d) to choose the best from, in order of their gain; `tell` it as a `Choice`.

    Each raises the expected utility of selection most, given those before it. Options with `valid=False` add nothing
    and must not be shown. The choice is deterministic, and the `key` is that of `elicit.offer`.

    Raises:
        ValueError: `num` is not from 1 to the elicitor's `set_size`, or `key` is no key.
    """
    check_key(key)
    check_values(num=(num, Count))
    most = state.told.options.shape[1]
    require(num <= most, "num", f"must be at most the set_size, {most}", num)
    known = recourses.members(state.best, state.drawn, state.cheap)
    usable = jnp.broadcast_to(known.valid & state.best.valid, (num, len(known.valid)))
    at, adds = best_set(utilities(state, known), usable, state.sharpness)
    return Recourse(known.x[at], adds)


@exact_products
def _start(hp: Pear, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> State:
    check_problem(key, logit_fn, x, space, recourse)
    key_pool, key_particles, key_search, key_state = jax.random.split(key, 4)
    num, width = hp.max_questions, len(x)
    nothing = Recourse(jnp.tile(recourse.x, (hp.num_cheap, 1)), jnp.zeros(hp.num_cheap, bool))
    state = State(
        logit_fn=logit_fn,
        x=x,
        space=space,
        key=jax.random.key_data(key_state),
        sharpness=jnp.ones((), x.dtype),
        particles=draw_prior(hp, key_particles, width, x.dtype),
        told=Told(jnp.tile(x, (num, hp.set_size, 1)), jnp.zeros((num, hp.set_size), bool), jnp.zeros((), jnp.int32)),
        best=recourse,
        drawn=recourses.draw(key_pool, logit_fn, x, recourse, space, hp.num_pool, hp.reach, hp.margin),
        cheap=nothing,
        question=Question(recourse.x, recourse.x, jnp.array(False)),
    )
    scale = utility_scale(state, recourses.members(recourse, state.drawn))
    return _search(hp, state._replace(sharpness=hp.sharpness / scale), key_search)


@exact_products
def _propose(hp: Pear, state: State, key: Array) -> State:
    """Search for recourses that are cheap for some particles, and choose the pair."""
    keys = jax.random.split(key, hp.num_cheap)
    weights = clipped(state.particles[_spaced(hp)])
    lasting = recourses.members(state.best, state.drawn)
    cheap = jax.vmap(partial(_search_one, hp, state, lasting))(keys, weights)
    return _choose_question(hp, state._replace(cheap=cheap))


def _spaced(hp: Pear) -> np.ndarray:
    """Which of the particles, in the order of their resampling, are searched for: (num_cheap,)."""
    return np.arange(hp.num_cheap) * hp.num_particles // hp.num_cheap


def _search_one(hp: Pear, state: State, lasting: Recourse, key: Array, weights: Array) -> Recourse:
    cost = partial(_cost, weights)
    return recourses.cheapest(hp.short_search, key, cost, state.logit_fn, state.x, state.best, lasting, state.space)


def _choose_question(hp: Pear, state: State) -> State:
    """The recourse of highest expected utility, and the one that adds most to it and was not compared with it yet."""
    known = recourses.members(state.best, state.drawn, state.cheap)
    utility = utilities(state, known)
    first = jnp.argmax(jnp.where(known.valid, jnp.mean(utility, axis=0), -jnp.inf))
    told = is_compared(state.told.options, known.x[first][None], known.x)[0]
    differs = jnp.any(known.x != known.x[first][None, :], axis=1)
    usable = jnp.stack([jnp.arange(len(told)) == first, known.valid & differs & ~told])
    at, _ = best_set(utility, usable, state.sharpness)
    asked = state.best.valid & usable[1, at[1]] & (state.told.num_told < hp.max_questions)
    return state._replace(question=Question(known.x[first], known.x[at[1]], asked))


def best_set(utility: Array, usable: Array, sharpness: Array) -> tuple[Array, Array]:
    """The set of greatest expected utility of selection, greedily, by index (k,), and whether each option adds to it.

    Of m recourses with `utility` (N, m), those `usable` (k, m) may be chosen in each step. With the log of the sum of
    `exp(sharpness u)` over the set and the expected utility of its choice, an option y is chosen from the larger set
    with the probability `p = sigmoid(sharpness u_y - log_sum)`, and that has the expected utility
    `(1 - p) selected + p u_y`.
    """

    def add(carry: tuple[Array, Array], usable: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        log_sum, selected = carry
        p = jax.nn.sigmoid(sharpness * utility - log_sum[:, None])
        gain = jnp.where(usable, jnp.mean(p * (utility - selected[:, None]), axis=0), -jnp.inf)
        at = jnp.argmax(gain)
        chosen = utility[:, at]
        carry = jnp.logaddexp(log_sum, sharpness * chosen), selected + p[:, at] * (chosen - selected)
        return carry, (at, gain[at] > 0)

    lowest = jnp.min(utility, axis=1) - 1
    nothing = jnp.full_like(lowest, -jnp.inf)  # of no option: any is then chosen with probability 1
    _, found = jax.lax.scan(add, (nothing, lowest), usable)
    return found


@exact_products
def _tell(hp: Pear, state: State, answer: Array | Choice) -> State:
    shown = state.question
    if isinstance(answer, Choice):
        fits = holds(lambda num: num < hp.max_questions, state.told.num_told)
        require(fits, "answer", f"must fit: the session holds at most {hp.max_questions} (max_questions)", "one more")
        options, known = chosen_first(answer, hp.set_size, len(state.x))
        given = jnp.any(known)
    else:
        check_comparison(answer, ", or a Choice")
        given, pair = shown.asked, jnp.where(answer == PREFERS_A, jnp.array([0, 1]), jnp.array([1, 0]))
        options, known = padded(jnp.stack([shown.a, shown.b])[pair], jnp.full(2, answer != CANNOT_TELL), hp.set_size)
    state = state._replace(
        told=with_answer(state.told, options, known, given), question=shown._replace(asked=jnp.array(False))
    )
    key_particles, key_search, key = jax.random.split(jax.random.wrap_key_data(state.key), 3)
    state = state._replace(particles=updated(hp, key_particles, state, given), key=jax.random.key_data(key))
    return _search(hp, state, key_search)


def _search(hp: Pear, state: State, key: Array) -> State:
    """Search for the recourse of least expected cost, which is that of the mean weights."""
    cost = partial(_cost, jnp.mean(clipped(state.particles), axis=0))
    known = recourses.members(state.drawn, state.cheap)
    best = recourses.cheapest(hp.search, key, cost, state.logit_fn, state.x, state.best, known, state.space)
    return state._replace(best=best)


def _cost(weights: Array, change: Array) -> Array:
    return jnp.sum(weights * jnp.abs(change))
