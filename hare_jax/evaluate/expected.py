"""The expected result of a session over random answers, and an unbiased estimate of its gradient.

Notation: a session of T questions has the answers `s` in {a, b}^T. With the log-probability `log p(s)` of the answers
(`people.response`) and the figure `f(s)` of the final recommendation, `E = sum_s p(s) f(s)` has the gradient

    dE = sum_s p(s) (df(s) + f(s) d log p(s)),

the derivative along the answers given plus the score. It is estimated by independent draws `s_i` of the answers,

    mean_i (df(s_i) + (f(s_i) - b_i) d log p(s_i)),    b_i = mean_{j != i} f(s_j):

the score-function estimator (REINFORCE; Williams 1992), with the leave-one-out baseline of Kool et al. (2019, "Buy 4
REINFORCE samples, get a baseline for free!"), which is independent of `s_i` and adds no bias. It is written as a
surrogate whose derivative this is, as in Schulman et al. (2015, "Gradient estimation using stochastic computation
graphs") and Foerster et al. (2018, "DiCE").

Held constant for each sequence of answers: which recourses the elicitor showed and recommended, as their directions
from `x`, and so where its candidates head for, its choice of the questions and its posterior. Each of these recourses
moves with the decision boundary along its direction (`solvers.boundary.scale_back`). If the elicitor is
`differentiable`, as HARE is, they also move with its hyperparameters; otherwise, as in the Bayesian elicitor, whose
local search compares, they are constant in them.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, check_row, check_shapes, choose, require
from hare_jax.elicit.base import (
    PREFERS_A,
    Elicitor,
    Question,
    Respond,
    SessionKeys,
    proposals,
    questions,
    session_keys,
    simulated_answer,
)
from hare_jax.people import PERSONS, Response, response
from hare_jax.recourse.derivative import held_classifier
from hare_jax.solvers.boundary import MARGIN, scale_back, with_value
from hare_jax.space import ActionSpace

Figure = Callable[[Any, Array, Array], Array]  # hidden, x (d,), recourse (d,) -> (), as `Person.loss`

_WIDTH = 2.0**-7  # share of the change within which the boundary lies, if a recourse is on it; an elicitor may bisect
# between a recourse and another point than `x`, to 2^-10 of that distance
_ROUNDING = 1e-4  # logits: in float32 a second program may evaluate the logit of the same point this much lower
_LOG_HALF = math.log(0.5)  # so that the probabilities of all sequences of answers sum to 1


class Outcomes(NamedTuple):
    """The results of n sessions."""

    figure: Array  # (n,) of the final recommendation
    log_probability: Array  # (n,) of the answers; the answer to a question that is not asked is a fair coin's
    valid: Array  # (n,) bool: the final recommendation is valid


class Expectation(NamedTuple):
    """An expected figure, estimated by n draws of the answers."""

    mean: Array  # () the estimate; its derivative estimates the derivative
    terms: Array  # (n,) of which it is the mean: the s.d. of their derivatives, over sqrt(n), is its standard error
    valid: Array  # (n,) bool: the final recommendation is valid


class _Case(NamedTuple):
    """Everything that an expected figure depends on, besides the elicitor."""

    response: Response
    logit_fn: LogitFn
    x: Array  # (d,)
    hidden: Any
    base: Recourse
    space: ActionSpace
    margin: float | Array  # ()


class _Plan(NamedTuple):
    """A session with T questions, as it was run."""

    shown: Question  # (T, d), (T, d), (T,)
    answer: Array  # (T,) int
    best: Recourse  # (d,), () the final recommendation


def over_answers(
    elicitor: Elicitor,
    person: str,
    hp: Response,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    hidden: Any,
    base: Recourse,
    space: ActionSpace,
    *,
    num_draws: int = 256,
    figure: Figure | None = None,
    margin: float | Array = MARGIN,
    batch_size: int = 64,
) -> Expectation:
    """The expected `figure(hidden, x, recourse)` of the final recommendation for `x` (d,), over the answers.

    The answers are those of a `person`, a row of `PERSONS` with parameters `hidden`, with the probabilities of `hp`.
    The figure is by default the person's loss. Only the answers are random: the elicitor's own draws are those of
    `elicit.session` with the same `key`, in all `num_draws` sessions, of which `batch_size` run side by side. `vmap` it
    over keys, rows, persons and base recourses.

    The first derivative, forward and reverse, is an unbiased estimate of that of the expectation in the arrays of
    `logit_fn`, in `x`, in `hidden`, in the sharpness and lapse rate of `hp`, in whatever `figure` closes over, and in
    the hyperparameters of the elicitor. The module's docstring says what is constant; `base` and a recourse further
    than the boundary, such as an interior point, are constant changes from `x`. Higher derivatives are not unbiased.
    `margin` is the least logit of the recourses that the elicitor shows.

    Raises:
        ValueError: an unknown person, a `hp` out of its range, fewer than two draws, or an array of another shape.
    """
    require(num_draws >= 2, "num_draws", "must be at least 2, for the leave-one-out baseline", num_draws)
    case = _checked(person, _Case(hp, logit_fn, x, hidden, base, space, margin))
    fixed, keys = _held(case), _session_keys(elicitor, key)
    prefers = response.answering(fixed.response, Partial(PERSONS[person].utility, fixed.hidden))
    plans = _plans(
        elicitor, partial(simulated_answer, prefers, fixed.x), keys, _draw_keys(keys, num_draws), fixed, batch_size
    )
    outcomes = _outcomes(person, figure, case, plans, batch_size)
    terms = _surrogate(outcomes)
    return Expectation(jnp.mean(terms), terms, outcomes.valid)


def of_answers(
    elicitor: Elicitor,
    person: str,
    hp: Response,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    hidden: Any,
    base: Recourse,
    space: ActionSpace,
    answers: Array,
    *,
    figure: Figure | None = None,
    margin: float | Array = MARGIN,
    batch_size: int = 64,
) -> Outcomes:
    """The outcomes of n sessions with given `answers` (n, T), `PREFERS_A` or `PREFERS_B`; otherwise as `over_answers`.

    With all 2^T sequences of answers, `sum(exp(log_probability) * figure)` is the expectation itself, which is
    differentiable to any order.

    Raises:
        ValueError: as `over_answers`.
    """
    case = _checked(person, _Case(hp, logit_fn, x, hidden, base, space, margin))
    shape = elicitor.num_proposals, elicitor.questions_per_proposal
    check_shapes(answers=(answers, (None, shape[0] * shape[1])))
    given = answers.reshape(len(answers), *shape)
    plans = _plans(elicitor, _given_answer, _session_keys(elicitor, key), given, _held(case), batch_size)
    return _outcomes(person, figure, case, plans, batch_size)


def _checked(person: str, case: _Case) -> _Case:
    choose("person", person, PERSONS)
    response.check(case.response)
    check_row(case.x, case.space, base_x=case.base.x)
    return case


def _held(case: _Case) -> _Case:
    """The case, constant in all of its arrays."""
    return jax.lax.stop_gradient(case._replace(logit_fn=held_classifier(case.logit_fn, case.x)))


def _session_keys(elicitor: Elicitor, key: Array) -> SessionKeys:
    return session_keys(key, elicitor.num_proposals, elicitor.questions_per_proposal)


def _draw_keys(keys: SessionKeys, num: int) -> Array:
    """A key for each question of `num` sessions: (num, num_proposals, questions_per_proposal)."""
    split = jax.vmap(partial(jax.random.split, num=num), out_axes=1)
    return split(keys.answer.reshape(-1)).reshape(num, *keys.answer.shape)


def _given_answer(answer: Array, shown: Question) -> Array:
    return answer


def _plans(
    elicitor: Elicitor, respond: Respond, keys: SessionKeys, given: Array, case: _Case, batch_size: int
) -> _Plan:
    """The sessions (n, ...) in which `respond` answers from what is `given` (n, num_proposals, questions, ...)."""
    elicitor = elicitor if elicitor.differentiable else jax.lax.stop_gradient(elicitor)
    state = elicitor.start(keys.start, case.logit_fn, case.x, case.base, case.space)
    if elicitor.num_proposals == 1:  # it does not depend on the answers, so all sessions share it
        state = elicitor.propose(state, keys.propose[0])

    def plan(given: Array) -> _Plan:
        if elicitor.num_proposals == 1:
            last, asked = questions(elicitor, respond, _record, state, given[0])
        else:
            last, asked = proposals(elicitor, respond, _record, state, keys.propose, given)
            asked = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), asked)
        shown, answer = asked
        return _Plan(shown, answer, elicitor.recommend(last))

    return jax.lax.map(plan, given, batch_size=batch_size)


def _record(shown: Question, answer: Array, best: Recourse) -> tuple[Question, Array]:
    return shown, answer


def _outcomes(person: str, figure: Figure | None, case: _Case, plans: _Plan, batch_size: int) -> Outcomes:
    """The outcome of each of the sessions (n, ...), differentiable; its residuals are recomputed, not stored."""
    figure = PERSONS[person].loss if figure is None else figure
    return jax.lax.map(jax.checkpoint(partial(_outcome, person, figure, case)), plans, batch_size=batch_size)


def _outcome(person: str, figure: Figure, case: _Case, plan: _Plan) -> Outcomes:
    log_p = jax.vmap(partial(_log_probability, person, case))(plan.shown, plan.answer)
    return Outcomes(figure(case.hidden, case.x, _attached(case, plan.best)), jnp.sum(log_p), plan.best.valid)


def _log_probability(person: str, case: _Case, shown: Question, answer: Array) -> Array:
    """Log-probability () of an answer; that of a fair coin if the question was not asked."""
    utility = partial(PERSONS[person].utility, case.hidden, case.x)
    a, b = (_attached(case, Recourse(point, shown.asked)) for point in (shown.a, shown.b))
    delta = utility(a) - utility(b)
    log_p = response.log_probability(case.response, jnp.where(answer == PREFERS_A, delta, -delta))
    return jnp.where(shown.asked, log_p, _LOG_HALF)


def _attached(case: _Case, recourse: Recourse) -> Array:
    """A recourse (d,) with its own derivative plus that of the boundary in its direction."""
    margin = case.margin - _ROUNDING
    moved = scale_back(case.logit_fn, case.x, recourse, case.space, margin=margin, num_steps=0, width=_WIDTH)
    return with_value(moved.x + recourse.x, recourse.x)


def _surrogate(outcomes: Outcomes) -> Array:
    """Terms (n,) with the values of the figures and, in the mean, the derivative of the expectation."""
    figure, log_p = outcomes.figure, outcomes.log_probability
    num = len(figure)
    advantage = jax.lax.stop_gradient(figure - jnp.mean(figure)) * (num / (num - 1))  # leave-one-out
    return figure + advantage * (log_p - jax.lax.stop_gradient(log_p))
