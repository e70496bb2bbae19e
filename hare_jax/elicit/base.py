"""Ask and tell: the shape that every elicitor has, and the loop that runs one against a simulated user.

`start` opens a session, `propose` fills the next batch of questions, `ask` shows one, `tell` takes its answer, and
`recommend` gives the best recourse so far. A person's session is the same five functions in a Python loop. The state is
a pytree of arrays, so it can be saved between two answers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Prefers, Recourse, as_partial, check_row, pytree_dataclass
from hare_jax.space import ActionSpace

PREFERS_A, PREFERS_B, CANNOT_TELL = 0, 1, 2  # what an answer can be


class Question(NamedTuple):
    """A pair of recourses to compare. With `asked=False` there is nothing left to compare, and nothing to show."""

    a: Array  # (d,)
    b: Array  # (d,)
    asked: Array  # () bool


class Trace(NamedTuple):
    """What was recommended after each question; T = num_proposals * questions_per_proposal."""

    x: Array  # (T, d)
    valid: Array  # (T,) bool
    asked: Array  # (T,) bool: the question was shown; the sum is what the user was asked


class SessionKeys(NamedTuple):
    """The keys of a session, split once: random numbers are what takes longest to compile."""

    start: Array  # ()
    propose: Array  # (num_proposals,)
    answer: Array  # (num_proposals, questions_per_proposal): for the simulated user


def session_keys(key: Array, num_proposals: int, questions_per_proposal: int) -> SessionKeys:
    """Split `key` into those that `run` uses, so that a loop in Python can repeat a session of `run`."""
    keys = jax.random.split(key, 1 + num_proposals * (1 + questions_per_proposal))
    rounds = keys[1:].reshape(num_proposals, 1 + questions_per_proposal)
    return SessionKeys(keys[0], rounds[:, 0], rounds[:, 1:])


class Start(Protocol):
    """Opens a session."""

    def __call__(self, key: Array, logit_fn: LogitFn, x: Array, recourse: Recourse, space: ActionSpace, /) -> Any:
        """The state of a session with the person at `x` (d,), whose base method gave `recourse`."""


class Propose(Protocol):
    """Fills the next batch of questions; expensive."""

    def __call__(self, state: Any, key: Array, /) -> Any:
        """The state with questions to ask."""


class Ask(Protocol):
    """Shows a question; cheap."""

    def __call__(self, state: Any, /) -> Question:
        """The question to be answered next."""


class Tell(Protocol):
    """Takes the answer to the question that `Ask` shows."""

    def __call__(self, state: Any, answer: Any, /) -> Any:
        """The state after `answer`: () int, `PREFERS_A`, `PREFERS_B` or `CANNOT_TELL`; some elicitors take others."""


class Recommend(Protocol):
    """Gives the best recourse so far."""

    def __call__(self, state: Any, /) -> Recourse:
        """The recommendation."""


@pytree_dataclass
class Elicitor:
    """An elicitation method, its functions bound to their own parameters."""

    start: Start
    propose: Propose
    ask: Ask
    tell: Tell
    recommend: Recommend
    questions_per_proposal: int
    num_proposals: int = 1  # of a session

    def __repr__(self) -> str:
        module = getattr(getattr(self.start, "func", self.start), "__module__", "")
        name, num = module.rpartition(".")[2], self.num_proposals
        return f"Elicitor({name}, {num} proposals of {self.questions_per_proposal} questions)"


class Entry(NamedTuple):
    """An elicitor as a row of `ELICITORS`."""

    build: Callable[..., Elicitor]  # budget, per_round, hyperparameters by name -> Elicitor
    hyperparams: type
    label: str  # in tables and plots
    uses_gradients: bool  # of the classifier, unless told otherwise by a hyperparameter
    asks: bool = True  # False: a control that asks nothing


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
    """Hold a whole session with the user at `x` (d,), from a base `recourse`: the last state, and the trace.

    One scan over proposals, `elicitor.num_proposals` of them unless given, around one over questions; `vmap` it over
    keys, users, rows and recourses.
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
    """As `session` with the same arguments, but the last recommendation in place of the last state."""
    state, trace = session(elicitor, prefers, key, logit_fn, x, recourse, space, num_proposals=num_proposals)
    return elicitor.recommend(state), trace
