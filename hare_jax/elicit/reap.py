"""ReAP: a quadratic cost with an unknown matrix, located by cuts through the centre of what the answers leave.

Notation: the cost of an own change `v = z - x` (d,) is `v . A v`, with an unknown positive definite `A` (d, d). The
answer that `a` is preferred to `b` is a half-space of matrices, `<A, M> <= 0` with `M = a a' - b b'` of changes `a` and
`b`, scaled to a Frobenius norm of 1. Nguyen, Nguyen and Nguyen (2024), "Cost-adaptive recourse recommendation by
adaptive preference elicitation", https://arxiv.org/abs/2402.15073: the question is the pair whose hyperplane passes
nearest to the centre. They take the Chebyshev centre, a semidefinite program for each question; here it is the analytic
centre, with slack s_k for contradictory answers, the A of largest

    logdet A - tr A + sum_k max_{s_k >= 0} [log(t_k + s_k) + log s_k - s_k / slack],   t_k = -<A, M_k>,

which bounds the scale of A, that no answer depends on, by its trace. The maximum over s_k is in closed form, and it
has the derivative `1 / (t_k + s_k)` in t_k. Newton's step needs no matrix of order d^2, as each M_k has rank 2.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, check_problem, exact_products, pytree_dataclass
from hare_jax.elicit import base, recourses
from hare_jax.elicit.base import CANNOT_TELL, PREFERS_A, Elicitor, Question, check_comparison, is_compared, of_state
from hare_jax.hyperparams import Count, NonNegative, Positive, check_fields
from hare_jax.solvers import linalg
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import ActionSpace

_LEAST_NORM = 0.1  # of a cut, relative to the squared lengths of its two changes: below it they are too similar


@pytree_dataclass
class Reap:
    """Hyperparameters of the centre and of the questions."""

    slack: Positive = 0.1  # scale of the slack of an answer; the smaller, the harder the half-spaces
    num_newton: Count = 3  # steps to the centre after each answer, from the centre before it
    num_favourites: Count = 8  # recourses of least cost at the centre, one of which is in each question
    num_pool: Count = 64  # recourses drawn at the start
    num_local: Count = 16  # recourses around the recommendation, drawn for each question
    reach: Positive = 2.0  # largest L2 distance of target points from the factual
    spread: Positive = 1.0  # largest distance of local target points from the recommendation, relative to its own
    max_questions: Count = 32  # answers that a session can hold
    search: LocalSearch = recourses.SEARCH  # of the recommendation, after each answer
    margin: NonNegative = MARGIN  # the least logit of a recourse


class Told(NamedTuple):
    """The answers so far."""

    pairs: Array  # (n, 2, d) recourses, the preferred one first
    known: Array  # (n,) bool: there is an answer, and a preference
    num_told: Array  # () int: answers, those without a preference as well


class State(NamedTuple):
    """A session."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    key: Array  # its data, of the next search
    centre: Array  # (d, d)
    told: Told
    best: Recourse  # the recommendation
    drawn: Recourse  # (num_pool, d)
    question: Question


def elicitor(hp: Reap | None = None) -> Elicitor:
    """ReAP with one question per proposal.

    Raises:
        ValueError: a hyperparameter is out of its range.
    """
    hp = Reap() if hp is None else hp
    check_fields(hp, Reap)
    return of_state(hp, _start, _propose, _tell)


def for_budget(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """As `elicitor`, for `budget` questions; the hyperparameters are those of `Reap`.

    Raises:
        ValueError: a hyperparameter is out of its range, or `max_questions` is below the budget.
    """
    hp = Reap(**{"max_questions": budget, **hyperparameters})
    return base.for_budget(elicitor(hp), budget, hp.max_questions)


def _start(hp: Reap, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace) -> State:
    check_problem(key, logit_fn, x, space, recourse)
    key_pool, key_search = jax.random.split(key)
    num, width = hp.max_questions, len(x)
    state = State(
        logit_fn=logit_fn,
        x=x,
        space=space,
        key=jax.random.key_data(key_search),
        centre=jnp.eye(width, dtype=x.dtype),
        told=Told(jnp.tile(x, (num, 2, 1)), jnp.zeros(num, bool), jnp.zeros((), jnp.int32)),
        best=recourse,
        drawn=recourses.draw(key_pool, logit_fn, x, recourse, space, hp.num_pool, hp.reach, hp.margin),
        question=Question(recourse.x, recourse.x, jnp.array(False)),
    )
    return _search(hp, state)


@exact_products
def _propose(hp: Reap, state: State, key: Array) -> State:
    """The pair, of a cheap recourse and another one, whose hyperplane is nearest to the centre."""
    key_local, key_search = jax.random.split(key)
    best, space = state.best, state.space
    local = recourses.draw_around(key_local, state.logit_fn, state.x, best, space, hp.num_local, hp.spread, hp.margin)
    known = recourses.members(best, state.drawn, local)
    first, distance = _distances(hp, state, known)
    row, column = jnp.unravel_index(jnp.argmin(distance), distance.shape)
    asked = best.valid & jnp.isfinite(distance[row, column]) & (state.told.num_told < hp.max_questions)
    question = Question(known.x[first[row]], known.x[column], asked)
    return state._replace(key=jax.random.key_data(key_search), question=question)


def _distances(hp: Reap, state: State, known: Recourse) -> tuple[Array, Array]:
    """The favourites (f,) by index, and the distance (f, m) of each pair's hyperplane to the centre.

    It is `|<A, M>| / ||M||_F`, and infinite where the pair is not valid or was compared before.
    """
    change = recourses.changes(state.space, state.x, known.x)
    cost = jnp.where(known.valid, jnp.sum((change @ state.centre) * change, axis=1), jnp.inf)
    first = jax.lax.top_k(-cost, min(hp.num_favourites, len(cost)))[1]
    norm = cut_norm(change[first, None], change[None])
    squared = jnp.sum(change**2, axis=1)
    differs = norm > _LEAST_NORM * (squared[first, None] + squared[None, :])
    told = is_compared(state.told.pairs, known.x[first], known.x)
    usable = known.valid[first, None] & known.valid[None, :] & differs & ~told
    gap = jnp.abs(jnp.where(usable, cost[first, None] - cost[None, :], 0))
    return first, jnp.where(usable, gap / jnp.where(usable, norm, 1), jnp.inf)


def cut_norm(a: Array, b: Array) -> Array:
    """Frobenius norm (...) of `a a' - b b'`, of changes (..., d)."""
    aa, bb, ab = jnp.sum(a * a, axis=-1), jnp.sum(b * b, axis=-1), jnp.sum(a * b, axis=-1)
    return jnp.sqrt(jnp.maximum(aa**2 + bb**2 - 2 * ab**2, 0))


@exact_products
def _tell(hp: Reap, state: State, answer: Array) -> State:
    check_comparison(answer, "; only the Bayesian elicitor and PEAR accept others")
    shown = state.question
    first = answer == PREFERS_A
    pair = jnp.stack([jnp.where(first, shown.a, shown.b), jnp.where(first, shown.b, shown.a)])
    told = _with_answer(state.told, pair, shown.asked, answer != CANNOT_TELL)
    rows = _scaled_changes(state, told)
    centre, _ = jax.lax.scan(partial(newton_step, hp.slack, rows, told.known), state.centre, length=hp.num_newton)
    state = state._replace(centre=centre, told=told, question=shown._replace(asked=jnp.zeros_like(shown.asked)))
    return _search(hp, state)


def _with_answer(told: Told, pair: Array, asked: Array, prefers: Array) -> Told:
    """`told` with a `pair` (2, d), if it was `asked`."""
    at = asked & (jnp.arange(len(told.known)) == told.num_told)
    pairs = jnp.where(at[:, None, None], pair[None], told.pairs)
    return Told(pairs, jnp.where(at, prefers, told.known), told.num_told + asked)


def _scaled_changes(state: State, told: Told) -> Array:
    """The changes (n, 2, d) of both recourses of each answer, scaled so that the norm of each M is 1."""
    change = jax.vmap(partial(recourses.changes, state.space, state.x))(told.pairs)
    norm = cut_norm(change[:, 0], change[:, 1])
    return change * jax.lax.rsqrt(jnp.where(norm > 0, norm, 1))[:, None, None]


def newton_step(slack: Array | float, rows: Array, known: Array, centre: Array, _: None) -> tuple[Array, None]:
    """A damped step of Newton's method, which keeps the `centre` (d, d) positive definite.

    The length `1 / (1 + decrement)` is that of self-concordant functions; Nesterov and Nemirovskii (1994), "Interior
    point polynomial algorithms in convex programming".
    """
    num, width = rows.shape[0], rows.shape[2]
    flat, sign = rows.reshape(2 * num, width), jnp.tile(jnp.array([1, -1], rows.dtype), num)
    spread = flat @ centre  # (2n, d)
    products = (sign[:, None] * sign[None, :] * (flat @ spread.T) ** 2).reshape(num, 2, num, 2)
    inner = _by_cut(sign * jnp.sum(spread * flat, axis=1))  # <A, M>
    slope, curvature = (jnp.where(known, value, 0) for value in barrier(slack, -inner))
    cross = jnp.sum(products, axis=(1, 3))  # <A M_k A, M_l>
    short = inner - _by_cut(sign * jnp.sum(spread**2, axis=1)) - cross @ slope
    along = _solve(cross, curvature, short)  # <step, M>
    force = slope + curvature * along
    step = centre - centre @ centre - (spread.T * (jnp.repeat(force, 2) * sign)[None, :]) @ spread
    decrement = width - jnp.trace(centre) - jnp.sum(force * inner) - jnp.trace(step) - jnp.sum(slope * along)
    moved = centre + step / (1 + jnp.sqrt(jnp.maximum(decrement, 0)))
    return (moved + moved.T) / 2, None


def _by_cut(values: Array) -> Array:
    """Sums (n,) over the two rows of each cut, of (2n,)."""
    return jnp.sum(values.reshape(-1, 2), axis=1)


def barrier(slack: Array | float, t: Array) -> tuple[Array, Array]:
    """The first derivative (n,), and minus the second, of `max_s log(t + s) + log(s) - s / slack` at `t` (n,)."""
    ratio = t / slack
    root = jnp.sqrt(ratio**2 + 4)
    slope = 2 / (slack * (2 + ratio + root))
    return slope, slope**2 * (1 + ratio / root) / 2


def _solve(cross: Array, curvature: Array, short: Array) -> Array:
    """The solution y (n,) of `y + cross (curvature y) = short`, for a positive semidefinite `cross` (n, n)."""
    root = jnp.sqrt(curvature)
    system = jnp.eye(len(root), dtype=root.dtype) + root[:, None] * cross * root[None, :]
    inverse = linalg.whitening(system, jnp.ones(len(root), bool))
    return short - cross @ (root * (inverse.T @ (inverse @ (root * short))))


def _search(hp: Reap, state: State) -> State:
    """Search for the recourse of least cost at the centre."""
    cost, key = partial(_cost, state.centre), jax.random.wrap_key_data(state.key)
    best = recourses.cheapest(hp.search, key, cost, state.logit_fn, state.x, state.best, state.drawn, state.space)
    return state._replace(best=best)


def _cost(matrix: Array, change: Array) -> Array:
    return jnp.sum((matrix @ change) * change)
