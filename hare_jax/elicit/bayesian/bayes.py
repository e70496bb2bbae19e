"""Ask what is expected to help most, and recommend what is expected to suit best, under a posterior of the person.

The posterior (`belief`) covers people who hide an ideal and people who hide cost weights, careful or careless ones, and
learns which. Questions are pairs from a pool of valid recourses: some drawn once from all that the person may reach,
some from the posterior, anew for each proposal. `offer` makes a set of more than two from it. Besides comparisons,
`tell` takes choices from a set, ratings, vetoes and ranges.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, choose, holds, hyperparams, require
from hare_jax.elicit.base import CANNOT_TELL, PREFERS_A, Elicitor, Question
from hare_jax.elicit.bayesian import pool as pools
from hare_jax.elicit.bayesian import posterior as beliefs
from hare_jax.elicit.bayesian.acquisition import ACQUISITIONS, best_pair, best_set, utility_scales
from hare_jax.elicit.bayesian.posterior import Belief
from hare_jax.elicit.bayesian.region import MonteCarlo, Region, credible_region, draw_ideals
from hare_jax.people import ideal
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import ActionSpace, project, same_feature, weighted_l1

_LEAST_WEIGHT = 0.1  # of a column's cost, in a recommendation


@hyperparams
class Bayes:
    """What is believed beforehand, and how hard to think."""

    ideal_probability: float = 0.5  # that the person hides an ideal, and not weights
    lapses: tuple[float, ...] = (0.005, 0.1)  # shares of answers turned round at random, each as likely beforehand
    noise: float = 0.03  # s.d. of what an answer stands on, relative to the prior s.d. of the difference of utilities
    indifference: float = 0.1  # s.d. of the difference of utilities where the person can't tell, relative as `noise`
    reach: float = 2.0  # L2 distance within which ideals are sought
    weight_mean: float | Array = 2.1  # of a column's cost weight; (d,) for what the person states as important
    weight_sd: float | Array = 1.6
    acquisition: str = "utility"  # "utility" of the better of a pair, or "information" about the person
    least_gain: float = -1e9  # ask on only where more is expected, in nats or prior s.d. of the pool's utilities
    num_pool: int = 64  # recourses drawn at the start
    num_local: int = 24  # recourses drawn from the posterior of the ideal for each proposal
    num_cheap: int = 8  # recourses searched for, for each proposal, by weights drawn from their posterior
    num_favourites: int = 8  # likeliest of them, one of which is in each question
    max_questions: int = 32  # answers that a session can hold
    questions_per_proposal: int = 1
    num_sweeps: int = 1  # of expectation propagation, after each answer
    search: LocalSearch = LocalSearch(num_first=8, num_starts=1, num_rounds=6, num_rays=8)  # for the recommendation
    short_search: LocalSearch = LocalSearch(
        num_first=2, num_starts=1, num_rounds=2, num_rays=4
    )  # for each set of drawn weights
    margin: float = MARGIN  # the least logit of a recourse


class Veto(NamedTuple):
    """An answer: nothing may change in these columns any more, nor in a category that has one of them for a level."""

    columns: Array  # (d,) bool


class Range(NamedTuple):
    """An answer: each column must be in this range from now on, or stay as it is for the factual.

    Ranges that have no value in common leave nothing but staying.
    """

    lower: Array  # (d,)
    upper: Array  # (d,)


class Choice(NamedTuple):
    """An answer: which of some valid options is the best. It counts as one comparison with each of the others."""

    options: Recourse  # (k, d)
    chosen: Array  # () int


class Rating(NamedTuple):
    """An answer: how good a recourse is, on any scale; accept is 1, reject 0.

    It counts as a comparison with the best and with the worst that were rated before, where it differs from theirs. So
    the first one, or rejections alone, say nothing.
    """

    x: Array  # (d,)
    value: Array  # ()


class State(NamedTuple):
    """A session."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    ranges: Range  # that the person has set
    key: Array  # its data, (2,) uint32 of most generators, which can be saved
    belief: Belief
    prior_mean: Array  # (2, d)
    prior_cov: Array  # (2, d, d)
    pool: Recourse  # (m, d): the base, the recommendation, then `num_pool`, `num_local` and `num_cheap` others
    best: Recourse
    question: Question
    worst: Rating  # of those rated; NaN before
    top: Rating


def elicitor(hp: Bayes | None = None) -> Elicitor:
    """Bayesian elicitation with `hp.questions_per_proposal` questions for each proposal.

    A question is the pair of valid recourses whose better one has the highest expected utility (Viappiani and
    Boutilier, 2010, "Optimal Bayesian recommendation sets and myopically optimal choice query sets"), or whose answer
    has the highest mutual information with what the person hides. The recommendation is the valid recourse of highest
    expected utility that a search on the decision boundary finds. Nothing refused or forbidden is ever shown.

    Raises:
        ValueError: a hyperparameter is out of its range.
    """
    hp = Bayes() if hp is None else hp
    choose("acquisition", hp.acquisition, ACQUISITIONS)
    require(len(hp.lapses) > 0, "lapses", "must hold at least one", hp.lapses)
    require(all(0 < lapse < 0.5 for lapse in hp.lapses), "lapses", "must be above 0 and below 0.5", hp.lapses)
    chance = hp.ideal_probability
    require(holds(lambda p: (p > 0) & (p < 1), chance), "ideal_probability", "must be above 0 and below 1", chance)
    for name in ("noise", "indifference", "reach", "weight_sd"):
        require(holds(lambda value: value > 0, getattr(hp, name)), name, "must be above 0", getattr(hp, name))
    for name in ("num_pool", "num_local", "num_cheap", "num_favourites", "max_questions", "questions_per_proposal"):
        require(getattr(hp, name) > 0, name, "must be at least 1", getattr(hp, name))
    return Elicitor(
        start=Partial(_start, hp),
        propose=Partial(_propose, hp),
        ask=Partial(_ask),
        tell=Partial(_tell, hp),
        recommend=Partial(_recommend),
        questions_per_proposal=hp.questions_per_proposal,
    )


def for_budget(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """Bayesian elicitation for `budget` questions; the hyperparameters are those of `Bayes`."""
    built = elicitor(Bayes(**{"max_questions": budget, **hyperparameters}))
    return replace(built, num_proposals=-(-budget // built.questions_per_proposal))


def ideals(state: State, key: Array, hp: MonteCarlo | None = None) -> Array:
    """Draws (n, d) of the ideal, given all answers, if the person hides one; see `region.draw_ideals`."""
    prior = state.prior_mean[0], state.prior_cov[0]
    return draw_ideals(MonteCarlo() if hp is None else hp, key, state.belief, prior, state.x, state.space)


def ideal_region(state: State, key: Array, level: float = 0.9) -> Region:
    """Where the ideal is with probability `level`, if the person hides one; `region.inside` asks whether a point is."""
    return credible_region(ideals(state, key), state.space.mutable, level)


def expected_distance(state: State, key: Array) -> Array:
    """How far () the recommendation is expected to be from the ideal (L2), if the person hides one."""
    return jnp.mean(jnp.linalg.norm(ideals(state, key) - state.best.x[None, :], axis=1))


def offer(state: State, key: Array, num: int) -> Recourse:
    """A set of `num` recourses (num, d) to choose the best from, the likeliest to suit first; `tell` it as a `Choice`.

    Each raises the expected utility of the best of the set most, given those before it, which comes within 1 - 1/e of
    the best such set (Viappiani and Boutilier, 2010). Options with `valid=False` add nothing, and aren't to be shown.
    """
    return best_set(key, state.belief, state.prior_cov, state.x, state.pool, num)


def _start(hp: Bayes, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> State:
    key_pool, key_search, key_state = jax.random.split(key, 3)
    drawn = pools.all_over(key_pool, logit_fn, x, recourse, space, hp.num_pool, hp.reach, hp.margin)
    known = pools.put_in_front(recourse, pools.put_in_front(recourse, drawn))
    num_later = hp.num_local + hp.num_cheap
    later = Recourse(jnp.tile(recourse.x, (num_later, 1)), jnp.zeros(num_later, bool))
    pool = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), known, later)
    ideal_mean, ideal_cov = ideal.prior(None, x, pool, space, hp.reach)
    ones = jnp.ones_like(x)
    mean = jnp.stack([ideal_mean, hp.weight_mean * ones])
    cov = jnp.stack([ideal_cov, jnp.diag(hp.weight_sd**2 * ones)])
    log_prior = jnp.log(jnp.stack([hp.ideal_probability, 1 - jnp.asarray(hp.ideal_probability)])).astype(x.dtype)
    belief = beliefs.init(mean, cov, log_prior, hp.lapses, hp.max_questions)
    nothing = Question(recourse.x, recourse.x, jnp.array(False))
    ranges = Range(jnp.full_like(x, -jnp.inf), jnp.full_like(x, jnp.inf))
    rated = Rating(recourse.x, jnp.full((), jnp.nan, x.dtype))
    data = jax.random.key_data(key_state)
    state = State(logit_fn, x, space, ranges, data, belief, mean, cov, pool, recourse, nothing, rated, rated)
    return _search(hp, state, key_search)


def _propose(hp: Bayes, state: State, key: Array) -> State:
    """Draw recourses from the posterior, and choose a question."""
    keys = jax.random.split(key, 1 + hp.num_cheap)
    known = jax.tree.map(lambda leaf: leaf[: -hp.num_local - hp.num_cheap], state.pool)
    normal = jax.random.normal(keys[0], (hp.num_local + hp.num_cheap, len(state.x)), state.x.dtype)
    local = _local(hp, state, known, _drawn(state, 0, normal[: hp.num_local]))
    cheap = _cheap(hp, state, keys[1:], known, _drawn(state, 1, normal[hp.num_local :]))
    pool = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), known, local, cheap)
    return _choose(hp, state._replace(pool=pool))


def _local(hp: Bayes, state: State, known: Recourse, ideals: Array) -> Recourse:
    """Recourses near the `ideals` (n, d)."""
    wishes = jax.vmap(lambda ideal: project(state.space, state.x, ideal))(ideals)
    found = pools.to_accepted(state.logit_fn, wishes, known, state.space, hp.margin)
    return found._replace(valid=found.valid & jax.vmap(partial(_in_range, state))(found.x))


def _cheap(hp: Bayes, state: State, keys: Array, known: Recourse, weights: Array) -> Recourse:
    """Recourses that are cheap by each of the `weights` (n, d)."""

    def one(key: Array, weights: Array) -> Recourse:
        def cost(z: Array) -> Array:
            return jnp.where(_in_range(state, z), weighted_l1(weights, state.x, z), jnp.inf)

        near = jnp.argmin(jnp.where(known.valid, jax.vmap(cost)(known.x), jnp.inf))
        start = Recourse(known.x[near], known.valid[near])
        return local_search(hp.short_search, key, cost, state.logit_fn, state.x, start, state.space)

    return jax.vmap(one)(keys, jnp.maximum(weights, _LEAST_WEIGHT))


def _drawn(state: State, person: int, normal: Array) -> Array:
    """What people of a kind hide (n, d), from standard `normal` draws, by the likeliest hypothesis about them."""
    belief = state.belief
    evidence = belief.evidence.reshape(beliefs.NUM_PERSONS, -1)[person]
    which = person * len(evidence) + jnp.argmax(evidence)
    root = beliefs.root(belief.cov[which], state.space.mutable)
    return belief.mean[which][None, :] + normal @ root.T


def _choose(hp: Bayes, state: State) -> State:
    how = hp.acquisition, hp.num_favourites, hp.noise
    a, b, gain = best_pair(*how, state.belief, state.prior_cov, state.x, state.pool)
    asked = (gain > hp.least_gain) & (state.belief.num_told < hp.max_questions)
    return state._replace(question=Question(a, b, asked))


def _ask(state: State) -> Question:
    return state.question


def _recommend(state: State) -> Recourse:
    return state.best


def _tell(hp: Bayes, state: State, answer: Array | Choice | Rating | Veto | Range) -> State:
    key_search, key = jax.random.split(jax.random.wrap_key_data(state.key))
    state = _learn(hp, state._replace(key=jax.random.key_data(key)), answer)
    state = _search(hp, state, key_search)
    return _choose(hp, state) if hp.questions_per_proposal > 1 else state


def _learn(hp: Bayes, state: State, answer: Array | Choice | Rating | Veto | Range) -> State:
    space = state.space
    if isinstance(answer, Veto):
        vetoed = jnp.any(same_feature(space) & answer.columns[None, :], axis=1)
        return _restrict(hp, state._replace(space=space._replace(mutable=space.mutable & ~vetoed)))
    if isinstance(answer, Range):
        ranges = Range(jnp.maximum(state.ranges.lower, answer.lower), jnp.minimum(state.ranges.upper, answer.upper))
        lower = jnp.where(space.group >= 0, space.lower, jnp.clip(ranges.lower, space.lower, space.upper))
        upper = jnp.where(space.group >= 0, space.upper, jnp.clip(ranges.upper, lower, space.upper))
        return _restrict(hp, state._replace(ranges=ranges, space=space._replace(lower=lower, upper=upper)))
    if isinstance(answer, Rating):
        return _rate(hp, state, answer)
    if isinstance(answer, Choice):
        (options, valid), chosen = jax.tree.map(jnp.asarray, answer)
        told = valid & (jnp.arange(len(options)) != chosen)
        return _compare_all(hp, state, jnp.broadcast_to(options[chosen], options.shape), options, told)
    shown, first = state.question, answer == PREFERS_A
    a, b = jnp.where(first, shown.a, shown.b), jnp.where(first, shown.b, shown.a)
    state = _compare(hp, state, a, b, shown.asked, answer == CANNOT_TELL)
    return state._replace(question=shown._replace(asked=jnp.zeros_like(shown.asked)))


def _rate(hp: Bayes, state: State, rating: Rating) -> State:
    rating = jax.tree.map(lambda leaf: jnp.asarray(leaf, state.x.dtype), rating)
    worst, top = state.worst, state.top
    a, b = jnp.stack([rating.x, top.x]), jnp.stack([worst.x, rating.x])
    state = _compare_all(hp, state, a, b, jnp.stack([rating.value > worst.value, rating.value < top.value]))

    def replaced(old: Rating, by_this: Array) -> Rating:
        return jax.tree.map(lambda new, old: jnp.where(by_this, new, old), rating, old)

    # the first is compared with NaN, and becomes both
    return state._replace(
        worst=replaced(worst, ~(rating.value >= worst.value)), top=replaced(top, ~(rating.value <= top.value))
    )


def _compare_all(hp: Bayes, state: State, a: Array, b: Array, told: Array) -> State:
    """Learn, of those that were `told` (n,), that each of `a` (n, d) is better than that of `b` (n, d)."""
    return jax.lax.scan(lambda state, pair: (_compare(hp, state, *pair), None), state, (a, b, told))[0]


def _compare(hp: Bayes, state: State, a: Array, b: Array, told: Array, tied: Array | bool = False) -> State:
    """Learn, if it was `told`, that `a` (d,) is better than `b` (d,), or that they are `tied`."""
    noise = jnp.where(tied, hp.indifference, hp.noise) * _pair_sd(state, a, b)
    learnt = beliefs.update(state.belief, state.x, a, b, noise, hp.num_sweeps, tied)
    return state._replace(belief=jax.tree.map(lambda new, old: jnp.where(told, new, old), learnt, state.belief))


def _pair_sd(state: State, a: Array, b: Array) -> Array:
    """Prior s.d. (2,) of the difference of the utilities of `a` and `b`."""
    change = beliefs.features(state.x, a)[0] - beliefs.features(state.x, b)[0]
    return jnp.sqrt(jnp.maximum(jnp.einsum("pd,pde,pe->p", change, state.prior_cov, change), 1e-12))


def _in_range(state: State, z: Array) -> Array:
    """Whether all columns of `z` (d,) are in the ranges that the person has set, or as they were: () bool."""
    (low, high), slack = state.ranges, 1e-6 * (1 + jnp.abs(z))  # for the rounding of steps
    return jnp.all((z == state.x) | ((z >= low - slack) & (z <= high + slack)))


def _restrict(hp: Bayes, state: State) -> State:
    """Go on in an action space that is smaller now; whatever it forbids is moved into it, and asked about again."""

    def move(point: Array) -> Recourse:
        inside = project(state.space, state.x, point)
        return Recourse(inside, (state.logit_fn(inside) >= hp.margin) & _in_range(state, inside))

    pool, best = jax.vmap(move)(state.pool.x), move(state.best.x)
    nothing = Question(best.x, best.x, jnp.array(False))
    return state._replace(pool=pool, best=best, question=nothing)


def _search(hp: Bayes, state: State, key: Array) -> State:
    """Find the valid recourse of highest expected utility, and put it into the pool."""
    belief, pool = state.belief, state.pool
    weights_too = jnp.arange(belief.evidence.shape[0]) >= len(hp.lapses)
    least = jnp.where(weights_too[:, None], _LEAST_WEIGHT, -jnp.inf)
    usual = belief._replace(mean=jnp.maximum(belief.mean, least))
    scale = utility_scales(state.prior_cov, state.x, pool)
    share = beliefs.weight(belief) / beliefs.by_hypothesis(belief, scale)

    def cost(z: Array) -> Array:
        return jnp.where(_in_range(state, z), -jnp.sum(share * beliefs.utilities(usual, state.x, z)), jnp.inf)

    costs = jnp.where(pool.valid, jax.vmap(cost)(pool.x), jnp.inf)
    near = jnp.argmin(costs)
    stays = state.best.valid & (cost(state.best.x) <= costs[near])
    start = Recourse(jnp.where(stays, state.best.x, pool.x[near]), stays | pool.valid[near])
    best = local_search(hp.search, key, cost, state.logit_fn, state.x, start, state.space)
    pool = Recourse(pool.x.at[1].set(best.x), pool.valid.at[1].set(best.valid))
    return state._replace(best=best, pool=pool)
