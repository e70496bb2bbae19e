"""Files of sessions that are damaged, of others, or crafted: a clear error for each."""

import json
import re

import pytest

from hare_jax import models
from hare_jax.app.explainer import Explainer
from hare_jax.app.session import Session

pytestmark = pytest.mark.usefixtures("quick_programs")


@pytest.fixture
def saved(session):
    session.answer("A")
    return json.loads(session.to_json())


def put(found, path, value):
    """`found` with a value at a path of keys."""
    *inner, last = path
    for key in inner:
        found = found[key]
    found[last] = value


CASES = [
    (("format",), "pickle", "must be of the format 'hare_jax session'; got 'pickle'"),
    (("version",), 1, "must have version 7; got 1"),
    (("more",), 1, "must have exactly the keys format, version"),
    (("elicitor",), "__import__", "must have a valid elicitor"),
    (("hyperparameters",), {"noise": "x"}, "noise"),
    (("hyperparameters",), {"no": 1}, "must have hyperparameters of bayes"),
    (("questions",), 5.5, "must have a valid questions"),
    (("questions",), -1, "must have a valid questions"),
    (("questions",), 2**31 - 1, "must have a valid questions"),
    (("hyperparameters",), {"probabilities": {"ideal": "x"}}, "probabilities: must be numbers; got 'x'"),
    (("hyperparameters",), {"probabilities": {"ideal": 10**400}}, "must have valid hyperparameters; got int too large"),
    (("seed",), True, "must have a valid seed"),
    (("method",), "no", "base: must be one of"),
    (("table",), "0" * 64, "must be of the table given, 'frame', with its schema"),
    (("row", "income"), {"a": 1}, "must have a valid row"),
    (("row", "income"), 10**400, "must have a valid row"),
    (("row", "income"), 119.0, "already accepted"),
    (("row", "job"), "?", "job"),
    (("logits",), [0.5, 1.0], "must be of the model given, whose logits are"),
    (("events",), "A", "must have a valid events"),
    (("events", 0, "kind"), "save", "must have events.0 with a kind of answer, rate"),
    (("events", 0, "kind"), [], "must have events.0 with a kind of answer, rate"),
    (("events",), [{"kind": "accept", "details": {}}] * 2, "must have no events after accept"),
    (("events",), [], "must have turn.num_answers answers in events; got 1"),
    (("events", 0, "details", "choice"), "C", "must have a valid events.0.choice"),
    (("events", 0, "details", "more"), "C", "must have exactly the keys events.0.choice"),
    (("turn", "slot"), 7, "must have a valid turn.slot; got 7"),
    (("turn", "due"), 1, "must have a valid turn.due"),
    (("base", "shape"), [5], "must have as many bytes in base as its shape and dtype say"),
    (("base", "dtype"), "object", "must have a valid base"),
    (("base", "data"), "AAAA", "must have as many bytes in base"),
    (("base", "data"), "AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/", "must have no NaN in base"),
    (("state", ".x", "shape"), [6, 1], "must have .x of shape (6,)"),
    (("state", ".x", "data"), "!", "must have as many bytes in .x"),
    (("state", ".more"), {"dtype": "bool", "shape": [0], "data": ""}, "these are missing or unknown; got ['.more']"),
    (("state", ".space.mutable", "data"), "AQEBAQEB", "must be of the space given, whose mutable is"),
]


@pytest.mark.parametrize(("path", "value", "message"), CASES)
def test_a_changed_file(explainer, saved, path, value, message):
    put(saved, path, value)
    with pytest.raises(ValueError, match=re.escape(message)):
        Session.from_json(json.dumps(saved), explainer)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("[1]", "must be a JSON object; got 'list'"),
        ('{"format": NaN}', "must not hold NaN"),
        (f'{{"seed": {"1" * 5000}}}', "must be JSON"),
        ("x" * (32 * 2**20 + 1), "must have at most 33,554,432 characters"),
    ],
)
def test_no_session(explainer, text, message):
    with pytest.raises(ValueError, match=re.escape(f"session file: {message}")):
        Session.from_json(text, explainer)


def test_another_model(explainer, saved):
    other = models.classifier(models.from_layers([([[3.0, -4.0, 1.0, 0.0, 0.0, 0.5]], [-1.0])]))
    with pytest.raises(ValueError, match="must be of the model given"):
        Session.from_json(json.dumps(saved), Explainer(other, explainer.table, "growing_spheres"))


def test_a_file(explainer, session, tmp_path):
    path = tmp_path / "session.json"
    session.save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["session.json"]
    assert Session.load(path, explainer).to_json() == session.to_json()
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="must be JSON in UTF-8"):
        Session.load(path, explainer)


def test_events_of_another_table_are_taken_back_in_whole_or_not(explainer, saved):
    saved["events"] = [{"kind": "veto", "details": {"features": ["pay"]}}, *saved["events"]]
    loaded = Session.from_json(json.dumps(saved), explainer)
    before = loaded.to_json()
    with pytest.raises(ValueError, match="feature: must be one of income, debt, job, owner; got 'pay'"):
        loaded.undo()
    assert loaded.to_json() == before
