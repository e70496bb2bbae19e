"""What the web page bounds: the rates of requests, the number of sessions, and what is told in one."""

import asyncio

import pytest
from hostile import REFUSED, begin, hidden, tell
from starlette.testclient import TestClient

from hare_jax.app.web.app import Service, Talk, build
from hare_jax.app.web.app.visits import Visits
from hare_jax.app.web.security import DEFAULTS

pytestmark = pytest.mark.usefixtures("quick_programs")


def test_rates_and_sessions_are_bounded(service):
    app = build(service, hosts=["testserver"], sessions=2, limits=DEFAULTS._replace(per_second=0.0, burst=20))
    with TestClient(app) as client:
        links = [
            client.post("/example", data=hidden(client.get("/")) | {"example": "0"}, follow_redirects=False)
            for _ in range(3)
        ]
        paths = [link.headers["location"] for link in links]
        assert client.get(paths[0]).status_code == 404  # dropped
        assert {client.get("/").status_code for _ in range(30)} == {200, 429}


def test_what_is_told_besides_answers_is_bounded(client, monkeypatch):
    monkeypatch.setattr("hare_jax.app.web.app.talk._MOST_BESIDES", 1)
    page = tell(client, begin(client), "veto", feature="x2")
    refused = tell(client, page, "veto", feature="x1")
    assert refused.status_code == 400
    assert "Take back a step first" in refused.text
    assert "Question 2 of" in tell(client, page, "answer", choice="A").text


def test_sessions_that_are_dropped_are_opened_no_longer(client, service, monkeypatch):
    monkeypatch.setattr("hare_jax.app.web.app.starting._MOST_OPENING", 0)
    assert client.post("/example", data=hidden(client.get("/")) | {"example": "0"}).status_code == 503
    monkeypatch.undo()
    asyncio.run(dropped_while_opening(service))


async def dropped_while_opening(service):
    visits = Visits(1)
    first = visits.add(Talk(service.session(REFUSED)), "a")
    first.opening = asyncio.create_task(asyncio.sleep(100))
    await asyncio.sleep(0)
    assert visits.num_opening() == 1
    visits.add(first.talk, "b")
    await asyncio.wait({first.opening}, timeout=10)
    assert first.opening.cancelled()
    assert visits.num_opening() == 0


def test_a_service_whose_sessions_could_not_start_is_an_error(explainer, service):
    for option in ({"questions": 1001}, {"seed": 2**31}):
        with pytest.raises(ValueError, match=f"{next(iter(option))}: must be a whole number"):
            Service(explainer, service.rows, **option)
