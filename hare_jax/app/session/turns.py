"""Where a session is: an elicitor's state with its question, and how it goes on. All in encoded units.

The keys are those of `elicit.session`, so that the same answers give the same recourse. A veto or a range withdraws the
question; it is replaced by one of a further proposal, whose key is folded with the number of those before it.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hare_jax.app.compiling import quickest_jit
from hare_jax.app.session import programs
from hare_jax.base import CANNOT_TELL, LogitFn, Recourse
from hare_jax.elicit import Elicitor, pool, session_keys
from hare_jax.elicit.bayesian.state import State
from hare_jax.space import ActionSpace


class Keys(NamedTuple):
    """The data of the keys of a session."""

    start: np.ndarray
    propose: np.ndarray  # (num_proposals, ...)


class Problem(NamedTuple):
    """What is constant in a session."""

    elicitor: Elicitor
    keys: Keys
    logit_fn: LogitFn
    x: Any  # (d,) of NumPy
    space: ActionSpace

    @property
    def num_slots(self) -> int:
        """How many questions there can be, those included that are not shown."""
        return self.elicitor.num_proposals * self.elicitor.questions_per_proposal


class Turn(NamedTuple):
    """Where a session is between two events."""

    state: Any
    question: Any  # `Question` of NumPy, (d,)
    best: Any  # `Recourse` of NumPy, (d,)
    slot: int = 0  # of the next question
    proposals: int = 0  # for this slot so far
    due: bool = True  # a proposal comes before the next question
    num_answers: int = 0
    num_asked: int = 1  # the number of the question, from 1
    still: int = 0  # answers in a row without a new recommendation
    shown: Any = None  # the options in original units, `writing.Written`


def keys_of(seed: int, elicitor: Elicitor) -> Keys:
    """The keys of a session."""
    data = _key_program(elicitor.num_proposals, elicitor.questions_per_proposal)
    return Keys(*map(np.asarray, data(np.int32(seed))))


@functools.cache
def _key_program(num_proposals: int, num_questions: int) -> Any:
    """The program of the data of keys, compiled once for all seeds."""
    return quickest_jit(functools.partial(_key_data, num_proposals, num_questions))


def _key_data(num_proposals: int, num_questions: int, seed: Any) -> tuple[Any, Any]:
    keys = session_keys(jax.random.key(seed), num_proposals, num_questions)
    return jax.random.key_data(keys.start), jax.random.key_data(keys.propose)


def opened(problem: Problem, base: Recourse) -> Turn:
    """The first turn, from the `base` recourse."""
    start = problem.logit_fn, problem.x, base, problem.space
    return _turn(programs.call(programs.start, problem.elicitor, problem.keys.start, *start))


def resumed(problem: Problem, state: Any, counters: dict[str, Any]) -> Turn:
    """The turn of a `state` that was saved, with its other fields."""
    turn = _turn(programs.shown(problem.elicitor, state))._replace(**counters)
    return turn if turn.slot < problem.num_slots else without_question(turn)


def told(problem: Problem, turn: Turn, answer: Any) -> Turn:
    """The turn after an `answer` to the question, which is shown or not."""
    counted = int(bool(turn.question.asked))
    new = skipped(problem, _tell(problem, turn, answer))
    still = turn.still + counted if bool((new.best.x == turn.best.x).all()) else 0
    return new._replace(num_answers=turn.num_answers + counted, num_asked=turn.num_asked + counted, still=still)


def skipped(problem: Problem, turn: Turn) -> Turn:
    """The turn at the next slot."""
    slot = turn.slot + 1
    due = slot % problem.elicitor.questions_per_proposal == 0
    return turn._replace(slot=slot, due=due, proposals=0 if due else turn.proposals)


def informed(problem: Problem, turn: Turn, answer: Any) -> Turn:
    """The turn after an `answer` that is not to the question, which stays unless it is withdrawn."""
    new = _tell(problem, turn, answer)
    return new._replace(due=turn.due or not new.question.asked)


def rebased(turn: Turn, base: Recourse) -> Turn:
    """The turn of the Bayesian elicitor with another `base` recourse, from which it goes on."""
    found = jax.tree.map(jnp.asarray, base)
    parts = turn.state.pool._replace(base=found, best=found)
    return turn._replace(state=turn.state._replace(pool=parts), best=base, due=True)


def with_question(problem: Problem, turn: Turn) -> Turn:
    """The turn with its next question, or with `question.asked` False where none is left."""
    if problem.num_slots == 0 and turn.due:  # a control without questions
        turn = _proposed(problem, turn)
    while turn.slot < problem.num_slots:
        if turn.due:
            turn = _proposed(problem, turn)
        if turn.question.asked or not turn.best.valid:
            return turn
        turn = told(problem, turn, np.int32(CANNOT_TELL))
    return without_question(turn)


def without_question(turn: Turn) -> Turn:
    """The turn in which nothing is asked."""
    return turn._replace(question=turn.question._replace(asked=np.array(False)))


def left_out(turn: Turn, unfit: tuple[int, ...]) -> np.ndarray:
    """The option (d,) to leave out of the `unfit` ones, by position: neither base nor recommendation, if possible."""
    options = [(turn.question.a, turn.question.b)[at] for at in unfit]
    return next((option for option in options if not _is_kept(turn, option)), options[0])


def hidden(problem: Problem, turn: Turn, without: tuple[np.ndarray, ...]) -> Turn:
    """The turn after a question that can't be shown because of one of the options `without` (d,): nothing is learnt.

    The Bayesian elicitor would propose the same pair again, so it proposes without any of these options; all but its
    base and its recommendation, which come back after this proposal, are left out for good.
    """
    if isinstance(turn.state, State):
        parts = turn.state.pool
        left = _pool_without(parts, without)
        new = _proposed(problem, turn._replace(state=turn.state._replace(pool=left)))
        rest = _pool_without(parts, tuple(option for option in without if not _is_kept(turn, option)))
        return new._replace(state=new.state._replace(pool=rest), best=turn.best)
    if problem.elicitor.questions_per_proposal == 1:
        return skipped(problem, turn)
    new = _tell(problem, turn, np.int32(CANNOT_TELL))
    return skipped(problem, new)


def _is_kept(turn: Turn, option: np.ndarray) -> bool:
    """Whether an `option` (d,) is the base or the recommendation of the Bayesian elicitor."""
    if not isinstance(turn.state, State):
        return False
    return any(bool((kept.x == option).all()) for kept in (turn.state.pool.base, turn.state.pool.best))


def _pool_without(parts: pool.Pool, options: tuple[np.ndarray, ...]) -> pool.Pool:
    """The pool in which no member that equals one of the `options` (d,) is valid."""
    members = pool.members(parts)
    valid = members.valid
    for option in options:
        valid &= jnp.any(members.x != option[None, :], axis=1)
    return pool.with_members(parts, members._replace(valid=valid))


def _proposed(problem: Problem, turn: Turn) -> Turn:
    key = problem.keys.propose[turn.slot // max(1, problem.elicitor.questions_per_proposal)]
    given = problem.elicitor, turn.state, key, np.int32(turn.proposals)
    new = _turn(programs.call(programs.propose, *given), turn)
    return new._replace(proposals=turn.proposals + 1, due=False)


def _tell(problem: Problem, turn: Turn, answer: Any) -> Turn:
    return _turn(programs.call(programs.tell, problem.elicitor, turn.state, answer), turn)


def _turn(shown: programs.Shown, before: Turn | None = None) -> Turn:
    """A turn with what a program has `shown`, and the rest from the turn `before`."""
    question, best = jax.tree.map(np.asarray, (shown.question, shown.best))
    if before is None:
        return Turn(shown.state, question, best)
    return before._replace(state=shown.state, question=question, best=best)
