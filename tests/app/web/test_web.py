"""The web page by its HTTP: the recourse of `Session` and of `elicit.run`."""

import html
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hostile import INCOME, REFUSED, SCRIPT, begin, hidden, tell

from hare_jax import elicit, people
from hare_jax.app.compiling import quickest_jit
from hare_jax.app.session import Session
from hare_jax.app.session.dialogue import pair
from hare_jax.app.session.views import Event
from hare_jax.app.web import pages
from hare_jax.app.web.app import Talk
from hare_jax.app.web.pages import compared
from tests.loans import NUM_QUESTIONS

pytestmark = pytest.mark.usefixtures("quick_programs")


def texts(page):
    """The items of the lists of a page."""
    return [html.unescape(text) for text in re.findall(r"<li>([^<]*)</li>", page.text)]


def answered(client, explainer, kind, hidden_of):
    """A session of `Session` and one by HTTP, whose answers are those of a person; and the last page of it."""
    session = Session(explainer, None, REFUSED, seed=3, questions=NUM_QUESTIONS)
    page, x = begin(client), jnp.asarray(session.person.x[0])
    prefers = people.prefers(kind, hidden_of(x))
    while (asked := session.question()) is not None:
        assert f"Question {asked.number} of {NUM_QUESTIONS}" in page.text
        a, b = pair(session._turn)
        choice = "A" if prefers(jax.random.key(0), x, jnp.asarray(a), jnp.asarray(b)) else "B"
        session.answer(choice)
        page = tell(client, page, "answer", choice=choice)
    session.accept()
    return session, prefers, tell(client, page, "accept")


def check_recommended(page, session):
    changes = session.best().option.changes
    assert "Your choice" in page.text
    assert texts(page)[: len(changes)] == [f"{change.text[0].upper()}{change.text[1:]}." for change in changes]


PEOPLE = {
    "weights": lambda x: jnp.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    "ideal": lambda x: x.at[0].add(0.4),
}


def check_accessible(page):
    """One main heading, a label for each input, and no id twice."""
    ids = re.findall(r' id="([^"]+)"', page.text)
    assert len(set(ids)) == len(ids)
    assert page.text.count("<h1") == 1
    inputs = [tag for tag in re.findall(r"<(?:input|select)[^>]*>", page.text) if 'type="hidden"' not in tag]
    labelled = re.findall(r'<label for="([^"]+)"', page.text)
    assert all(re.search(r' id="([^"]+)"', tag)[1] in labelled for tag in inputs)


def test_a_session(client, explainer):
    session, _, page = answered(client, explainer, "weights", PEOPLE["weights"])
    for path in ("/", "/enter", *(page.url.path.replace("/best", end) for end in ("/best", "/try", "/summary"))):
        check_accessible(client.get(path))
    check_recommended(page, session)
    page = tell(client, page, "undo")
    page = tell(client, page, "undo")
    check_accessible(page)
    assert f"Question {NUM_QUESTIONS} of {NUM_QUESTIONS}" in page.text


def test_importance_and_points(service, explainer, monkeypatch):
    told = []
    for name in ("importance", "rate"):
        monkeypatch.setattr(Session, name, lambda session, *details: told.append(details))
    talk = Talk(service.session(REFUSED))
    talk.act("importance", {"feature": "x1", "over": "x0"})
    for option in ("A", "best"):
        talk.act("rate", {"option": option, "points": "6"})
    assert told == [("debt", INCOME), (6.0, "A"), (6.0, None)]
    events = Event("importance", {"feature": "debt", "over": INCOME}), Event("rate", {"value": 6.0, "option": "A"})
    harder = f"Debt{{{{ 7 * 7 }}}} is harder to change than income{SCRIPT}."
    assert pages.told(explainer, events) == (harder, "An option A has 6 points.")


@pytest.mark.slow
@pytest.mark.parametrize("kind", PEOPLE)
def test_simulated_people_by_http_get_the_recourse_of_run(client, explainer, kind):
    session, prefers, page = answered(client, explainer, kind, PEOPLE[kind])
    check_recommended(page, session)
    x, key = jnp.asarray(session.person.x[0]), jax.random.key(3)
    given = explainer.logit_fn, x, session.base_recourse, explainer.table.space
    best, _ = quickest_jit(elicit.run)(session.problem.elicitor, prefers, key, *given)
    np.testing.assert_allclose(best.x, session._turn.best.x, atol=1e-5)


def test_an_error_after_a_proposal_was_taken_leaves_no_old_question(service, monkeypatch):
    talk = Talk(service.session(REFUSED))
    talk.question()
    monkeypatch.setattr("hare_jax.app.web.pages.responded", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        talk.act("try", {"x0": "60"})
    assert talk.question() == compared(talk.session.explainer, talk.session.question(), talk.session.row)


def test_a_row_that_can_not_be_taken_is_shown_again_with_the_reason(client, service, monkeypatch):
    form = pages.fields_of(service.explainer, REFUSED | {INCOME: 119.0})
    sent = {one.name: one.value for one in form}
    page = client.post("/enter", data=hidden(client.get("/enter")) | sent)
    assert page.status_code == 400
    assert "the application would be accepted" in page.text
    assert 'value="119' in page.text

    def broken(row):
        raise ValueError("row: must be of a table; got 'none'")

    monkeypatch.setattr(service, "session", broken)
    page = client.post("/enter", data=hidden(client.get("/enter")) | sent)
    assert page.status_code == 400
    assert "could not be taken. row: must be of a table; got &#39;none&#39;." in page.text
    page = client.post("/example", data=hidden(client.get("/")) | {"example": "0"})
    assert page.status_code == 400
    assert "could not be taken. row: must be of a table" in page.text
