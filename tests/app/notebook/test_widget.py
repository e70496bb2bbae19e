"""The widget of a session, clicked by code; and the same answers by each way."""

import io
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

from hare_jax import elicit, people
from hare_jax.app.notebook import ask
from hare_jax.app.session import CANNOT_TELL, Session
from hare_jax.app.session.showing import written
from hare_jax.app.terminal import Conversation, Reader
from hare_jax.base import Recourse
from tests import loans
from tests.loans import NUM_QUESTIONS, REFUSED

FEATURES = loans.FEATURES | {"income": loans.FEATURES["income"] | {"label": "yearly <b>income</b>"}}
pytestmark = [pytest.mark.usefixtures("quick_programs"), pytest.mark.slow]


@pytest.fixture(scope="module")
def explainer():
    return loans.explainer(loans.applicants(200, 0), loans.applicants(20, 1), FEATURES)


@pytest.fixture
def session(explainer):
    return Session(explainer, None, REFUSED, seed=1, questions=NUM_QUESTIONS)


def test_buttons(session):
    asking = ask(session)
    buttons = asking.buttons
    assert "Question 1 of at most 6" in asking.page.value
    assert "yearly &lt;b&gt;income&lt;/b&gt;, thousand $" in asking.page.value
    buttons["undo"].click()
    assert "There is nothing to undo." in asking.message.value
    buttons["B"].click()
    assert "Question 2 of at most 6" in asking.page.value
    assert "Best for you so far (" in asking.page.value
    buttons[CANNOT_TELL].click()
    asking.vetoed.value = "job"
    buttons["veto"].click()
    assert "Question 3 of at most 6" in asking.page.value
    asking.tried.value, asking.value.value = "income", "21"
    buttons["what if"].click()
    assert "would be refused (probability" in asking.message.value
    asking.value.value = "much"
    buttons["what if"].click()
    assert "must be a number such as 30,000 or 12.5" in asking.message.value.replace("&#x27;", "'")
    kinds = [event.kind for event in session.events]
    assert kinds[:3] == ["answer", "answer", "veto"]
    buttons["accept"].click()
    assert "What to change" in asking.page.value
    assert [name for name, button in buttons.items() if not button.disabled] == ["undo"]
    assert session.ended
    assert session.best().option.row["job"] == "none"


def test_without_ipywidgets(session, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "hare_jax.app.notebook.widget", raising=False)
    monkeypatch.delattr("hare_jax.app.notebook.widget", raising=False)
    with pytest.raises(ImportError, match=r"ask: needs the ipywidgets package: pip install 'hare-jax\[notebooks\]'"):
        ask(session)
    with pytest.raises(ValueError, match="session: must be a Session"):
        ask("session")


def test_the_same_answers_give_the_same_recourse(explainer, session):
    """By `elicit.run` for a simulated person, and as told to a `Session`, in a terminal and by the widget.

    All questions of this person can be shown: a session would ask others in the place of those that can't.
    """
    session.prepare()
    problem, base = session.problem, session.base_recourse
    prefers = people.prefers("ideal", np.asarray([0.3, 0.1, 0.0, 1.0, 0.0, 0.0], np.float32))
    asked = []

    def noted(key, x, a, b):
        answer = prefers(key, x, a, b)
        jax.debug.callback(lambda one: asked.append("AB"[int(not one)]), answer, ordered=True)
        return answer

    given = problem.logit_fn, jax.numpy.asarray(problem.x), Recourse(*map(jax.numpy.asarray, base)), problem.space
    found, _ = elicit.run(problem.elicitor, noted, jax.random.key(1), *given)
    jax.effects_barrier()
    expected = written(session.person, np.asarray(found.x)[None]).frame.iloc[0].to_dict()
    assert len(asked) == NUM_QUESTIONS

    for choice in asked:
        session.answer(choice)
    assert session.accept().option.row.to_dict() == expected

    typed = Session(explainer, None, REFUSED, seed=1, questions=NUM_QUESTIONS)
    lines = io.StringIO("\n".join([*asked, "y"]).lower() + "\n")
    Conversation(typed, Console(file=io.StringIO()), Reader(lines), None).run()
    assert typed.best().option.row.to_dict() == expected

    clicked = Session(explainer, None, REFUSED, seed=1, questions=NUM_QUESTIONS)
    asking = ask(clicked)
    for choice in (*asked, "accept"):
        asking.buttons[choice].click()
    assert clicked.best().option.row.to_dict() == expected
