"""A session as JSON: what was told, and the elicitor's state, so that it goes on at once. Nothing in it can run code.

The model and the table are not in it; the logits of the row and of the first recourse, and a digest of the table's
features and action space, tell whether they are the same. Arrays are base64 of their bytes, so that floats are exact.
"""

import base64
import binascii
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from hare_jax.app.explainer import Explainer
from hare_jax.app.explainer.cells import one_row
from hare_jax.app.explainer.saving import restored_fields, to_plain
from hare_jax.app.session import programs, turns
from hare_jax.app.session.file_rules import COUNTERS, FORMAT, MOST_BYTES, NAME, VERSION
from hare_jax.app.session.setup import Given
from hare_jax.app.session.showing import Person, plain
from hare_jax.app.session.turns import Problem, Turn
from hare_jax.app.session.views import Event
from hare_jax.base import Recourse, require
from hare_jax.data import Table
from hare_jax.elicit import ELICITORS
from hare_jax.elicit.saving import from_arrays, to_arrays

_PART = ".part"  # suffix of a file that is being written
_SAME = 1e-3  # logits of one model on two machines


class Saved(NamedTuple):
    """What a file is written from."""

    given: Given
    person: Person
    events: tuple[Event, ...]
    turn: Turn
    base: Any  # (d,)


def to_text(saved: Saved) -> str:
    """A session as JSON.

    Raises:
        ValueError: a hyperparameter can't be written.
    """
    given, person, turn = saved.given, saved.person, saved.turn
    arrays: dict[str, np.ndarray] = {}
    options = to_plain("hyperparameters", given.hyperparameters, arrays)
    kind = ELICITORS[given.elicitor].hyperparams
    exact = not arrays and restored_fields(kind, options, {}) == given.hyperparameters
    require(exact, "hyperparameters", "can't be written to a file", given.hyperparameters)
    found = {
        "format": FORMAT,
        "version": VERSION,
        "elicitor": given.elicitor,
        "hyperparameters": options,
        "questions": int(given.questions),
        "seed": int(given.seed),
        "method": given.base,
        "table": digest(person.explainer.table),
        "row": {str(name): scalar(value) for name, value in one_row(person.row, 0).items()},
        "logits": _logits(person, np.asarray(saved.base)),
        "events": [{"kind": event.kind, "details": event.details} for event in saved.events],
        "turn": {name: int(getattr(turn, name)) for name in COUNTERS} | {"due": bool(turn.due)},
        "base": _packed(np.asarray(saved.base)),
        "state": {name: _packed(array) for name, array in to_arrays(turn.state).items()},
    }
    return json.dumps(found, allow_nan=False)


def scalar(value: Any) -> Any:
    """A value of a row as JSON can hold it; None where it is missing."""
    value = plain(value)
    if value is None or (isinstance(value, float) and not math.isfinite(value)) or value is pd.NA:
        return None
    return value if isinstance(value, str | bool | int | float) else str(value)


def _packed(array: np.ndarray) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def _logits(person: Person, base: np.ndarray) -> list[float]:
    """The logits of the row and of the first recourse, encoded."""
    logit_fn = person.explainer.logit_fn
    return [float(logit_fn(jax.numpy.asarray(x, person.x.dtype))) for x in (person.x[0], base)]


def digest(table: Table) -> str:
    """A digest of the features of a table and of its action space."""
    space = {name: np.asarray(value).tolist() for name, value in table.space._asdict().items() if name != "relations"}
    relations = table.space.relations
    parts = {} if relations is None else {name: str(value) for name, value in vars(relations).items()}
    text = json.dumps([[repr(feature) for feature in table.features], space, parts], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write(path: str | Path, text: str) -> None:
    """Write a text to a file, which is replaced once the new one is complete."""
    path = Path(path)
    part = path.with_name(path.name + _PART)
    with part.open("w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(path)


def read(path: str | Path) -> str:
    """The text of a file that is not too large."""
    with Path(path).open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    require(len(content) <= MOST_BYTES, NAME, f"must have at most {MOST_BYTES:,} bytes", f"{len(content):,} and more")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{NAME}: must be JSON in UTF-8; got {error.reason}") from None


def given_of(found: dict[str, Any], model: Any, table: Table | None) -> Given:
    """The arguments of the saved session."""
    kind = ELICITORS[found["elicitor"]].hyperparams
    try:
        options = restored_fields(kind, found["hyperparameters"], {})
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{NAME}: must have hyperparameters of {found['elicitor']}; got {error!r}") from None
    texts = _categories(model.table if isinstance(model, Explainer) else table)
    row = {name: math.nan if value is None else texts.get((name, value), value) for name, value in found["row"].items()}
    return Given(model, table, row, found["elicitor"], found["seed"], found["questions"], found["method"], options)


def _categories(table: Table | None) -> dict[tuple[str, str], Any]:
    """The categories that are written as texts, such as intervals, by feature and text."""
    features = table.features if isinstance(table, Table) else ()
    pairs = ((feature.name, category) for feature in features for category in feature.categories)
    return {(name, str(one)): one for name, one in pairs if scalar(one) != one}


def keywords(given: Given) -> dict[str, Any]:
    """The keyword arguments of a session."""
    return {"seed": given.seed, "questions": given.questions, "base": given.base, **given.hyperparameters}


def restored(found: dict[str, Any], problem: Problem, person: Person) -> tuple[list[Event], Turn, Recourse]:
    """The events, the turn and the first recourse of a file.

    Raises:
        ValueError: the file is of another table, model or elicitor, or its arrays are not those of such a session.
    """
    table = person.explainer.table
    rule = f"must be of the table given, {table.name!r}, with its schema"
    require(found["table"] == digest(table), NAME, rule, "another")
    width = len(table.columns)
    base = _unpacked("base", found["base"])
    fits = base.shape == (width,) and base.dtype == person.x.dtype
    require(fits, NAME, f"must have base of shape ({width},) and dtype {person.x.dtype}", (base.shape, base.dtype.name))
    saved, given = np.array(found["logits"]), np.array(_logits(person, base))
    same = np.allclose(saved, given, rtol=_SAME, atol=_SAME)
    require(same, NAME, f"must be of the model given, whose logits are {given.tolist()}", saved.tolist())
    valid: Any = np.array(True)
    first = Recourse(base, valid)  # type: ignore[arg-type]
    turn = _turn(found, problem, first)
    return [Event(event["kind"], event["details"]) for event in found["events"]], turn, first


def _turn(found: dict[str, Any], problem: Problem, first: Recourse) -> Turn:
    arrays = {name: _unpacked(name, value) for name, value in found["state"].items()}
    given = problem.elicitor, problem.keys.start, problem.logit_fn, problem.x, first, problem.space
    structure = jax.eval_shape(programs.start, *given).state
    state = from_arrays(NAME, arrays, structure, problem.logit_fn, problem.space)
    require(found["turn"]["slot"] <= problem.num_slots, NAME, "must have a valid turn.slot", found["turn"]["slot"])
    return turns.resumed(problem, state, found["turn"])


def _unpacked(name: str, packed: dict[str, Any]) -> np.ndarray:
    """The array that `_packed` wrote; its floats are no NaN."""
    dtype, shape = np.dtype(packed["dtype"]), tuple(packed["shape"])
    rule = f"must have as many bytes in {name} as its shape and dtype say"
    try:
        content = base64.b64decode(packed["data"], validate=True)
    except (binascii.Error, ValueError):
        content = b""
    require(len(content) == math.prod(shape) * dtype.itemsize, NAME, rule, len(content))
    array = np.frombuffer(content, np.uint8 if dtype.kind == "b" else dtype).reshape(shape)
    require(dtype.kind != "b" or bool((array <= 1).all()), NAME, f"must have bools in {name}", "others")
    require(dtype.kind != "f" or not bool(np.isnan(array).any()), NAME, f"must have no NaN in {name}", "NaN")
    return array.astype(dtype)
