"""The expected figure of a session over the answers, and an unbiased estimate of its gradient.

Notation: `s` is a sequence of answers, with probability `p(s)` (`people.response`), and `f(s)` the figure of the final
recommendation (`outcomes`). The expectation `sum_s p(s) f(s)` has the derivative

    sum_s p(s) (df(s) + f(s) d log p(s)),

that along the answers given plus the score of the answers. From independent draws `s_i` it is estimated by

    mean_i (df(s_i) + (f(s_i) - b_i) d log p(s_i)),    b_i = mean_{j != i} f(s_j).

This is the score-function estimator (Williams 1992, REINFORCE) with the leave-one-out baseline of Kool et al. (2019,
"Buy 4 REINFORCE samples, get a baseline for free!"): `b_i` is independent of `s_i`, so it adds no bias. It is computed
as the derivative of a surrogate, as in Schulman et al. (2015, "Gradient estimation using stochastic computation
graphs") and Foerster et al. (2018, "DiCE").

Held constant for each sequence: the directions of the recourses that are shown and recommended, and so where the
candidates head for, which questions are asked, and the posterior. `outcomes` says what moves.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, check_key, check_shapes, require
from hare_jax.elicit.base import Elicitor, Question, SessionKeys, session_keys, simulated_answer
from hare_jax.evaluate.outcomes import Case, Figure, Outcomes, check, held, measure_plans, run_plans
from hare_jax.hyperparams import Count, check_values
from hare_jax.people import Response, answering, utility
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace

_BATCH = 64  # sessions side by side


class Expectation(NamedTuple):
    """An expected figure, estimated by n draws of the answers."""

    mean: Array  # () the estimate; its derivative estimates the derivative
    terms: Array  # (n,) whose mean it is: the s.d. of their derivatives over sqrt(n) is the standard error
    valid: Array  # (n,) bool: the final recommendation is valid


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
    batch_size: int = _BATCH,
) -> Expectation:
    """Expected `figure(hidden, x, recourse)` of the final recommendation for `x` (d,), over the answers.

    The answers are those of a `person`, a row of `PERSONS` with parameters `hidden`, with the probabilities of `hp`;
    the figure is by default the person's loss. Only the answers are random: the elicitor's keys are those of
    `elicit.session` with the same `key`, in all of `num_draws` sessions, of which `batch_size` run side by side. Kinds
    whose answers change in the course of a session (`drift`, `fatigue`) answer by their final utility throughout.

    The first derivative, forward and reverse, is an unbiased estimate of that of the expectation: in the arrays of
    `logit_fn`, in `x`, in `hidden`, in the sharpness and the lapse rate, in whatever `figure` closes over, and in the
    hyperparameters of a `differentiable` elicitor; in those of another, and in `base`, it is 0. Higher derivatives are
    biased. `margin` is the least logit of the recourses that the elicitor shows.

    Raises:
        ValueError: an unknown person, parameters of `hp` out of their range, fewer than two draws, or an array of
            another shape.
    """
    check_values(num_draws=(num_draws, Count), batch_size=(batch_size, Count))
    require(num_draws >= 2, "num_draws", "must be at least 2, for the leave-one-out baseline", num_draws)
    check_key(key)
    case = Case(hp, logit_fn, x, hidden, base, space, margin)
    check(person, case)
    fixed, keys = held(case), _keys(elicitor, key)
    prefers = answering(fixed.response, utility(person, fixed.hidden, fixed.space))
    respond = partial(simulated_answer, prefers, fixed.x)
    plans = run_plans(elicitor, respond, keys, _split(keys, num_draws), fixed, batch_size)
    found = measure_plans(person, figure, case, plans, batch_size)
    terms = surrogate(found)
    return Expectation(jnp.mean(terms), terms, found.valid)


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
    batch_size: int = _BATCH,
) -> Outcomes:
    """Outcomes of n sessions with given `answers` (n, T), `PREFERS_A` or `PREFERS_B`; otherwise as `over_answers`.

    With all 2^T sequences, `sum(exp(log_probability) * figure)` is the expectation itself, with its exact derivative.

    Raises:
        ValueError: an unknown person, parameters of `hp` out of their range, or an array of another shape. The values
            of `answers` are not checked.
    """
    case = Case(hp, logit_fn, x, hidden, base, space, margin)
    check(person, case)
    shape = elicitor.num_proposals, elicitor.questions_per_proposal
    check_shapes(answers=(answers, (None, shape[0] * shape[1])))
    given = jnp.reshape(answers, (len(answers), *shape))
    plans = run_plans(elicitor, _given_answer, _keys(elicitor, key), given, held(case), batch_size)
    return measure_plans(person, figure, case, plans, batch_size)


def surrogate(found: Outcomes) -> Array:
    """Terms (n,) with the values of the figures, whose mean has the derivative of the estimate, for n draws."""
    figure, log_p = found.figure, found.log_probability
    num = len(figure)
    advantage = jax.lax.stop_gradient(figure - jnp.mean(figure)) * (num / (num - 1))  # figure minus the baseline
    return figure + advantage * (log_p - jax.lax.stop_gradient(log_p))


def _keys(elicitor: Elicitor, key: Array) -> SessionKeys:
    return session_keys(key, elicitor.num_proposals, elicitor.questions_per_proposal)


def _split(keys: SessionKeys, num: int) -> Array:
    """A key for each question of `num` sessions: (num, num_proposals, questions_per_proposal)."""
    split = jax.vmap(partial(jax.random.split, num=num), out_axes=1)
    return split(keys.answer.reshape(-1)).reshape(num, *keys.answer.shape)


def _given_answer(answer: Array, shown: Question) -> Array:
    return answer
