"""The ask-and-tell interface of elicitors, and the loop that runs one with a simulated user.

`start` opens a session, `propose` prepares the next batch of questions, `ask` returns one, `tell` processes its answer,
and `recommend` returns the best recourse so far. A session with a real person calls the same five functions in a Python
loop. The state is a pytree of arrays, so it can be saved between two answers (`elicit.save`).
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import (
    CANNOT_TELL,
    PREFERS_A,
    PREFERS_B,
    LogitFn,
    Prefers,
    Recourse,
    as_partial,
    check_problem,
    holds,
    pytree_dataclass,
    require,
)
from hare_jax.hyperparams import Count, Natural, check_values
from hare_jax.space import ActionSpace


class Question(NamedTuple):
    """A pair of recourses to compare; `asked=False` if no question is left, and the pair must not be shown."""

    a: Array  # (d,)
    b: Array  # (d,)
    asked: Array  # () bool


class Trace(NamedTuple):
    """The recommendation after each question; T = num_proposals * questions_per_proposal."""

    x: Array  # (T, d)
    valid: Array  # (T,) bool
    asked: Array  # (T,) bool: the question was shown; the sum is the number of questions


class SessionKeys(NamedTuple):
    """The keys of a session, split in one call, as random functions are slow to compile."""

    start: Array  # ()
    propose: Array  # (num_proposals,)
    answer: Array  # (num_proposals, questions_per_proposal): for the simulated user


def session_keys(key: Array, num_proposals: int, questions_per_proposal: int) -> SessionKeys:
    """Split `key` into the keys that `run` uses, so that a Python loop can reproduce a session of `run`."""
    keys = jax.random.split(key, 1 + num_proposals * (1 + questions_per_proposal))
    rounds = keys[1:].reshape(num_proposals, 1 + questions_per_proposal)
    return SessionKeys(keys[0], rounds[:, 0], rounds[:, 1:])


def check_comparison(answer: Any, hint: str = "") -> None:
    """Raise a `ValueError` unless `answer` is an integer (), `PREFERS_A`, `PREFERS_B` or `CANNOT_TELL`."""
    known = is_index(answer) and holds(lambda value: np.isin(value, (PREFERS_A, PREFERS_B, CANNOT_TELL)), answer)
    require(known, "answer", f"must be {PREFERS_A}, {PREFERS_B} or {CANNOT_TELL}{hint}", answer)


def is_index(value: Any) -> bool:
    """Whether `value` is an integer (), traced or not; a bool is none."""
    if not hasattr(value, "dtype"):
        return isinstance(value, int) and not isinstance(value, bool)
    return np.shape(value) == () and jnp.issubdtype(value.dtype, jnp.integer)


class Start(Protocol):
    """Opens a session."""

    def __call__(self, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace, /) -> Any:
        """The state of a session for the factual `x` (d,), from the base `recourse`."""


class Propose(Protocol):
    """Prepares the next batch of questions; expensive."""

    def __call__(self, state: Any, key: Array, /) -> Any:
        """The state with questions to ask."""


class Ask(Protocol):
    """Returns a question; cheap."""

    def __call__(self, state: Any, /) -> Question:
        """The next question."""


class Tell(Protocol):
    """Processes the answer to the question of `Ask`."""

    def __call__(self, state: Any, answer: Any, /) -> Any:
        """The state after `answer`: () int, `PREFERS_A`, `PREFERS_B` or `CANNOT_TELL`; some elicitors accept others."""


class Recommend(Protocol):
    """Returns the best recourse so far."""

    def __call__(self, state: Any, /) -> Recourse:
        """The recommendation."""


@pytree_dataclass
class Elicitor:
    """An elicitation method: five functions, bound to their parameters."""

    start: Start
    propose: Propose
    ask: Ask
    tell: Tell
    recommend: Recommend
    questions_per_proposal: Natural
    num_proposals: Count = 1  # per session
    differentiable: bool = False  # in its hyperparameters; otherwise what it shows is constant in them

    def __repr__(self) -> str:
        module = getattr(getattr(self.start, "func", self.start), "__module__", "")
        name, num = module.rpartition(".")[2], self.num_proposals
        return f"Elicitor({name}, {num} proposals of {self.questions_per_proposal} questions)"


Respond = Callable[[Any, Question], Array]  # what is given for a question, and the question -> answer () int
Read = Callable[[Question, Array, Recourse], Any]  # question, answer, recommendation after it -> what to keep


def of_state(
    hp: Any, start: Callable[..., Any], propose: Callable[..., Any], tell: Callable[..., Any], num_questions: int = 1
) -> Elicitor:
    """An elicitor whose state holds the `question` to ask and the recommendation `best`.

    `start`, `propose` and `tell` take the hyperparameters `hp` first; a proposal is for `num_questions`.
    """
    return Elicitor(
        start=Partial(start, hp),
        propose=Partial(propose, hp),
        ask=Partial(_question),
        tell=Partial(tell, hp),
        recommend=Partial(_best),
        questions_per_proposal=num_questions,
    )


def _question(state: Any) -> Question:
    return state.question


def _best(state: Any) -> Recourse:
    return state.best


def for_budget(elicitor: Elicitor, budget: int, max_questions: int | None = None) -> Elicitor:
    """The `elicitor` with as many proposals as a `budget` of questions needs.

    Raises:
        ValueError: the state holds fewer answers, `max_questions`, than the budget.
    """
    fits = max_questions is None or max_questions >= budget
    require(fits, "max_questions", f"must be at least the budget, {budget}", max_questions)
    return dataclasses.replace(elicitor, num_proposals=-(-budget // elicitor.questions_per_proposal))


def is_compared(told: Array, a: Array, b: Array) -> Array:
    """Whether each of `a` (n, d) has been shown with each of `b` (m, d), another point: (n, m) bool.

    A row of `told` (T, k, d) holds the k options of a question; one without an answer, the same point k times.
    """

    def shown(points: Array) -> Array:
        return jnp.any(jnp.all(told[None] == points[:, None, None, :], axis=3), axis=2)

    return jnp.any(shown(a)[:, None, :] & shown(b)[None, :, :], axis=2)


class Entry(NamedTuple):
    """An elicitor as a row of `ELICITORS`."""

    build: Callable[..., Elicitor]  # budget, per_round, hyperparameters by name -> Elicitor
    hyperparams: type
    label: str  # in tables and plots
    uses_gradients: bool  # of the classifier, by default; a hyperparameter may disable it
    asks: bool = True  # False: a control without questions


def session(
    elicitor: Elicitor,
    prefers: Prefers,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    recourse: Recourse,
    space: ActionSpace,
    *,
    num_proposals: int | None = None,
) -> tuple[Any, Trace]:
    """Run a whole session for the factual `x` (d,), from a base `recourse`: the last state, and the trace.

    A scan over proposals, by default `elicitor.num_proposals`, around a scan over questions; `vmap` it over keys,
    users, rows and recourses.

    Raises:
        ValueError: as `base.check_problem`, no elicitor or answer model, or fewer than one proposal.
    """
    require(isinstance(elicitor, Elicitor), "elicitor", "must be an Elicitor, as elicit.bind builds it", elicitor)
    check_problem(key, logit_fn, x, space, recourse)
    require(callable(prefers), "prefers", "must be a function of a key, a row and two recourses", prefers)
    num_proposals = elicitor.num_proposals if num_proposals is None else num_proposals
    check_values(num_proposals=(num_proposals, Count))
    keys = session_keys(key, num_proposals, elicitor.questions_per_proposal)
    state = elicitor.start(keys.start, as_partial(logit_fn), x, recourse, space)
    respond, given = _respondent(prefers, x, keys.answer)
    state, trace = proposals(elicitor, respond, _trace, state, keys.propose, given)
    return state, Trace(*(leaf.reshape(-1, *leaf.shape[2:]) for leaf in trace))


def proposals(elicitor: Elicitor, respond: Respond, read: Read, state: Any, keys: Array, given: Any) -> tuple[Any, Any]:
    """The `questions` of each of the `keys` (P,) of proposals: the last state, and the results (P, Q, ...)."""

    def proposal(state: Any, row: tuple[Array, Any]) -> tuple[Any, Any]:
        return questions(elicitor, respond, read, elicitor.propose(state, row[0]), row[1])

    return jax.lax.scan(proposal, state, (keys, given))


def questions(elicitor: Elicitor, respond: Respond, read: Read, state: Any, given: Any) -> tuple[Any, Any]:
    """Ask Q questions of one proposal: the last state, and the results (Q, ...).

    For each row of `given` (Q, ...), `respond(given, shown)` returns the answer to a question, and
    `read(shown, answer, best)` the result to keep.
    """

    def question(state: Any, given: Any) -> tuple[Any, Any]:
        shown = elicitor.ask(state)
        answer = respond(given, shown)
        state = elicitor.tell(state, answer)
        return state, read(shown, answer, elicitor.recommend(state))

    return jax.lax.scan(question, state, given)


def simulated_answer(prefers: Prefers, x: Array, key: Array, shown: Question) -> Array:
    """The answer () int of a simulated user with factual `x` (d,), which `prefers` gives as a bool or an int."""
    answer = prefers(key, x, shown.a, shown.b)
    return jnp.where(answer, PREFERS_A, PREFERS_B) if jnp.issubdtype(answer.dtype, jnp.bool_) else answer


def numbered_answer(prefers: Any, x: Array, given: tuple[Array, Array], shown: Question) -> Array:
    """As `simulated_answer`, for a `numbered` answer model; `given` are the key and the number of the question."""
    key, number = given
    return simulated_answer(prefers.at_question(number), x, key, shown)


def _respondent(prefers: Prefers, x: Array, keys: Array) -> tuple[Respond, Any]:
    """The answers of a simulated user, and what is given for each question: its key, of `keys` (P, Q), and its number.

    The number is left out unless the answers depend on it. It counts questions that are not shown, too.
    """
    if not getattr(prefers, "numbered", False):
        return partial(simulated_answer, prefers, x), keys
    return partial(numbered_answer, prefers, x), (keys, jnp.arange(keys.size).reshape(keys.shape))


def _trace(shown: Question, answer: Array, best: Recourse) -> Trace:
    return Trace(best.x, best.valid, shown.asked)


def run(
    elicitor: Elicitor,
    prefers: Prefers,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    recourse: Recourse,
    space: ActionSpace,
    *,
    num_proposals: int | None = None,
) -> tuple[Recourse, Trace]:
    """As `session`, but returns the last recommendation in place of the last state."""
    state, trace = session(elicitor, prefers, key, logit_fn, x, recourse, space, num_proposals=num_proposals)
    return elicitor.recommend(state), trace
