"""What a session needs before its first question: the checks, the explainer, the base recourse, the programs."""

import dataclasses
import threading
import warnings
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from hare_jax import elicit
from hare_jax.app.explainer import Explainer
from hare_jax.app.explainer.choice import has_gradient
from hare_jax.app.explainer.search import attempt
from hare_jax.app.explainer.writing import Rows
from hare_jax.app.session import exploring, outlook, programs, telling, turns
from hare_jax.app.session.file_rules import MOST_QUESTIONS
from hare_jax.app.session.showing import Person
from hare_jax.app.session.turns import Problem, Turn
from hare_jax.base import Recourse, as_partial, choose, require
from hare_jax.data import Table
from hare_jax.elicit import ELICITORS, Bayes, Hare, Pear, Sampling
from hare_jax.recourse import METHODS
from hare_jax.space import ActionSpace

SHARE_READ, SHARE_FOUND = 0.1, 0.4  # of the preparation
_ROOM = 16  # comparisons besides the answers to questions
_PER_ROUND = 5
_MOST = 2**31 - 1  # of a seed


class Given(NamedTuple):
    """The arguments of a session."""

    model: Any
    table: Table | None
    row: Any
    elicitor: str
    seed: int
    questions: int
    base: str | None
    hyperparameters: dict[str, Any]


def check(given: Given) -> Table:
    """Check the arguments but for the row, and return the table."""
    table = given.model.table if isinstance(given.model, Explainer) else given.table
    require(isinstance(table, Table), "table", "must be a Table, of data.load or data.from_frame", type(table).__name__)
    own = given.table is None or given.table is table
    require(own, "table", "must be None or that of the explainer", given.table)
    require(_is_whole(given.seed, 0), "seed", f"must be a whole number from 0 to {_MOST}", given.seed)
    few = _is_whole(given.questions, 1) and given.questions <= MOST_QUESTIONS
    require(few, "questions", f"must be a whole number from 1 to {MOST_QUESTIONS:,}", given.questions)
    if given.base is not None:
        choose("base", given.base, METHODS)
    bound(given, [])
    return table  # type: ignore[return-value]


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(least <= value <= _MOST)


def row_of(table: Table, row: Any) -> pd.DataFrame:
    """One row as a DataFrame, with the features of the table and any other columns.

    Raises:
        ValueError: not one row, or one that the table can't encode.
    """
    if isinstance(row, pd.Series):
        frame = row.to_frame().T.infer_objects()
    elif isinstance(row, dict):
        frame = pd.DataFrame([row])
    else:
        require(isinstance(row, pd.DataFrame), "row", "must be a DataFrame of one row, a Series or a dict", row)
        frame = row
    require(len(frame) == 1, "row", "must be one row", f"{len(frame)} rows")
    table.encode(frame)
    return frame.copy()


def bound(given: Given, defaults: list[tuple[str, Any]]) -> elicit.Elicitor:
    """The elicitor, with `defaults` for the hyperparameters that are not given."""
    choose("elicitor", given.elicitor, ELICITORS)
    kind = ELICITORS[given.elicitor].hyperparams
    options = {"per_round": min(_PER_ROUND, given.questions), **dict(defaults)}
    if kind in (Bayes, Pear):
        options["max_questions"] = given.questions + _ROOM
    return elicit.bind(given.elicitor, budget=given.questions, **options | given.hyperparameters)


def explainer(given: Given) -> Explainer:
    """The explainer, with the base method that is given."""
    model = given.model
    if not isinstance(model, Explainer):
        return Explainer(model, given.table, given.base, seed=given.seed)  # type: ignore[arg-type]
    if given.base is None or given.base == model.method:
        return model
    return Explainer(model.logit_fn, model.table, given.base, seed=model.seed)


def problem(given: Given, person: Person) -> Problem:
    """The elicitor with its keys, and what is constant."""
    logit_fn, table = as_partial(person.explainer.logit_fn), person.explainer.table
    defaults: list[tuple[str, Any]] = []
    if ELICITORS[given.elicitor].hyperparams is Hare and not has_gradient(logit_fn, jnp.asarray(person.x[0])):
        defaults = [("sampling", Sampling(validity_gradient=False))]
    elicitor = bound(given, defaults)
    return Problem(elicitor, turns.keys_of(given.seed, elicitor), logit_fn, person.x[0], table.space)


def base_recourse(given: Given, person: Person) -> Recourse:
    """The first recourse, of the explainer.

    Raises:
        ValueError: there is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = person.explainer.explain(person.row, progress=False)
    require(bool(found.found[0]), "row", "must have a recourse", str(found.reason.iloc[0]))
    x, valid = found.x_cf[0], np.array(True)  # type: Any, Any
    return Recourse(x, valid)


def base_within(person: Person, space: ActionSpace) -> Recourse:
    """The recourse of the explainer's method within a smaller action `space`; not valid where it finds none."""
    explainer = person.explainer
    setting = explainer.setting._replace(table=dataclasses.replace(explainer.table, space=space))
    rows = Rows(person.row, person.x, np.zeros(person.x.shape, bool))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tried = attempt(setting, None, rows)
    x, valid = tried.written.x[0], np.array(tried.accepted[0])  # type: Any, Any
    return Recourse(x, valid)


def compile_first(problem: Problem, shown: threading.Event, *, opens: bool) -> "Future[list[Future[Any]]]":
    """Trace in the background what the first question needs, and what its answer needs once the question is `shown`.

    The result are the programs. `opens`: a session is opened, too.
    """
    return _in_background(_compile_first, problem, shown, opens)


def _in_background(fn: Any, *args: Any) -> "Future[Any]":
    """`fn(*args)` in a thread of its own."""
    done: Future[Any] = Future()

    def work() -> None:
        try:
            done.set_result(fn(*args))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return done


def _compile_first(problem: Problem, is_shown: threading.Event, opens: bool) -> "list[Future[Any]]":
    elicitor, x = problem.elicitor, problem.x
    valid: Any = np.array(True)
    base = Recourse(x, valid)
    start = elicitor, problem.keys.start, problem.logit_fn, x, base, problem.space
    shown = programs.shapes(programs.start, *start) if opens else jax.eval_shape(programs.start, *start)
    given = elicitor, shown.state, problem.keys.propose[0], np.int32(0)
    shown = programs.shapes(programs.propose, *given)
    is_shown.wait()  # two threads that trace take turns: the question would come later
    told = programs.prepared(programs.tell, elicitor, shown.state, np.int32(0))
    return [programs.prepared(programs.propose, *given).compiled, told.compiled]


def compile_rest(name: str, problem: Problem, turn: Turn, first: "Future[Any]") -> None:
    """Compile, after what comes `first`, what an elicitor of this name can be told besides, and what is shown later."""
    _in_background(_compile_rest, name, problem, turn, first)


def _compile_rest(name: str, problem: Problem, turn: Turn, first: "Future[Any]") -> None:
    first.result()
    if hasattr(turn.state, "belief"):
        programs.prepared(outlook.outlook, turn.state)  # shown after the first answer
    for answer in telling.examples(name, problem.x):
        programs.prepared(programs.tell, problem.elicitor, turn.state, answer)
    exploring.prepare(problem, turn)
