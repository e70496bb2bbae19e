"""Ask what is expected to help most, and recommend what is expected to suit best, under a posterior of the person.

The posterior (`belief`) covers people who hide an ideal and people who hide cost weights, careful or careless ones, and
learns which. Questions are pairs from a pool of valid recourses: some drawn once from all that the person may reach,
some from the posterior, anew for each proposal. Besides comparisons, `tell` takes ratings, vetoes and ranges.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm
from jax.tree_util import Partial

from hare_jax import belief as beliefs
from hare_jax.base import LogitFn, Recourse, choose, hyperparams, require
from hare_jax.belief import Belief
from hare_jax.boundary import MARGIN, boundary
from hare_jax.elicit.base import CANNOT_TELL, PREFERS_A, Elicitor, Question
from hare_jax.refine import Refine, refine
from hare_jax.space import ActionSpace, bounds, project

ACQUISITIONS = ("utility", "information")
_BOUNDARY_STEPS = 10  # bisections that bring a wish to the accepted side
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
    num_local: int = 32  # recourses drawn from the posterior for each proposal
    num_favourites: int = 8  # likeliest of them, one of which is in each question
    max_questions: int = 32  # answers that a session can hold
    questions_per_proposal: int = 1
    num_sweeps: int = 1  # of expectation propagation, after each answer
    search: Refine = Refine(num_first=16, num_starts=2, num_rounds=6, num_rays=8)  # for the recommendation
    margin: float = MARGIN  # the least logit of a recourse


class Veto(NamedTuple):
    """An answer: nothing may change in these columns any more."""

    columns: Array  # (d,) bool


class Range(NamedTuple):
    """An answer: no column may leave this range any more, but for the factual's own value."""

    lower: Array  # (d,)
    upper: Array  # (d,)


class Rating(NamedTuple):
    """An answer: how good a recourse is, on any scale. It is compared with the rating before; accept is 1, reject 0."""

    x: Array  # (d,)
    value: Array  # ()


class State(NamedTuple):
    """A session."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    key: Array
    belief: Belief
    prior_mean: Array  # (2, d)
    prior_cov: Array  # (2, d, d)
    pool: Recourse  # (m, d): the base, the recommendation, `num_pool` and `num_local` others
    best: Recourse
    question: Question
    rated: Rating  # the last one; NaN before


def bayes(hp: Bayes | None = None) -> Elicitor:
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
    for name in ("num_pool", "num_local", "num_favourites", "max_questions", "questions_per_proposal"):
        require(getattr(hp, name) > 0, name, "must be at least 1", getattr(hp, name))
    return Elicitor(
        start=Partial(_start, hp),
        propose=Partial(_propose, hp),
        ask=Partial(_ask),
        tell=Partial(_tell, hp),
        recommend=Partial(_recommend),
        questions_per_proposal=hp.questions_per_proposal,
    )


def ideal_region(state: State, key: Array, level: float = 0.9) -> beliefs.Region:
    """Where the ideal is with probability `level`, if the person hides one; `belief.inside` asks whether a point is."""
    which = _likeliest_ideal(state.belief)
    prior = state.prior_mean[0], state.prior_cov[0]
    return beliefs.credible_region(key, state.belief, which, prior, state.space.mutable, level)


def _likeliest_ideal(belief: Belief) -> Array:
    return jnp.argmax(belief.evidence[: belief.evidence.shape[0] // beliefs.NUM_PERSONS])


def expected_distance(state: State) -> Array:
    """How far () the recommendation is expected to be from the ideal, root mean square, if the person hides one."""
    which = _likeliest_ideal(state.belief)
    gap = jnp.where(state.space.mutable, state.best.x - state.belief.mean[which], 0)
    return jnp.sqrt(gap @ gap + jnp.sum(jnp.where(state.space.mutable, jnp.diag(state.belief.cov[which]), 0)))


def _start(hp: Bayes, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> State:
    key_pool, key_search, key_state = jax.random.split(key, 3)
    pool = _first_pool(hp, key_pool, logit_fn, x, recourse, space)
    mean, cov = _prior(hp, x, pool, space)
    log_prior = jnp.log(jnp.stack([hp.ideal_probability, 1 - jnp.asarray(hp.ideal_probability)])).astype(x.dtype)
    belief = beliefs.init(mean, cov, log_prior, hp.lapses, hp.max_questions)
    nothing = Question(recourse.x, recourse.x, jnp.array(False))
    rated = Rating(recourse.x, jnp.full((), jnp.nan, x.dtype))
    state = State(logit_fn, x, space, key_state, belief, mean, cov, pool, recourse, nothing, rated)
    return _search(hp, state, key_search)


def _first_pool(hp: Bayes, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> Recourse:
    """Wishes in all directions, up to `reach` away, each brought to the accepted side."""
    noise = jax.random.uniform(key, (hp.num_pool, x.shape[0]), x.dtype, -1, 1)
    noise = jnp.where(space.mutable[None, :], noise, 0)
    length = jnp.maximum(jnp.linalg.norm(noise, axis=1, keepdims=True), jnp.finfo(x.dtype).tiny)
    radius = hp.reach * (jnp.arange(hp.num_pool, dtype=x.dtype) + 0.5) / hp.num_pool
    wishes = jax.vmap(lambda move: project(space, x, x + move))(radius[:, None] * noise / length)
    anchors = _put_in_front(recourse, Recourse(wishes, jax.vmap(logit_fn)(wishes) >= hp.margin))
    drawn = jax.vmap(lambda wish: _to_accepted(hp, logit_fn, wish, anchors, space))(wishes)
    known = _put_in_front(recourse, _put_in_front(recourse, drawn))
    later = Recourse(jnp.tile(recourse.x, (hp.num_local, 1)), jnp.zeros(hp.num_local, bool))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), known, later)


def _put_in_front(one: Recourse, others: Recourse) -> Recourse:
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), one, others)


def _to_accepted(hp: Bayes, logit_fn: LogitFn, wish: Array, anchors: Recourse, space: ActionSpace) -> Recourse:
    """The first accepted point on the way from an allowed `wish` (d,) to the nearest of the valid `anchors` (m, d)."""
    distance = jnp.where(anchors.valid, jnp.sum((anchors.x - wish[None, :]) ** 2, axis=1), jnp.inf)
    near = jnp.argmin(distance)
    found = boundary(logit_fn, wish, anchors.x[near], space, margin=hp.margin, num_steps=_BOUNDARY_STEPS)
    wish = jax.lax.optimization_barrier(wish)
    accepted = logit_fn(wish) >= hp.margin
    return Recourse(jnp.where(accepted, wish, found.x), accepted | (found.valid & anchors.valid[near]))


def _prior(hp: Bayes, x: Array, pool: Recourse, space: ActionSpace) -> tuple[Array, Array]:
    """Mean (2, d) and covariance (2, d, d) of an ideal and of weights.

    An ideal's are those of the pool, widened by the variance of a uniform law over all that the person may reach.
    """
    lower, upper = bounds(space, x)
    width = jnp.minimum(upper, x + hp.reach) - jnp.maximum(lower, x - hp.reach)
    variance = jnp.where(space.mutable, width**2 * jnp.where(space.step == 1, 1 / 4, 1 / 12), 0)
    share = pool.valid / jnp.maximum(jnp.sum(pool.valid), 1).astype(x.dtype)
    mean = jnp.where(jnp.any(pool.valid), share @ pool.x, x)
    centred = pool.x - mean[None, :]
    ones = jnp.ones_like(x)
    return (
        jnp.stack([mean, hp.weight_mean * ones]),
        jnp.stack([(centred * share[:, None]).T @ centred + jnp.diag(variance), jnp.diag(hp.weight_sd**2 * ones)]),
    )


def _propose(hp: Bayes, state: State, key: Array) -> State:
    """Draw recourses from the posterior of the ideal, and choose a question."""
    belief = state.belief
    which = _likeliest_ideal(belief)
    root = beliefs.root(belief.cov[which], state.space.mutable)
    moves = jax.random.normal(key, (hp.num_local, len(state.x)), state.x.dtype) @ root.T
    wishes = jax.vmap(lambda move: project(state.space, state.x, belief.mean[which] + move))(moves)
    anchors = jax.tree.map(lambda leaf: leaf[: -hp.num_local], state.pool)
    found = jax.vmap(lambda wish: _to_accepted(hp, state.logit_fn, wish, anchors, state.space))(wishes)
    pool = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), anchors, found)
    return _choose(hp, state._replace(pool=pool))


def _choose(hp: Bayes, state: State) -> State:
    """Choose the pair of one of the favourites and one other that is expected to bring most."""
    belief, (z, valid) = state.belief, state.pool
    phi, c = jax.vmap(lambda z: beliefs.features(state.x, z), out_axes=1)(z)
    scale = _scales(state, phi)
    weight = beliefs.weight(belief)
    phi, c, scale = (beliefs.by_hypothesis(belief, leaf) for leaf in (phi, c, scale))
    utility = jnp.einsum("hmd,hd->hm", phi, belief.mean) + c
    total = jnp.where(valid, weight @ (utility / scale[:, None]), -jnp.inf)
    favourites = jax.lax.top_k(total, min(hp.num_favourites, len(total)))[1]
    spread = jnp.einsum("hmd,hde->hme", phi, belief.cov)
    own = jnp.einsum("hmd,hmd->hm", spread, phi)
    var = own[:, favourites, None] + own[:, None, :] - 2 * jnp.einsum("hfd,hmd->hfm", spread[:, favourites], phi)
    sd = jnp.sqrt(jnp.maximum(var, 1e-12))
    gap = utility[:, favourites, None] - utility[:, None, :]
    chance = norm.cdf(gap / sd)
    if hp.acquisition == "utility":
        better = utility[:, None, :] + gap * chance + sd * norm.pdf(gap / sd)
        each = (better - jnp.max(jnp.where(valid, utility, -jnp.inf), axis=1)[:, None, None]) / scale[:, None, None]
    else:
        lapse = belief.lapse[:, None, None]
        answer = lapse + (1 - 2 * lapse) * chance
        each = _entropy(answer) - _entropy(belief.lapse)[:, None, None]
    differ = jnp.any(z[favourites, None, :] != z[None, :, :], axis=2)
    score = jnp.einsum("h,hfm->fm", weight, each)
    score = jnp.where(valid[favourites, None] & valid[None, :] & differ, score, -jnp.inf)
    first, second = jnp.unravel_index(jnp.argmax(score), score.shape)
    asked = (score[first, second] > hp.least_gain) & (belief.num_told < hp.max_questions)
    return state._replace(question=Question(z[favourites[first]], z[second], asked))


def _entropy(chance: Array) -> Array:
    return -jax.scipy.special.xlogy(chance, chance) - jax.scipy.special.xlogy(1 - chance, 1 - chance)


def _scales(state: State, phi: Array) -> Array:
    """Prior s.d. (2,) of the utility of the pool's recourses, to weigh what is in different units."""
    share = state.pool.valid / jnp.maximum(jnp.sum(state.pool.valid), 1)
    centred = phi - jnp.einsum("m,pmd->pd", share, phi)[:, None, :]
    variance = jnp.einsum("m,pmd,pde,pme->p", share, centred, state.prior_cov, centred)
    return jnp.sqrt(jnp.maximum(variance, 1e-12))


def _ask(state: State) -> Question:
    return state.question


def _recommend(state: State) -> Recourse:
    return state.best


def _tell(hp: Bayes, state: State, answer: Array | Veto | Range | Rating) -> State:
    key_search, key = jax.random.split(state.key)
    state = _learn(hp, state._replace(key=key), answer)
    state = _search(hp, state, key_search)
    return _choose(hp, state) if hp.questions_per_proposal > 1 else state


def _learn(hp: Bayes, state: State, answer: Array | Veto | Range | Rating) -> State:
    space = state.space
    if isinstance(answer, Veto):
        return _restrict(hp, state, space._replace(mutable=space.mutable & ~answer.columns))
    if isinstance(answer, Range):
        lower, upper = jnp.maximum(space.lower, answer.lower), jnp.minimum(space.upper, answer.upper)
        return _restrict(hp, state, space._replace(lower=lower, upper=jnp.maximum(lower, upper)))
    if isinstance(answer, Rating):
        better = answer.value > state.rated.value
        a, b = jnp.where(better, answer.x, state.rated.x), jnp.where(better, state.rated.x, answer.x)
        differs = better | (answer.value < state.rated.value)  # not so for the first rating
        told = _compare(hp, state, a, b)
        return state._replace(belief=_where(differs, told, state.belief), rated=answer)
    shown = state.question
    first = answer == PREFERS_A
    told = _compare(hp, state, jnp.where(first, shown.a, shown.b), jnp.where(first, shown.b, shown.a))
    doubt = hp.indifference * _pair_sd(state, shown.a, shown.b)
    tied = beliefs.update_tie(state.belief, state.x, shown.a, shown.b, doubt)
    learnt = _where(answer == CANNOT_TELL, tied, told)
    return state._replace(belief=_where(shown.asked, learnt, state.belief))


def _where(condition: Array, yes: Belief, no: Belief) -> Belief:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _compare(hp: Bayes, state: State, a: Array, b: Array) -> Belief:
    return beliefs.update(state.belief, state.x, a, b, hp.noise * _pair_sd(state, a, b), hp.num_sweeps)


def _pair_sd(state: State, a: Array, b: Array) -> Array:
    """Prior s.d. (2,) of the difference of the utilities of `a` and `b`."""
    change = beliefs.features(state.x, a)[0] - beliefs.features(state.x, b)[0]
    return jnp.sqrt(jnp.maximum(jnp.einsum("pd,pde,pe->p", change, state.prior_cov, change), 1e-12))


def _restrict(hp: Bayes, state: State, space: ActionSpace) -> State:
    """Go on in a smaller action space; whatever it forbids is moved into it, and asked about again."""

    def move(point: Array) -> Recourse:
        inside = project(space, state.x, point)
        return Recourse(inside, state.logit_fn(inside) >= hp.margin)

    pool, best = jax.vmap(move)(state.pool.x), move(state.best.x)
    nothing = Question(best.x, best.x, jnp.array(False))
    return state._replace(space=space, pool=pool, best=best, question=nothing)


def _search(hp: Bayes, state: State, key: Array) -> State:
    """Find the valid recourse of highest expected utility, and put it into the pool."""
    belief, pool = state.belief, state.pool
    weights_too = jnp.arange(belief.evidence.shape[0]) >= len(hp.lapses)
    least = jnp.where(weights_too[:, None], _LEAST_WEIGHT, -jnp.inf)
    usual = belief._replace(mean=jnp.maximum(belief.mean, least))
    phi = jax.vmap(lambda z: beliefs.features(state.x, z)[0], out_axes=1)(pool.x)
    share = beliefs.weight(belief) / beliefs.by_hypothesis(belief, _scales(state, phi))

    def cost(z: Array) -> Array:
        return -jnp.sum(share * beliefs.utilities(usual, state.x, z))

    costs = jnp.where(pool.valid, jax.vmap(cost)(pool.x), jnp.inf)
    near = jnp.argmin(costs)
    stays = state.best.valid & (cost(state.best.x) <= costs[near])
    start = Recourse(jnp.where(stays, state.best.x, pool.x[near]), stays | pool.valid[near])
    best = refine(hp.search, key, cost, state.logit_fn, state.x, start, state.space)
    pool = Recourse(pool.x.at[1].set(best.x), pool.valid.at[1].set(best.valid))
    return state._replace(best=best, pool=pool)
