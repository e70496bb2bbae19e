"""What strangers may send to the web page, of which nothing changes a session or gets into a page as markup."""

import asyncio
import re

import pytest
from hostile import INCOME, SCRIPT, begin, hidden, tell

from hare_jax.app.web.security import DEFAULTS, new_link

pytestmark = pytest.mark.usefixtures("quick_programs")
FORM = "application/x-www-form-urlencoded"
SQL = "1'; DROP TABLE answers; --"


@pytest.fixture(scope="module")
def pages(client):
    """The first pages of two sessions."""
    return begin(client), begin(client)


def post(action="answer", content=None, headers=None, **fields):
    """An attack: a form for the first session, with its own token unless told otherwise."""

    def attack(client, pages):
        path = f"{pages[0].url.path}/{action}"
        given = hidden(pages[0]) | fields
        form = {name: value for name, value in given.items() if value is not None}
        if content is None:
            return client.post(path, data=form, headers=headers, follow_redirects=False)
        return client.post(path, content=content, headers={"content-type": FORM} | (headers or {}))

    return attack


def of_other(client, pages):
    return post(choice="A", csrf=hidden(pages[1])["csrf"])(client, pages)


def with_ticket(client, pages):
    return post(choice="A", csrf=hidden(client.get("/"))["csrf"])(client, pages)


def start(path="/example", **fields):
    """An attack: a form that starts a session."""
    return lambda client, pages: client.post(path, data=hidden(client.get(path if path == "/enter" else "/")) | fields)


def forged_ticket(client, pages):
    link, _, signature = hidden(client.get("/"))["csrf"].split(".")
    return client.post("/example", data={"csrf": f"{link}.9999999999.{signature}", "example": "0"})


def session_token(client, pages):
    return client.post("/example", data={"csrf": hidden(pages[0])["csrf"], "example": "0"})


def get(path, headers=None):
    return lambda client, pages: client.get(path.replace("LINK", pages[0].url.path), headers=headers)


def send(method, path):
    return lambda client, pages: client.request(method, path.replace("LINK", pages[0].url.path))


def everywhere(text):
    return {f"x{position}": text for position in range(4)}


ATTACKS = {
    "another link": (get(f"/s/{new_link()}"), 404),
    "a sequential id": (get("/s/1"), 404),
    "path traversal in a link": (get("/s/..%2f..%2f..%2fetc%2fpasswd"), 404),
    "path traversal in a file": (get("/static/..%2f..%2fapp%2froutes.py"), 404),
    "an absolute path": (get("/static//etc/passwd"), 404),
    "header injection": (get("/s/a%0d%0aset-cookie:%20a=b"), 404),
    "a long address": (get("/" + "a" * 5000), 414),
    "SQL in an address": (get("/s/' OR '1'='1"), 404),
    "no token": (post(choice="A", csrf=None), 403),
    "a garbled token": (post(choice="A", csrf="ä" * 64), 403),
    "a token of another session": (of_other, 403),
    "a token of the start": (with_ticket, 403),
    "a token of a session at the start": (session_token, 403),
    "a forged time": (forged_ticket, 403),
    "no token at the start": (start(csrf=""), 403),
    "a form of another site": (post(choice="A", headers={"origin": "https://evil.example"}), 403),
    "a request across sites": (post(choice="A", headers={"sec-fetch-site": "cross-site"}), 403),
    "JSON": (post(content=b"{}", headers={"content-type": "application/json"}), 415),
    "several parts": (post(content=b"--a--", headers={"content-type": "multipart/form-data; boundary=a"}), 415),
    "a pickle": (post(content=b"\x80\x04.", headers={"content-type": "application/octet-stream"}), 415),
    "no type": (post(content=b"choice=A", headers={"content-type": ""}), 415),
    "a large body": (post(content=b"a=" + b"b" * DEFAULTS.body), 413),
    "a large body in chunks": (post(content=iter([b"a" * 1024] * 65)), 413),
    "a wrong length": (post(content=b"a=b", headers={"content-length": "-1"}), 400),
    "a wrong percent code": (post(content=b"choice=%ff"), 400),
    "no pairs": (post(content=b"choice"), 400),
    "bytes that are no form": (post(content=b"\x00\xff"), 400),
    "a field twice": (post(content=b"choice=A&choice=B"), 400),
    "many fields": (post(content="&".join(f"a{n}=b" for n in range(600)).encode()), 400),
    "a null character": (post(choice="A\0"), 400),
    "a long value": (post(choice="A" * 2000), 400),
    "a script as a choice": (post(choice=SCRIPT), 400),
    "another choice": (post(choice="C"), 400),
    "no step": (post(choice="A", step=None), 400),
    "a negative step": (post(choice="A", step="-1"), 400),
    "a later step": (post(choice="A", step="7"), 409),
    "an unknown feature": (post("veto", feature="x99"), 400),
    "a feature by its name": (post("veto", feature=INCOME), 400),
    "SQL as a feature": (post("veto", feature=SQL), 400),
    "a feature that can't change": (post("veto", feature="x3"), 400),
    "a feature harder than itself": (post("importance", feature="x0", over="x0"), 400),
    "importance of an unknown feature": (post("importance", feature="x0", over=SQL), 400),
    "points that there are not": (post("rate", option="A", points="8"), 400),
    "points for a script": (post("rate", option=SCRIPT, points="7"), 400),
    "limits that are no numbers": (post("range", feature="x0", lower="nan", upper="inf"), 400),
    "an infinite limit": (post("range", feature="x0", lower="1e999"), 400),
    "a huge limit": (post("range", feature="x0", lower="1" * 900), 400),
    "a limit of a category": (post("range", feature="x2", lower="0"), 400),
    "a script as a limit": (post("range", feature="x0", lower=SCRIPT), 400),
    "a proposal that is no number": (post("try", x0="NaN", x1="-Infinity"), 400),
    "a huge proposal": (post("try", x0="1e308"), 400),
    "a category that there is not": (post("try", x2="3"), 400),
    "a script in a proposal": (post("try", **everywhere(SCRIPT)), 400),
    "a method of an object": (post("__class__"), 404),
    "a page as a form": (post("best"), 405),
    "a form as a page": (get("LINK/answer"), 405),
    "another method": (send("PUT", "LINK"), 405),
    "deletion by method": (send("DELETE", "LINK"), 405),
    "deletion without a form": (get("LINK/delete"), 405),
    "another host": (get("/", {"host": "evil.example"}), 400),
    "a host with a name": (get("/", {"host": "testserver@evil.example"}), 400),
    "a port that is none": (get("/", {"host": "testserver:80:80"}), 400),
    "an example that there is not": (start(example="99"), 400),
    "a negative example": (start(example="-1"), 400),
    "a script in a row": (start("/enter", **everywhere(SCRIPT)), 400),
    "SQL in a row": (start("/enter", **everywhere(SQL)), 400),
    "a row of huge numbers": (start("/enter", **everywhere("9" * 40)), 400),
    "an empty row": (start("/enter"), 400),
}


def check_safe(response):
    """A page of ours, with its headers, and no markup of a stranger in it."""
    assert "Traceback" not in response.text
    assert "<script>" not in response.text
    assert "<img" not in response.text
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_gets_through(client, pages, name):
    attack, status = ATTACKS[name]
    response = attack(client, pages)
    assert response.status_code == status
    check_safe(response)
    assert "<h1" in response.text
    assert "49" not in re.findall(r"debt(\S\S)", response.text)  # no text is a template
    for page in pages:  # nothing has changed
        again = client.get(page.url.path)
        assert hidden(again) == hidden(page)
        assert "Question 1 of" in again.text


def test_a_form_is_taken_once(client):
    page = begin(client)
    after = tell(client, page, "answer", choice="A")
    assert "Question 2 of" in after.text
    again = tell(client, page, "answer", choice="A")  # a double click
    assert "Question 2 of" in again.text
    other = tell(client, page, "answer", choice="B")  # a replay with another choice
    assert other.status_code == 409
    assert hidden(client.get(page.url.path))["step"] == "1"
    for shown in (after, other, client.get(f"{page.url.path}/best"), client.get(f"{page.url.path}/summary")):
        check_safe(shown)
    ticket = hidden(client.get("/")) | {"example": "1"}
    first, second = (client.post("/example", data=ticket, follow_redirects=False) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    deleted = tell(client, after, "delete")
    assert "Deleted" in deleted.text
    assert client.get(page.url.path).status_code == 404


def test_errors_show_nothing(client, pages, monkeypatch):
    def failing(*args, **kwargs):
        raise RuntimeError("secret")

    monkeypatch.setattr("hare_jax.app.session.Session.veto", failing)
    response = post("veto", feature="x0")(client, pages)
    assert response.status_code == 500
    assert "secret" not in response.text
    check_safe(response)


def test_a_form_that_ends_early_is_not_taken(client, pages):
    body = f"csrf={hidden(pages[0])['csrf']}&step=0&choice=A".encode()
    messages = [{"type": "http.request", "body": body, "more_body": True}, {"type": "http.disconnect"}]
    headers = [(b"host", b"testserver"), (b"content-type", FORM.encode()), (b"content-length", b"999")]
    path = f"{pages[0].url.path}/answer"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "scheme": "http", "client": ("testclient", 1), "server": ("testserver", 80)}
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(client.app(scope | {"http_version": "1.1", "root_path": ""}, receive, send))
    assert sent[0]["status"] == 400
    assert hidden(client.get(pages[0].url.path))["step"] == "0"
