"""The web page by its HTTP: the same recourse as `Session` and `elicit.run`, and what a person can do."""

import html
import re

import jax
import jax.numpy as jnp
import pytest

from hare_jax import people
from hare_jax.app.session import Session
from tests.app.web.conftest import NUM_QUESTIONS, REFUSED, begin, tell

pytestmark = pytest.mark.usefixtures("quick_programs")


def texts(page):
    """The items of the lists of a page."""
    return [html.unescape(text) for text in re.findall(r"<li>([^<]*)</li>", page.text)]


def answered(client, explainer, prefers):
    """A session of `Session` and one by HTTP with the same answers, and the sentences that the page shows in the end."""
    session = Session(explainer, None, REFUSED, seed=3, questions=NUM_QUESTIONS)
    page, x = begin(client), session.person.x[0]
    while (asked := session.question()) is not None:
        assert f"Question {asked.number} of {NUM_QUESTIONS}" in page.text
        frames = (option.row.to_frame().T.infer_objects() for option in asked.options)
        a, b = (explainer.table.encode(frame)[0] for frame in frames)
        choice = "A" if prefers(jax.random.key(0), jnp.asarray(x), a, b) else "B"
        session.answer(choice)
        page = tell(client, page, "answer", choice=choice)
    session.accept()
    return session, tell(client, page, "accept")


def test_a_session(client, explainer):
    session, page = answered(client, explainer, people.prefers("weights", jnp.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0])))
    assert "Your choice" in page.text
    changes = session.best().option.changes
    assert texts(page)[: len(changes)] == [f"{change.text[0].upper()}{change.text[1:]}." for change in changes]
    page = tell(client, page, "undo")
    page = tell(client, page, "undo")
    assert f"Question {NUM_QUESTIONS} of {NUM_QUESTIONS}" in page.text
