"""Sessions of a population in one program for all kinds of persons, ideals, rates of flips and seeds of a data set.

A session is a scan over segments of proposals, so that the posterior can be evaluated between them: `Beliefs` are
small, where the states of all questions would not be.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.experiments import answering
from benchmarks.experiments.answering import Asking, Offered, Respondent
from benchmarks.experiments.arms import Arm
from hare_jax import elicit, people
from hare_jax.base import LogitFn, Recourse
from hare_jax.elicit.bayesian.region import credible_region, inside
from hare_jax.elicit.bayesian.state import State
from hare_jax.evaluate.sharding import map_users
from hare_jax.space import ActionSpace

CHECKED = (5, 10, 20, 30)  # numbers of questions after which the posterior is evaluated
_SEGMENT = 5  # questions, a divisor of those numbers
_LEVEL = 0.9  # of the credible region
_IDEAL = "ideal"


class Beliefs(NamedTuple):
    """The posterior of the ideal after each segment; 0 where it was not evaluated."""

    in_region: Array  # (S,) bool: the 90 % credible region contains the ideal
    expected_distance: Array  # (S,) from the recommendation to the ideal


class Asked(NamedTuple):
    """The results of one session."""

    recourse: Recourse  # x (T, d), valid (T,): the recommendation after each question
    asked: Array  # (T,) bool
    beliefs: Beliefs | None  # of an elicitor with a posterior


class Form(NamedTuple):
    """A kind of question."""

    show: Callable[..., Any]  # elicitor, arm, state, key -> the question
    answer: Callable[..., Array]  # respondent, asking, the question -> the answer
    tell: Callable[..., Any]  # elicitor, state, the question, the answer -> state


class _Given(NamedTuple):
    """What a scan over segments reads."""

    propose: Array  # (S, P) keys
    answer: Array  # (S, P, Q) keys
    check: Array  # (S,) bool: evaluate the posterior afterwards
    key: Array  # (S,) keys of that


class _Session(NamedTuple):
    """The constants of one session."""

    arm: Arm
    elicitor: elicit.Elicitor
    them: Respondent


@partial(jax.jit, static_argnames=("arm", "num"))
def elicit_all(
    elicitor: elicit.Elicitor,
    person: Array,
    noise: people.Noise,
    keys: Array,
    logit_fn: LogitFn,
    x: Array,
    hidden: dict[str, Any],
    base: Recourse,
    space: ActionSpace,
    *,
    arm: Arm,
    num: int,
) -> Asked:
    """A session of `num` questions for each row `x` (n, d), with keys (n, 2) of the session and of the posterior.

    The people are of the kind at the position `person` () of `hidden`, with leaves (n, ...).
    """

    def one(row: tuple[Array, Array, dict[str, Any], Recourse]) -> Asked:
        keys, x, hidden, base = row
        them = Respondent(person, hidden, noise, x, space)
        return _session(_Session(arm, elicitor, them), keys, logit_fn, base, num)

    return map_users(one, (keys, x, hidden, base))


def _session(session: _Session, keys: Array, logit_fn: LogitFn, base: Recourse, num: int) -> Asked:
    elicitor, them = session.elicitor, session.them
    split = elicit.session_keys(keys[0], elicitor.num_proposals, elicitor.questions_per_proposal)
    state = elicitor.start(split.start, logit_fn, them.x, base, them.space)
    counted = state, jnp.zeros((), jnp.int32)
    given = _segments(session, split, keys[1], isinstance(state, State))
    (state, _), (found, beliefs) = jax.lax.scan(partial(_segment, session), counted, given)
    trace = jax.tree.map(lambda leaf: leaf.reshape(split.answer.size, *leaf.shape[3:]), found)
    return _counted(session.arm, trace, elicitor.recommend(state), num, beliefs)


def _segments(session: _Session, keys: Any, key: Array, has_posterior: bool) -> _Given:
    """The keys of each segment; an elicitor without a posterior has a single one."""
    them = session.them
    proposals, per_proposal = keys.answer.shape
    num = proposals * per_proposal // _SEGMENT if has_posterior else 1
    after = [_SEGMENT * (index + 1) in CHECKED and has_posterior for index in range(num)]
    is_ideal = them.person == answering.position(_IDEAL, them.hidden)
    shape = num, proposals // num
    propose, answer = (leaf.reshape(*shape, *leaf.shape[1:]) for leaf in (keys.propose, keys.answer))
    return _Given(propose, answer, jnp.array(after) & is_ideal, jax.random.split(key, num))


def _segment(session: _Session, counted: tuple[Any, Array], given: _Given) -> tuple[tuple[Any, Array], Any]:
    counted, trace = jax.lax.scan(partial(_proposal, session), counted, (given.propose, given.answer))
    state = counted[0]
    if not isinstance(state, State):
        return counted, (trace, None)
    ideal = session.them.hidden[_IDEAL]
    return counted, (trace, jax.lax.cond(given.check, _believed, _unchecked, state, given.key, ideal))


def _believed(state: State, key: Array, ideal: Array) -> Beliefs:
    draws = elicit.ideals(state, key)  # once, as they are expensive, for what ideal_region and expected_distance return
    region = credible_region(draws, state.space.mutable, _LEVEL)
    return Beliefs(inside(region, ideal), jnp.mean(jnp.linalg.norm(draws - state.best.x[None, :], axis=1)))


def _unchecked(state: State, key: Array, ideal: Array) -> Beliefs:
    return Beliefs(jnp.array(False), jnp.zeros((), ideal.dtype))


def _proposal(session: _Session, counted: tuple[Any, Array], keys: tuple[Array, Array]) -> tuple[Any, elicit.Trace]:
    state, count = counted
    proposed = session.elicitor.propose(state, keys[0])
    return jax.lax.scan(partial(_question, session), (proposed, count), keys[1])


def _question(session: _Session, counted: tuple[Any, Array], key: Array) -> tuple[Any, elicit.Trace]:
    (state, count), (arm, elicitor, them) = counted, session
    form = _FORMS[arm.form]
    shown = form.show(elicitor, arm, state, key)
    answer = form.answer(them, Asking(key, count), shown)
    state = form.tell(elicitor, state, shown, answer)
    best = elicitor.recommend(state)
    return (state, count + shown.asked), elicit.Trace(best.x, best.valid, shown.asked)


def _counted(arm: Arm, trace: elicit.Trace, last: Recourse, num: int, beliefs: Beliefs | None) -> Asked:
    """The trace at `num` questions; of an arm with more proposals, at the `num` first questions that were asked."""
    length = len(trace.asked)
    if arm.longer > 1:
        at = jnp.searchsorted(jnp.cumsum(trace.asked), jnp.arange(1, num + 1))
        asked = at < length
        at = jnp.minimum(at, length - 1)
        return Asked(Recourse(trace.x[at], trace.valid[at]), asked, beliefs)
    rest = num - length  # an elicitor that asks fewer questions, or none: its last recommendation
    rows = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (max(rest, 0), *leaf.shape)), last)
    recourse = Recourse(jnp.concatenate([trace.x, rows.x])[:num], jnp.concatenate([trace.valid, rows.valid])[:num])
    return Asked(recourse, jnp.concatenate([trace.asked, jnp.zeros(max(rest, 0), bool)])[:num], beliefs)


def _show_pair(elicitor: elicit.Elicitor, arm: Arm, state: Any, key: Array) -> elicit.Question:
    return elicitor.ask(state)


def _tell_pair(elicitor: elicit.Elicitor, state: Any, shown: elicit.Question, answer: Array) -> Any:
    return elicitor.tell(state, answer)


def _show_set(elicitor: elicit.Elicitor, arm: Arm, state: Any, key: Array) -> Offered:
    offered = elicit.offer(state, jax.random.fold_in(key, arm.size), arm.size)
    return Offered(offered, jnp.sum(offered.valid) > 1)


def _tell_set(elicitor: elicit.Elicitor, state: Any, shown: Offered, answer: Array) -> Any:
    options = shown.options._replace(valid=shown.options.valid & shown.asked)
    return elicitor.tell(state, elicit.Choice(options, answer))


def _tell_rating(elicitor: elicit.Elicitor, state: Any, shown: elicit.Question, answer: Array) -> Any:
    told = elicitor.tell(state, elicit.Rating(shown.b, answer))
    return jax.tree.map(lambda new, old: jnp.where(shown.asked, new, old), told, state)


_FORMS = {
    "pair": Form(_show_pair, answering.compare, _tell_pair),
    "set": Form(_show_set, answering.choose, _tell_set),
    "rating": Form(_show_pair, answering.rate, _tell_rating),
}
