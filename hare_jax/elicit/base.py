"""The ask-and-tell interface of elicitors, and the loop that runs one with a simulated user.

`start` opens a session, `propose` prepares the next batch of questions, `ask` returns one, `tell` processes its answer,
and `recommend` returns the best recourse so far. A session with a real person calls the same five functions in a Python
loop. The state is a pytree of arrays, so it can be saved between two answers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Prefers, Recourse, as_partial, check_row, pytree_dataclass
from hare_jax.space import ActionSpace

PREFERS_A, PREFERS_B, CANNOT_TELL = 0, 1, 2  # answers to a comparison


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
    questions_per_proposal: int
    num_proposals: int = 1  # per session

    def __repr__(self) -> str:
        module = getattr(getattr(self.start, "func", self.start), "__module__", "")
        name, num = module.rpartition(".")[2], self.num_proposals
        return f"Elicitor({name}, {num} proposals of {self.questions_per_proposal} questions)"


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
    """
    check_row(x, space, recourse_x=recourse.x)
    num_proposals = elicitor.num_proposals if num_proposals is None else num_proposals
    keys = session_keys(key, num_proposals, elicitor.questions_per_proposal)

    def question(state: Any, key: Array) -> tuple[Any, Trace]:
        shown = elicitor.ask(state)
        answer = jnp.where(prefers(key, x, shown.a, shown.b), PREFERS_A, PREFERS_B)
        state = elicitor.tell(state, answer)
        best = elicitor.recommend(state)
        return state, Trace(best.x, best.valid, shown.asked)

    def proposal(state: Any, keys: tuple[Array, Array]) -> tuple[Any, Trace]:
        key_propose, key_answers = keys
        return jax.lax.scan(question, elicitor.propose(state, key_propose), key_answers)

    state = elicitor.start(keys.start, as_partial(logit_fn), x, recourse, space)
    state, trace = jax.lax.scan(proposal, state, (keys.propose, keys.answer))
    return state, Trace(*(leaf.reshape(-1, *leaf.shape[2:]) for leaf in trace))


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
