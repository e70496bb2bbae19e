"""Sessions that are run once, held constant, and then measured as differentiable functions.

A session's *plan* is what the elicitor showed, the answers, and its final recommendation; its *outcome* is a figure of
the recommendation and the log-probability of the answers. The plan is run on stopped arguments. Each of its recourses
keeps its direction from `x` and moves with the decision boundary (`solvers.boundary.scale_back`); one further than the
boundary, such as an interior point, is a constant change from `x`.

If the elicitor is `differentiable`, as HARE is, its recourses also move with its hyperparameters. Otherwise they are
constant in them: the search of the Bayesian elicitor compares.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, check_row, choose
from hare_jax.elicit.base import PREFERS_A, Elicitor, Question, Respond, SessionKeys, proposals, questions
from hare_jax.people import PERSONS, Response, loss, response, utility
from hare_jax.recourse.derivative import held_classifier
from hare_jax.solvers.boundary import scale_back, with_value
from hare_jax.space import ActionSpace

Figure = Callable[[Any, Array, Array], Array]  # hidden, x (d,), recourse (d,) -> (), as `Person.loss`

# A recourse is on the boundary if this last share of its change contains it. The pool of the Bayesian elicitor is
# bisected to 2^-10 of the distance from other points than `x`.
_WIDTH = 2.0**-7
_ROUNDING = 1e-4  # logits: in float32 a second program may evaluate the logit of the same point this much lower
_LOG_HALF = math.log(0.5)


class Case(NamedTuple):
    """A person, and all that a session's outcome depends on besides the elicitor."""

    response: Response
    logit_fn: LogitFn
    x: Array  # (d,)
    hidden: Any  # the person's parameters
    base: Recourse
    space: ActionSpace
    margin: float | Array  # () the least logit of the recourses that the elicitor shows


class Plan(NamedTuple):
    """A session with T questions, as it was run."""

    shown: Question  # (T, d), (T, d), (T,)
    answer: Array  # (T,) int
    best: Recourse  # (d,), () the final recommendation


class Outcomes(NamedTuple):
    """The outcomes of n sessions."""

    figure: Array  # (n,) of the final recommendation
    log_probability: Array  # (n,) of the answers; a question that is not asked is answered by a fair coin
    valid: Array  # (n,) bool: the final recommendation is valid


def check(person: str, case: Case) -> None:
    """Check a case.

    Raises:
        ValueError: an unknown person, parameters of the response out of their range, or an array of another shape.
    """
    choose("person", person, PERSONS)
    response.check(case.response)
    check_row(case.x, case.space, base_x=case.base.x)


def held(case: Case) -> Case:
    """`case`, constant in all of its arrays and in those that its classifier closes over."""
    return jax.lax.stop_gradient(case._replace(logit_fn=held_classifier(case.logit_fn, case.x)))


def run_plans(
    elicitor: Elicitor, respond: Respond, keys: SessionKeys, given: Array, case: Case, batch_size: int
) -> Plan:
    """The plans (n, ...) of n sessions, in which `respond` answers from what is `given` (n, proposals, questions, ...).

    They differ in the answers alone: the elicitor's keys are the same. `case` is `held`, and `batch_size` of the
    sessions are run side by side.
    """
    elicitor = elicitor if elicitor.differentiable else jax.lax.stop_gradient(elicitor)
    state = elicitor.start(keys.start, case.logit_fn, case.x, case.base, case.space)
    if elicitor.num_proposals == 1:  # it does not depend on the answers, so all sessions share it
        state = elicitor.propose(state, keys.propose[0])

    def plan(given: Array) -> Plan:
        if elicitor.num_proposals == 1:
            last, asked = questions(elicitor, respond, _read, state, given[0])
        else:
            last, asked = proposals(elicitor, respond, _read, state, keys.propose, given)
            asked = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), asked)
        shown, answer = asked
        return Plan(shown, answer, elicitor.recommend(last))

    return _map(plan, given, batch_size)


def measure_plans(person: str, figure: Figure | None, case: Case, plans: Plan, batch_size: int) -> Outcomes:
    """The outcomes of the `plans` (n, ...), differentiable in `case`; `figure` is by default the person's loss.

    The derivative recomputes each batch instead of storing its intermediate results.
    """
    figure = partial(_loss, person, case.space) if figure is None else figure
    return _map(jax.checkpoint(partial(_measure, person, figure, case)), plans, batch_size)


def _loss(person: str, space: ActionSpace, hidden: Any, x: Array, x_cf: Array) -> Array:
    return loss(person, hidden, space)(x, x_cf)


def _map(fn: Callable[[Any], Any], rows: Any, batch_size: int) -> Any:
    """`fn` of each of the `rows` (n, ...), in batches; one by one if there are no questions, as JAX requires."""
    empty = any(leaf.size == 0 for leaf in jax.tree.leaves(rows))
    return jax.lax.map(fn, rows, batch_size=None if empty else batch_size)


def _read(shown: Question, answer: Array, best: Recourse) -> tuple[Question, Array]:
    return shown, answer


def _measure(person: str, figure: Figure, case: Case, plan: Plan) -> Outcomes:
    log_p = jax.vmap(partial(_log_probability, person, case))(plan.shown, plan.answer)
    return Outcomes(figure(case.hidden, case.x, _attached(case, plan.best)), jnp.sum(log_p), plan.best.valid)


def _log_probability(person: str, case: Case, shown: Question, answer: Array) -> Array:
    """Log-probability () of an answer; that of a fair coin if the question was not asked."""
    utility_fn = partial(utility(person, case.hidden, case.space), case.x)
    a, b = (_attached(case, Recourse(point, shown.asked)) for point in (shown.a, shown.b))
    delta = utility_fn(a) - utility_fn(b)
    log_p = response.log_probability(case.response, jnp.where(answer == PREFERS_A, delta, -delta))
    return jnp.where(shown.asked, log_p, _LOG_HALF)


def _attached(case: Case, recourse: Recourse) -> Array:
    """A recourse (d,), with its own derivative plus that of the boundary in its direction."""
    margin = case.margin - _ROUNDING
    moved = scale_back(case.logit_fn, case.x, recourse, case.space, margin=margin, num_steps=0, width=_WIDTH)
    return with_value(moved.x + recourse.x, recourse.x)
