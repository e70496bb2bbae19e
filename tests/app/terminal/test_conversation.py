"""The dialogue in a terminal, with a session that only records what it is told."""

import io
import os
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from hare_jax import Explainer, data, models
from hare_jax.app.commands import ask
from hare_jax.app.session import Asked, Best, Change, Difference, Exploration, Option
from hare_jax.app.terminal import Conversation, Reader, reading
from tests import loans

ROWS = pd.DataFrame(
    {"income": [20.0, 90.0, 40.0], "debt": [10, 2, 3], "job": ["none", "full", "half"], "owner": ["no", "yes", "no"]}
)
RAISE = Change("income", "yearly income", "thousand $", 20.0, 62.0, "raise yearly income from 20 to 62 thousand $")
HIRED = Change("job", "job", "", "none", "full", "change job from none to full")
LOWER = Change("debt", "debt", "", 10, 4, "lower debt from 10 to 4")


class FakeSession:
    elicitor = "bayes"

    def __init__(self, explainer, of=3):
        self.explainer, self.of, self.row = explainer, of, ROWS.iloc[0]
        self.events, self.ended = [], False

    def question(self):
        number = 1 + sum(kind == "answer" for kind, *_ in self.events)
        if number > self.of:
            return None
        options = (Option("A", self.row, (RAISE, LOWER), "A"), Option("B", self.row, (HIRED, LOWER), "B"))
        different = Difference("income", "", "", (62, 20.0)), Difference("job", "", "", ("none", "full"))
        return Asked(number, self.of, options, different)

    def answer(self, choice):
        self.events.append(("answer", choice))

    def veto(self, *names):
        self.events.append(("veto", names))

    def range(self, *limits):
        if limits[1] == 200:
            raise ValueError("range: of income must meet its values")
        self.events.append(("range", limits))

    def importance(self, name, over):
        self.events.append(("importance", name, over))

    def rate(self, value, option):
        self.events.append(("rate", value, option))

    def explore(self, changes):
        self.events.append(("explore", changes))
        near = Option("", self.row, (HIRED,), "change job from none to full")
        return Exploration(False, 0.25, False, ("debt may only fall",), near, "")

    def undo(self):
        return bool(self.events) and bool(self.events.pop())

    def best(self):
        option = Option("recommendation", self.row, (RAISE, LOWER), f"{RAISE.text}; {LOWER.text}")
        return Best(option, True, 0.82, ("yearly income: 55 to 70 thousand $",), True, "enough", len(self.events))

    def accept(self):
        self.ended = True

    def save(self, path):
        path.write_text(str(len(self.events)))


@pytest.fixture(scope="module")
def explainer():
    rows = ROWS.assign(paid=["no", "yes", "no"])
    return loans.explainer(rows, rows)


@pytest.fixture
def told(explainer):
    """A function of lines: the session afterwards, and what was printed."""

    def run(*lines, save=None, of=3):
        session, console = FakeSession(explainer, of), Console(file=io.StringIO(), width=100)
        Conversation(session, console, Reader(io.StringIO("".join(f"{line}\n" for line in lines))), save).run()
        return session, console.file.getvalue()

    return run


def test_a_question_is_a_table_of_what_differs_and_what_changes(told):
    _, out = told()
    assert "Question 1 of at most 3" in out
    rows = {line.split("  ")[0].strip(): line.split() for line in out.splitlines()}
    assert rows["yearly income, thousand $"][-3:] == ["20", "62", "·"]
    assert rows["job"][-3:] == ["none", "·", "full"]
    assert rows["debt"][-3:] == ["10", "4", "4"]
    assert "owner" not in rows
    assert "v rule out" in out


def test_texts_of_a_file_send_no_escape_sequences(told, explainer, monkeypatch):
    sequence = "\x1b[2J\x9b2J"
    labelled = {name: one._replace(label=one.label + sequence) for name, one in explainer.features.items()}
    monkeypatch.setattr(explainer, "features", labelled)
    monkeypatch.setattr(Option, "sentence", f"any{sequence}")
    _, out = told("v", "", f"w income{sequence} = 3", f"v {sequence}", "w income = 30", "y")
    assert "yearly income[2J2J, thousand $" in out
    assert not {"\x1b", "\x9b"} & set(out)


def test_answers_and_the_end(told):
    session, out = told("a", "b", "?", "a", "y")
    assert session.events == [("answer", "A"), ("answer", "B"), ("answer", "can't tell")]
    assert "'A is better' is not possible now" in out
    before, _, end = out.partition("What to change")
    assert "Best for you so far (82% sure that nothing you have seen suits you better): raise" in " ".join(
        before.split()
    )
    assert "You can stop here: enough." in before
    assert "Raise yearly income from 20 to 62 thousand $.\nLower debt from 10 to 4.\n" in end
    assert "after 3 answers: with 82% probability" in " ".join(end.split())
    assert "yearly income: 55 to 70 thousand $" in " ".join(end.split())


def test_what_is_told_besides_on_one_line_or_on_two(told):
    session, out = told("v", "2, job", "r debt - 5", "w income = 30, job = half", "u", "u", "r", "", "q")
    assert session.events == [("veto", ("debt", "job"))]
    assert "  1  yearly income: 0 to 120 thousand $\n  2  debt: 2 to 10\n  3  job: full / half / none\n" in out
    assert "refused (probability of acceptance 25%)" in out
    assert "It is not possible: debt may only fall." in out
    assert "The nearest that would be accepted: change job from none to full." in out
    assert "This counts" in out


def test_importance_and_ratings(told):
    session, out = told("i", "job > 1", "harder debt than job", "t a 7", "rate", "-2.5", "t", "", "q")
    importance = [("importance", "job", "income"), ("importance", "debt", "job")]
    assert session.events == [*importance, ("rate", 7.0, "A"), ("rate", -2.5, None)]
    assert out.count("Rated.") == 2


def test_wrong_input_is_one_line_and_the_question_again(told):
    for line, message in (
        ("x", "'x' is none of the keys"),
        ("v pay", "'pay' is none of: yearly income, debt, job"),
        ("r income 200 300", "range: of income must meet its values"),
        ("i income", "'income' is not two names"),
        ("t a b", "'b' must be a number"),
        ("t a 1 2", "'a 1 2' is not a or b and a number"),
        ("w income", "'income' is not a name, = and a value"),
        ("s /no/such/folder/file", "not saved: "),
    ):
        session, out = told(line)
        assert session.events == []
        before, found, after = out.partition(message)
        assert found
        assert before.count("Question 1") == after.count("Question 1") == 1


def test_nothing_to_undo_and_help(told):
    _, out = told("u", "h")
    assert "There is nothing to undo." in out
    assert "take back the last thing you told" in out


def test_what_an_elicitor_does_not_take_is_not_offered(told, monkeypatch):
    monkeypatch.setattr(FakeSession, "elicitor", "single")
    session, out = told("v debt")
    assert session.events == []
    assert "'rule out a change' is not possible here" in out
    assert not any(text in out for text in ("v rule out", "i which", "t rate"))


def test_the_session_is_saved_after_each_event(told, tmp_path):
    file = tmp_path / "session.json"
    _, out = told("a", "b", "q", save=file)
    assert file.read_text() == "2"
    assert f"--resume {file}\n" in out
    told("a", f"q {tmp_path / 'other.json'}")
    assert (tmp_path / "other.json").read_text() == "1"


def test_no_other_file_is_overwritten(told, tmp_path):
    other, own = tmp_path / "loans.csv", tmp_path / "session.json"
    other.write_text("income,debt")
    _, out = told("a", f"s {other}", f"s {own}", "b", f"s {own}")
    assert "file: must be new, or one of this session" in out
    assert (other.read_text(), own.read_text()) == ("income,debt", "2")


class Keys:
    """A terminal in which these keys are pressed, and these lines entered."""

    by_key = True

    def __init__(self, keys, lines):
        self.command, self.line = iter(keys).__next__, iter(lines).__next__


def test_ctrl_d_with_a_file_that_cannot_be_written_loses_nothing(explainer, tmp_path):
    session, console = FakeSession(explainer), Console(file=io.StringIO(), width=100)
    lines = [str(tmp_path / "none" / "session.json"), "x" * 300, str(tmp_path / "session.json")]
    Conversation(session, console, Keys(["a", None, "q", "q"], lines), None).run()
    assert console.file.getvalue().count("not saved: ") == 2
    assert (tmp_path / "session.json").read_text() == "1"


def test_where_the_file_cannot_be_written_another_is_asked_for(explainer, tmp_path):
    session, console = FakeSession(explainer), Console(file=io.StringIO(), width=100)
    kept = Conversation(session, console, Keys(["a", "q", None], [str(tmp_path / "new.json")]), tmp_path / "none" / "s")
    kept.run()
    assert "not saved: " in console.file.getvalue()
    assert (tmp_path / "new.json").read_text() == "1"


def test_a_terminal_that_is_gone_is_the_end(monkeypatch):
    pty = pytest.importorskip("pty")
    theirs, ours = pty.openpty()
    read = os.read

    def read_of_a_closed_one(descriptor, num):
        os.close(theirs)
        return read(descriptor, num)

    monkeypatch.setattr(reading.os, "read", read_of_a_closed_one)
    with open(ours) as stream:
        reader = Reader(stream)
        assert reader.by_key
        assert reader.command() is None
        assert not reader.by_key


def test_rows_may_lack_derived_columns():
    rows = ROWS[["income", "debt"]].assign(paid=[0, 1, 0])
    derived = {"type": "derived", "formula": "debt / income"}
    features = {"income": {"type": "continuous"}, "debt": {"type": "continuous"}, "dti": derived}
    table = data.from_frame(rows, {"target": "paid", "features": features}, test=rows)
    logit_fn = models.classifier(models.from_layers([([[1.0, 0.0, 0.0]], [-0.5])]))
    explainer = Explainer(logit_fn, table)
    assert ask.row_of(ask.Ask(), explainer, rows.set_axis([1, 2, 3], axis=0)).index.tolist() == [1]


def test_the_row_is_the_first_that_is_refused_or_that_of_the_options(explainer):
    rows = ROWS.iloc[[1, 0, 2]].set_axis([1, 2, 3], axis=0)
    assert ask.row_of(ask.Ask(), explainer, rows).index.tolist() == [2]
    assert ask.row_of(ask.Ask(row=3), explainer, rows).index.tolist() == [3]
    with pytest.raises(ValueError, match="row: must be the number of a row, from 1 to 3; got 4"):
        ask.row_of(ask.Ask(row=4), explainer, rows)
    with pytest.raises(ValueError, match="file: must have a row that the model refuses; got '1 rows'"):
        ask.row_of(ask.Ask(), explainer, rows.iloc[:1])


def test_the_number_of_a_row_is_not_made_up(explainer):
    session = FakeSession(explainer)
    assert ", row 0: this person" in ask._about(ask.Ask(), session)
    assert ", row" not in ask._about(ask.Ask(resume=Path("session.json")), session)


def test_what_would_be_refused_is_not_recommended(told, monkeypatch):
    usual = FakeSession.best
    monkeypatch.setattr(FakeSession, "best", lambda session: usual(session)._replace(valid=False))
    _, out = told("a", "y")
    assert "With what you ruled out, no change was found" in out
    assert "Best for you" not in out
    assert "What to change" not in out
