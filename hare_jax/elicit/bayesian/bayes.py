"""Bayesian elicitation: ask the question of highest acquisition value, recommend by expected utility.

The posterior covers several kinds of persons and scales of their priors at once, each with its fitted error rate, width
of ties and memory (see `posterior`, `manner`). Questions are pairs from a pool of valid recourses: some drawn once
within the reaches of the factual, some from the posterior, after each answer. `offer` selects a set of more than two.
Besides comparisons, `tell` takes choices from a set, ratings, vetoes and ranges.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, check_key, check_problem, exact_products
from hare_jax.elicit import base, pool
from hare_jax.elicit.answers import Answer, Range, Rated, Rating
from hare_jax.elicit.base import Elicitor, Question, of_state
from hare_jax.elicit.bayesian import acquisition, belief, region, search
from hare_jax.elicit.bayesian import state as states
from hare_jax.elicit.bayesian.ideal import MonteCarlo, draw_ideals, target_of
from hare_jax.elicit.bayesian.learn import learn
from hare_jax.elicit.bayesian.region import Region
from hare_jax.elicit.bayesian.state import Bayes, State
from hare_jax.hyperparams import Count, check_fields, check_values
from hare_jax.people import PERSONS
from hare_jax.people.base import Prior
from hare_jax.space import ActionSpace


def elicitor(hp: Bayes | None = None) -> Elicitor:
    """Bayesian elicitation.

    A question is the pair of valid recourses of the highest value of `hp.acquisition`: the expected utility of the
    better one (Viappiani and Boutilier, 2010, "Optimal Bayesian recommendation sets and myopically optimal choice query
    sets"), the mutual information of its answer with the hidden parameters, or, by default, both and a share of that
    with the kind of person alone (`acquisition.mixed`). The recommendation is the valid recourse of highest
    expected utility found by a search on the decision boundary. All recourses shown are accepted and allowed.

    Raises:
        ValueError: a hyperparameter is out of its range.
    """
    hp = Bayes() if hp is None else hp
    states.check(hp)
    hp = states.with_probabilities(hp)
    return of_state(hp, _start, _propose, _tell)


def for_budget(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """Bayesian elicitation for `budget` questions; the hyperparameters are those of `Bayes`.

    Raises:
        ValueError: a hyperparameter is out of its range, or `max_questions` is below the budget.
    """
    hp = Bayes(**{"max_questions": budget, **hyperparameters})
    return base.for_budget(elicitor(hp), budget, hp.max_questions)


def ideals(state: State, key: Array, hp: MonteCarlo | None = None) -> Array:
    """Draws (n, d) of the ideal from its posterior, given that there is one; see `ideal.draw_ideals`.

    Raises:
        ValueError: the posterior does not cover ideals, `key` is not a key, or `hp` not a `MonteCarlo`.
    """
    check_key(key)
    hp = MonteCarlo() if hp is None else hp
    check_fields(hp, MonteCarlo)
    problem = state.logit_fn, state.x, state.space
    return draw_ideals(hp, key, target_of(state.belief, state.reaches, state.slack, *problem, hp.rate_power))


def ideal_region(state: State, key: Array, level: float = 0.9) -> Region:
    """The credible region of the ideal with probability `level`; see `ideals` and `region.inside`.

    Raises:
        ValueError: the posterior does not cover ideals, `key` is not a key, or `level` is not between 0 and 1.
    """
    return region.credible_region(ideals(state, key), state.space.mutable, level)


def expected_distance(state: State, key: Array) -> Array:
    """Expected L2 distance () from the recommendation to the ideal; see `ideals`.

    Raises:
        ValueError: the posterior does not cover ideals, or `key` is not a key.
    """
    return jnp.mean(jnp.linalg.norm(ideals(state, key) - state.best.x[None, :], axis=1))


@exact_products
def offer(state: State, key: Array, num: int) -> Recourse:
    """A set of `num` recourses (num, d) to choose the best from, in order of their gain; `tell` it as a `Choice`.

    Each raises the expected utility of the best of the set most, given those before it, which is within 1 - 1/e of the
    optimal set (Viappiani and Boutilier, 2010). Options with `valid=False` add nothing and must not be shown.

    Raises:
        ValueError: fewer than one recourse, or `key` is no key.
    """
    check_key(key)
    check_values(num=(num, Count))
    members = pool.members(state.pool)
    return acquisition.best_set(key, state.belief, state.x, members, num, state.space)


@exact_products
def _start(hp: Bayes, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> State:
    check_problem(key, logit_fn, x, space, recourse)
    key_pool, key_state = jax.random.split(key)
    kinds = states.kinds_of(hp)
    drawn = search.draw(hp, key_pool, logit_fn, x, recourse, space)
    first = search.first_pool(hp, kinds, recourse, drawn)
    prior = _prior(hp, x, space)
    log_prior = states.log_prior(hp).astype(x.dtype)
    unrated = Rating(recourse.x, jnp.zeros((), x.dtype))
    return State(
        logit_fn=logit_fn,
        x=x,
        space=space,
        ranges=Range(jnp.full_like(x, -jnp.inf), jnp.full_like(x, jnp.inf)),
        key=jax.random.key_data(key_state),
        belief=belief.init(kinds, prior, log_prior, states.grid(hp, x.dtype), hp.max_questions, hp.coins),
        pool=first,
        question=Question(recourse.x, recourse.x, jnp.array(False)),
        reaches=jnp.asarray(hp.reaches, x.dtype),
        slack=jnp.full((), jnp.inf, x.dtype),
        rated=Rated(jnp.array(False), unrated, unrated),
        vetoed=None if space.relations is None else jnp.zeros(x.shape, bool),
    )


def _prior(hp: Bayes, x: Array, space: ActionSpace) -> Prior:
    """The prior (h, ...) of each hypothesis."""
    given, reaches = hp.priors or {}, jnp.stack([jnp.asarray(each.reach, x.dtype) for each in states.hypotheses(hp)])
    kinds = states.kinds_of(hp)

    def of_kind(kind: int, span: slice) -> Prior:
        name = kinds.distinct[kind]
        prior: Any = PERSONS[name].prior
        return jax.vmap(lambda reach: prior(given.get(name), x, space, reach))(reaches[span])

    return kinds.concatenated(of_kind)


@exact_products
def _propose(hp: Bayes, state: State, key: Array) -> State:
    """Choose a question; the pool was drawn by the last answer."""
    members, options = pool.members(state.pool), (hp.acquisition, hp.num_favourites, hp.noise)
    a, b, gain = acquisition.best_pair(*options, state.belief, state.x, members, state.space)
    asked = (gain > hp.least_gain) & (state.belief.num_told < hp.max_questions)
    return state._replace(question=Question(a, b, asked))


@exact_products
def _tell(hp: Bayes, state: State, answer: Answer) -> State:
    key_search, key = jax.random.split(jax.random.wrap_key_data(state.key))
    state = learn(hp, state._replace(key=jax.random.key_data(key)), answer)
    return search.search(hp, search.at_boundary(hp, state), key_search)
