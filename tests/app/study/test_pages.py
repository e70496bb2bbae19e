"""The pages of a study by their HTTP, by simulated people."""

import sqlite3

import jax.numpy as jnp
import numpy as np
import pytest

from hare_jax.app.session import Session
from hare_jax.app.study import assigning, database, exporting
from tests import loans
from tests.app.study.small import Server, Simulated
from tests.loans import NUM_QUESTIONS

pytestmark = pytest.mark.usefixtures("quick_programs")


@pytest.fixture(scope="module")
def explainer():
    return loans.explainer()


@pytest.fixture
def server(explainer, tmp_path):
    found = Server(explainer, tmp_path)
    with found.client:
        yield found
    found.database.close()


@pytest.fixture
def person(server):
    return Simulated(server, jnp.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0]))


def cards(page):
    return page.text.partition('<div class="cards">')[2].partition("</form>")[0]


def test_a_person_from_consent_to_thanks(server, person):
    assert "&lt;b&gt;loans" in person.page.text
    assert "Nothing is stored before you begin" in person.page.text
    ticket = person.fields()
    assert person.send("begin").status_code == 400
    person.send("begin", consent="yes")
    again = server.client.post("/begin", data=ticket | {"consent": "yes"})
    assert again.url.path != person.page.url.path  # another ticket, another person
    assert server.client.post("/begin", data=ticket | {"consent": "yes"}).url.path == again.url.path
    assert server.client.post("/begin", data={"csrf": "x" * 122, "consent": "yes"}).status_code == 403
    assert "whole number" in person.send("before", i0="40.5").text
    person.send("before", i0="40")
    assert "20" in person.page.text
    person.send("row")
    assert f"Question 1 of {NUM_QUESTIONS + 1}" in person.page.text
    assert person.send("answer", choice="C").status_code == 400
    first = person.fields()
    person.answer()
    assert f"Question 2 of {NUM_QUESTIONS + 1}" in person.page.text
    twice = server.client.post(f"{person.page.url.path}/answer", data=first | {"choice": "B"})
    assert f"Question 2 of {NUM_QUESTIONS + 1}" in twice.text
    assert "Two ways" in person.answer_all().text
    early = server.client.get(f"/p/{person.link}/summary")
    assert "Two ways" in early.text  # which of the two is the recommendation is not told before they are rated
    person.finish()
    assert "Thank you" in person.page.text
    assert "<title>Summary" in server.client.get(f"/p/{person.link}/summary").text
    found = exporting.tables(server.database)
    num = len(found.answers)  # a tournament may need fewer than the questions that are allowed
    assert 3 <= num <= NUM_QUESTIONS + 1
    assert found.answers["number"].tolist() == [*range(1, num + 1)]
    assert found.answers["repeats"].tolist()[-1] == 2
    one = found.people.iloc[0]
    assert (one["answers"], one["before_age"], one["after_note"]) == (num - 1, 40, "'=fine")
    person.send("withdraw")
    assert "deleted" in server.client.get(f"/p/{person.link}").text
    assert len(exporting.tables(server.database).answers) == 0
    left = [path for path in server.database.path.parent.glob("study.db*") if b"=fine" in path.read_bytes()]
    assert left == []


def test_a_new_process_goes_on(server, person, explainer, tmp_path):
    """Another process opens the file: forms of open pages are taken, and the next question is the same."""
    person.begin()
    person.answer()
    shown = cards(person.page)
    other = Server(explainer, tmp_path)
    with other.client:
        person.server, person.client = other, other.client
        assert cards(other.client.get(person.page.url.path)) == shown
        person.finish()
        assert "Thank you" in person.page.text
    number = server.conduct.store.find(person.link).number
    arm, seed = assigning.arm_of(server.study, number), assigning.seed_of(server.study, number)
    row = server.conduct.assigned(server.conduct.store.find(person.link))
    options = {"seed": seed, "questions": arm.questions, **arm.hyperparameters}
    session = Session(explainer, None, row, arm.elicitor, **options)
    answers = exporting.tables(other.database).answers
    for choice in answers["choice"][answers["repeats"].isna()]:
        session.answer(choice)
    assert exporting.tables(other.database).people["recommendation"][0] == session.best().option.sentence
    other.database.close()


def test_what_cannot_be_stored_is_a_page(server, person, monkeypatch):
    person.begin()
    path, form = person.page.url.path, person.fields() | {"choice": "A"}
    monkeypatch.setattr(database, "TIMEOUT", 0.01)
    server.database.close()
    other = sqlite3.connect(server.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    found = server.client.post(f"{path}/answer", data=form)
    assert found.status_code == 503
    assert "Nothing of what you told us before is lost" in found.text
    other.execute("ROLLBACK")
    other.close()
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, "max_page_count = 1"))
    server.database.close()
    assert server.client.post(f"{path}/answer", data=form).status_code == 503
    monkeypatch.undo()
    server.database.close()
    assert "Question 1 of" in server.client.get(path).text
    assert "Question 2 of" in server.client.post(f"{path}/answer", data=form).text


def test_a_person_who_stops_early(server, person, monkeypatch):
    person.begin()
    path, old = person.page.url.path, person.fields()
    person.answer()
    person.answer()
    assert "Question 3 of" in server.client.post(f"{path}/stop", data=old).text  # a form of an old page
    with monkeypatch.context() as patch:
        patch.setattr(server.conduct.store, "save_end", None)
        with pytest.raises(TypeError):
            server.conduct.stop(person.link, 3)
    assert cards(server.client.get(path)) == cards(person.page)  # nothing of it is left in memory
    assert "Question" not in person.send("stop").text
    person.end()
    assert exporting.tables(server.database).people["answers"][0] == 2


def test_forms_of_others_are_refused(server, person):
    person.begin()
    path, own = person.page.url.path, person.fields()
    stranger = Simulated(server, jnp.ones(6))
    stranger.begin()
    forged = {}, {"csrf": "x", "step": "1"}, own | {"step": "2"}, own | {"csrf": own["csrf"][:-1] + "z"}
    for action in ("answer", "before", "withdraw", "stop", "rating", "after", "row", "other"):
        for form in (*forged, stranger.fields()):
            assert server.client.post(f"{path}/{action}", data=form | {"choice": "A"}).status_code in (403, 404)
    assert f'href="{path}"' in server.client.post(f"{path}/answer", data={}).text  # the way back
    assert len(exporting.tables(server.database).answers) == 0
    assert not server.conduct.store.find(person.link).withdrawn
    assert server.client.get("/p/" + "a" * 43).status_code == 404
    for path in ("/p/1", "/nothing"):
        page = server.client.get(path)
        assert page.status_code == 404
        assert "A study of &lt;b&gt;loans" in page.text


def test_a_row_that_is_entered(explainer, tmp_path):
    server = Server(explainer, tmp_path, row="entered")
    with server.client:
        person = Simulated(server, jnp.ones(6))
        person.send("begin", consent="yes")
        person.send("before", i0="")
        assert "Please answer this." in person.page.text
        person.send("before", i0="40")
        details = {"x0": "20", "x1": "10", "x2": "2", "x3": "0"}
        assert "must be a number" in person.send("row", **details | {"x0": "many"}).text
        assert "would be accepted: nothing" in person.send("row", **details | {"x0": "110", "x1": "0"}).text
        assert "Question 1 of" in person.send("row", **details).text
    server.database.close()


@pytest.mark.slow
def test_a_study_with_six_people(server):
    rng = np.random.default_rng(0)
    for index in range(6):
        kind, (low, high) = [("weights", (0.2, 3)), ("ideal", (0, 1)), ("l1_ideal", (0, 1))][index % 3]
        one = Simulated(server, jnp.asarray(rng.uniform(low, high, 6), "float32"), kind)
        one.begin()
        one.finish()
        assert "Thank you" in one.page.text
    found = exporting.tables(server.database)
    assert sorted(found.people["arm"]) == ["one"] * 3 + ["two"] * 3
    assert found.people["agreement"].tolist() == [1] * 6  # people without noise
    assert found.people["finished_at"].notna().all()
