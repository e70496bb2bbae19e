"""`Session` on a small table: the dialogue with one person, in original units."""

import numpy as np
import pandas as pd
import pytest

from hare_jax import data, models
from hare_jax.app.explainer import Explainer
from hare_jax.app.session import CANNOT_TELL, Session

FEATURES = {
    "income": {"type": "continuous", "range": [0, 120], "unit": "thousand $", "label": "yearly income"},
    "debt": {"type": "ordered", "direction": "down"},
    "job": {"type": "categorical"},
    "owner": {"type": "categorical", "mutable": False},
}
SCHEMA = {"target": "paid", "positive": "yes", "features": FEATURES}
REFUSED = {"income": 20.0, "debt": 10, "job": "none", "owner": "no"}
pytestmark = pytest.mark.usefixtures("quick_programs")


def applicants(num, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"income": rng.integers(10, 100, num) / 1.0, "debt": rng.integers(0, 20, num)})
    frame["job"] = rng.choice(["full", "half", "none"], num)
    frame["owner"] = rng.choice(["no", "yes"], num)
    worth = frame["income"] / 100 - frame["debt"] / 20 + 0.3 * (frame["job"] == "full")
    frame["paid"] = np.where(worth > 0.2, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def explainer():
    """A linear model of income, debt, the three jobs and the owner."""
    table = data.from_frame(applicants(200, 0), SCHEMA, test=applicants(20, 1))
    logit_fn = models.classifier(models.from_layers([([[4.0, -4.0, 1.0, 0.0, 0.0, 0.5]], [-1.0])]))
    return Explainer(logit_fn, table, "growing_spheres")


@pytest.fixture
def session(explainer):
    return Session(explainer, None, REFUSED, seed=1, questions=6)


def accepts(explainer, row):
    frame = row.to_frame().T.infer_objects()
    return float(explainer.logit_fn(explainer.table.encode(frame)[0])) >= 0


def test_a_dialogue(explainer, session):
    asked = session.question()
    assert (asked.number, asked.of, [option.label for option in asked.options]) == (1, 6, ["A", "B"])
    assert asked.differences
    for option in asked.options:
        assert option.changes
        assert accepts(explainer, option.row)
        assert option.row["owner"] == "no"
        assert option.row["debt"] <= 10
    session.answer("A")
    session.answer(CANNOT_TELL)
    assert (session.num_answers, session.question().number) == (2, 3)
    shown = session.question()
    session.veto("job")
    session.range("income", upper=60)
    session.rate(1)
    session.rate(2, "B")
    session.importance("debt", "income")
    session.answer("B")
    after = session.question()
    assert all(option.row["job"] == "none" and option.row["income"] <= 60 for option in after.options)
    kinds = [event.kind for event in session.events]
    assert kinds == ["answer", "answer", "veto", "range", "rate", "rate", "importance", "answer"]
    best = session.accept()
    assert best.valid
    assert best.stop
    assert session.ended
    assert session.question() is None
    assert best.option.row["job"] == "none"
    assert accepts(explainer, best.option.row)
    assert 0 <= best.sure <= 1
    assert best.region
    while len(session.events) > 2:
        assert session.undo()
    again = session.question()
    assert [option.sentence for option in again.options] == [option.sentence for option in shown.options]


def test_a_proposal(explainer, session):
    found = session.explore({"income": 21})
    assert not found.accepted
    assert found.allowed
    assert found.probability < 0.5
    assert not found.problems
    assert accepts(explainer, found.nearest.row)
    wrong = session.explore({"debt": 15, "owner": "yes"}, counts=False)
    assert wrong.problems == ("debt may only fall", "owner can't be changed")
    assert session.explore({"income": 110}).accepted


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda session: session.answer("C"), "choice: must be one of 'A', 'B', \"can't tell\"; got 'C'"),
        (lambda session: session.veto("pay"), "feature: must be one of income, debt, job, owner; got 'pay'"),
        (lambda session: session.veto(), "features: must name at least one feature; got ()"),
        (lambda session: session.range("job", 1), "feature: must be a number with a range, one of income, debt"),
        (lambda session: session.range("income", 5, 1), "range: of income must have lower at most upper"),
        (lambda session: session.range("income", 30_000), "range: of income must meet its values, 0 to 120"),
        (lambda session: session.range("income", float("nan")), "lower: must be a finite number; got nan"),
        (lambda session: session.importance("owner", "debt"), "importance: must be of features that can change"),
        (lambda session: session.rate(1, "C"), "option: must be None or one of A, B; got 'C'"),
        (lambda session: session.explore({}), "changes: must be a dict of feature to value, not empty"),
        (lambda session: session.explore({"job": "?"}), "changes: of job must be one of full, half, none; got '\\?'"),
    ],
)
def test_what_is_told_is_checked(session, call, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        call(session)


def test_arguments_are_checked(explainer):
    with pytest.raises(ValueError, match="already accepted"):
        Session(explainer, None, REFUSED | {"income": 110.0})
    with pytest.raises(ValueError, match="elicitor: must be one of"):
        Session(explainer, None, REFUSED, "guess")
    with pytest.raises(ValueError, match="row: must be one row; got '2 rows'"):
        Session(explainer, None, applicants(2, 0))


def test_others_take_answers_alone(explainer):
    session = Session(explainer, None, REFUSED, "single", seed=1, questions=3)
    with pytest.raises(ValueError, match="elicitor single: vetoes can't be told to it: it takes answers"):
        session.veto("job")
    while (asked := session.question()) is not None:
        assert all(accepts(explainer, option.row) for option in asked.options)
        session.answer("B")
    best = session.best()
    assert best.valid
    assert best.stop
    assert best.sure is None
    assert best.reason == "no question is left"


def test_a_saved_session_goes_on(explainer, session, tmp_path):
    session.answer("A")
    session.veto("job")
    session.save(tmp_path / "session.json")
    loaded = Session.load(tmp_path / "session.json", explainer)
    assert loaded.events == session.events
    assert loaded.question().options[0].sentence == session.question().options[0].sentence
    for one in (session, loaded):
        one.answer("B")
    assert loaded.to_json() == session.to_json()
    for _ in range(3):
        assert loaded.undo()
        assert session.undo()
    assert not loaded.undo()
    assert loaded.to_json() == session.to_json()
