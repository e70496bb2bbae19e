"""`Session` on a small table: the dialogue with one person, in original units."""

import re

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from hare_jax import data
from hare_jax.app.session import (
    CANNOT_TELL,
    AcceptedError,
    Session,
    dialogue,
    exploring,
    outlook,
    programs,
    saving,
    setup,
    telling,
    turns,
)
from hare_jax.base import Recourse
from hare_jax.data.schema import Feature
from hare_jax.elicit import Question, pool
from tests import loans

pytestmark = pytest.mark.usefixtures("quick_programs")


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
    assert session.question().number == 3
    session.answer("B")
    assert all(option.row["job"] == "none" for option in session.question().options)
    assert [event.kind for event in session.events] == ["answer", "answer", "veto", "answer"]
    best = session.accept()
    assert best.valid
    assert best.stop
    assert session.ended
    assert session.question() is None
    assert best.option.row["job"] == "none"
    assert accepts(explainer, best.option.row)
    assert 0 <= best.sure <= 1
    assert [text.partition(":")[0] for text in best.region] == ["yearly income", "debt"]
    while len(session.events) > 2:
        assert session.undo()
    assert [option.sentence for option in session.question().options] == [one.sentence for one in shown.options]


@pytest.mark.slow
def test_everything_that_can_be_told(explainer, session):
    before = session.best()
    session.range("income", upper=60)
    session.rate(1)
    session.rate(2, "B")
    session.importance("debt", "income")
    session.answer("B")
    for option in (*session.question().options, session.best().option):
        assert option.row["income"] <= 60
        assert accepts(explainer, option.row)
    assert [event.kind for event in session.events] == ["range", "rate", "rate", "importance", "answer"]
    saved = session.to_json()
    assert Session.from_json(saved, explainer).best().option.sentence == session.best().option.sentence
    while session.undo():
        pass
    assert session.best().option.sentence == before.option.sentence


def test_a_new_base_where_no_known_recourse_is_left(explainer, session):
    session.veto("income")
    session.veto("debt", "job")
    assert session.question() is None
    best = session.best()
    assert not best.valid
    assert best.reason == "no valid recourse is known that keeps all vetoes and ranges"
    assert session.undo()
    turn = session._turn
    lost = turn._replace(best=turn.best._replace(valid=np.array(False)))
    found = session._within_reach(lost)
    assert found.best.valid
    assert found.best.x[0] == session.problem.x[0]
    assert session._with_question(found).question.asked


def test_options_that_look_the_same_are_not_proposed_again(refused, monkeypatch):
    monkeypatch.setattr(setup, "compile_rest", lambda *args: None)
    rows = [loans.applicants(*given) for given in ((200, 0), (20, 1))]
    rows = [frame.assign(income=(frame["income"] / 20).astype(int)) for frame in rows]
    explainer = loans.explainer(*rows, loans.FEATURES | {"income": {"type": "continuous", "range": [0, 6]}})
    row = refused | {"income": 1}
    session = Session(explainer, None, row, seed=1, questions=20, probabilities={"ideal": 1.0})
    asked = 0
    while (question := session.question()) is not None:
        a, b = (option.row for option in question.options)
        assert dict(a) != dict(b)
        assert accepts(explainer, a)
        assert accepts(explainer, b)
        far_a, far_b = (abs(row["income"] - 3) / 5 + abs(row["debt"] - 3) / 20 for row in (a, b))
        session.answer("A" if far_a < far_b else "B")
        asked += 1
    assert asked == 20


def test_the_base_and_the_recommendation_are_left_out_of_one_proposal_alone(session):
    session.answer("A")
    session.answer("B")
    parts = session._turn.state.pool
    base, drawn = parts.base, parts.drawn
    other = np.flatnonzero(drawn.valid & np.any(np.asarray(drawn.x) != np.asarray(base.x), axis=1))[0]
    best = Recourse(drawn.x[other], drawn.valid[other])
    turn = session._turn._replace(state=session._turn.state._replace(pool=parts._replace(best=best)), best=best)
    turn = turn._replace(question=Question(np.asarray(base.x), np.asarray(best.x), np.array(True)))
    without = ()
    for unfit in ((1, 0), (0,)):  # they look the same; the base is refused
        without += (turns.left_out(turn, unfit),)
        new = turns.hidden(session.problem, turn, without)
        assert new.question.asked
        shown = new.question.a, new.question.b
        assert not any(np.array_equal(option, one) for option in shown for one in without)
        np.testing.assert_array_equal(pool.members(new.state.pool).valid, pool.members(turn.state.pool).valid)
        np.testing.assert_array_equal(new.best.x, best.x)
        assert (new.slot, new.num_answers) == (turn.slot, turn.num_answers)
    np.testing.assert_array_equal(without, [best.x, base.x])


def test_a_question_is_found_where_the_base_and_the_recommendation_are_refused(session, monkeypatch):
    session.answer("A")
    turn, written = session._turn, dialogue.showing.written
    kept = [np.asarray(one.x) for one in (turn.state.pool.base, turn.state.pool.best)]

    def refusing(person, options):
        found = written(person, options)
        refused = [any(np.array_equal(option, one) for one in kept) for option in np.asarray(options)]
        return found._replace(logit=np.where(refused, -1.0, found.logit))

    monkeypatch.setattr(dialogue.showing, "written", refusing)
    new = session._with_question(turn._replace(due=True))
    assert new.question.asked
    assert not any(np.array_equal(option, one) for option in (new.question.a, new.question.b) for one in kept)


@pytest.mark.slow
def test_a_model_on_the_host(tmp_path):
    sklearn = pytest.importorskip("sklearn.ensemble", reason="sklearn is not installed")
    rows = pd.DataFrame({"income": np.arange(10.0, 90.0), "debt": np.tile([0, 5, 10, 15], 20)})
    rows["paid"] = (rows["income"] - 2 * rows["debt"] > 30).astype(int)
    features = {"income": {"type": "continuous"}, "debt": {"type": "continuous"}}
    table = data.from_frame(rows, {"target": "paid", "features": features}, test=rows)
    model = sklearn.RandomForestClassifier(10, random_state=0).fit(rows[["income", "debt"]], rows["paid"])
    session = Session(model, table, rows.iloc[0], questions=3, probabilities={"ideal": 1.0})
    shown = session.question()
    assert all(model.predict(option.row[["income", "debt"]].to_frame().T)[0] == 1 for option in shown.options)
    assert 0 <= session.explore({"income": 60}).probability <= 1
    session.answer("A")
    session.save(tmp_path / "session.json")
    loaded = Session.load(tmp_path / "session.json", model, table)
    assert loaded.best().option.sentence == session.best().option.sentence


@pytest.mark.slow
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
    session.veto("income")
    ruled_out = session.explore({"income": 110})
    assert ruled_out.accepted
    assert not ruled_out.allowed
    assert ruled_out.problems == ("changes of yearly income are ruled out",)
    assert ruled_out.nearest is None or ruled_out.nearest.row["income"] == 20


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
        (lambda session: session.range("income", 10**400), "lower: must be a finite number; got 1000"),
        (lambda session: session.explore({"income": 10**400}), "changes: of income must be a finite number"),
        (lambda session: session.explore({}), "changes: must be a dict of feature to value, not empty"),
        (lambda session: session.explore({"job": "?"}), "changes: of job must be one of full, half, none; got '?'"),
    ],
)
def test_what_is_told_is_checked(session, call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(session)


def test_nothing_is_asked_that_no_answer_fits(session, monkeypatch):
    monkeypatch.setattr(telling, "room", lambda turn: 1 - int(turn.state.belief.num_told))
    assert session.question() is not None
    session.importance("debt", "income")
    assert session.question() is None
    with pytest.raises(ValueError, match="choice: must be the answer to a question; none is left"):
        session.answer("A")


def test_categories_are_known_by_value_by_text_and_from_a_file():
    coded = Feature("owner", "categorical", True, 0, "", "owner", categories=(0, 1))
    assert [exploring._value(coded, value) for value in (1, 1.0, "1")] == [1, 1, 1]
    with pytest.raises(ValueError, match="of owner must be one of 0, 1; got <NA>"):
        exploring._value(coded, pd.NA)
    rows = pd.DataFrame({"age": pd.cut([20, 40, 60, 30], [0, 35, 70]), "paid": [0, 1, 1, 0]})
    schema = {"target": "paid", "features": {"age": {"type": "categorical"}}}
    known = saving._categories(data.from_frame(rows, schema, test=rows))
    assert known == {("age", str(one)): one for one in rows["age"].cat.categories}
    assert outlook._levels(coded, np.array([1.0, 1.0, np.nan, 1.0])) == "owner: 1 or missing"


def test_arguments_are_checked(explainer, refused):
    with pytest.raises(AcceptedError, match="row: is already accepted: it needs no recourse; got"):
        Session(explainer, None, refused | {"income": 110.0})
    with pytest.raises(ValueError, match="elicitor: must be one of"):
        Session(explainer, None, refused, "guess")
    with pytest.raises(ValueError, match="row: must be one row; got '2 rows'"):
        Session(explainer, None, pd.DataFrame([refused, refused]))
    with pytest.raises(ValueError, match="questions: must be a whole number from 1 to 1,000; got 1001"):
        Session(explainer, None, refused, questions=1001)


def test_others_take_answers_alone(explainer, refused):
    session = Session(explainer, None, refused, "single", seed=1, questions=3)
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


def test_few_turns_are_kept_and_undo_goes_back_all_the_same(session, monkeypatch):
    monkeypatch.setattr(dialogue, "_NUM_KEPT", 2)
    monkeypatch.setattr(dialogue, "MOST_EVENTS", 6)
    texts = [session.to_json()]
    for tell in (lambda: session.answer("A"), lambda: session.veto("job"), lambda: session.answer("B")):
        tell()
        texts.append(session.to_json())
    session.veto("job")
    session.veto("job")
    assert [turn is None for turn in session._turns] == [True] * 4 + [False] * 2
    with pytest.raises(ValueError, match="session: must have at most 6 events"):
        session.veto("job")
    session.accept()
    for _ in range(3):
        assert session.undo()
    for text in reversed(texts):
        assert session.to_json() == text
        session.undo()
    assert not session.ended


def test_a_program_that_fails_is_raised_wherever_it_is_awaited(monkeypatch):
    def broken(*args):
        raise RuntimeError("no thread")

    monkeypatch.setattr(programs._pool, "submit", broken)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no thread"):
            programs.call(jnp.negative, np.float32(1))
