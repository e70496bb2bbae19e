"""A study on a small table, its pages, and simulated people who take part by HTTP."""

import html
import re
import sys
from pathlib import Path

import jax
import pandas as pd
import uvicorn
from starlette.testclient import TestClient

from hare_jax import people
from hare_jax.app.study import facts, reading
from hare_jax.app.study.conduct import Conduct
from hare_jax.app.study.database import Database
from hare_jax.app.study.sessions import Sessions
from hare_jax.app.study.setting import Setting
from hare_jax.app.study.site import Tokens, build
from hare_jax.app.study.store import Store
from tests import loans
from tests.loans import NUM_QUESTIONS, REFUSED

QUESTION = "<h1>Which would you rather do?"
DESIGN = {
    "title": "A study of <b>loans</b>",
    "seed": 3,
    "block": 1,
    "repeat": 2,
    "stop": True,
    "consent": {"text": "You can stop.", "statement": "I agree."},
    "arms": {
        "one": {"elicitor": "multi", "questions": NUM_QUESTIONS, "hyperparameters": {"per_round": 3}},
        "two": {"elicitor": "multi", "questions": NUM_QUESTIONS, "hyperparameters": {"per_round": 3}},
    },
    "before": [{"name": "age", "text": "Your age?", "type": "number", "whole": True, "range": [18, 99]}],
    "after": [
        {"name": "easy", "text": "Easy?", "type": "scale", "points": 5},
        {"name": "note", "text": "More?", "type": "text", "required": False},
    ],
    "rating": {"points": 7},
}


class Server:
    """The application of a study on a file, as a process has it."""

    def __init__(self, explainer, folder, **changes):
        self.study = reading.of(DESIGN | changes, folder)
        rows = pd.DataFrame([REFUSED, REFUSED | {"debt": 12}])
        self.database = Database(folder / "study.db", create=True)
        setting = Setting(explainer.table, rows, {None: explainer})
        store = Store(self.database)
        secret = facts.agreed(store, self.study, setting)
        self.sessions = Sessions(self.study, setting, store)
        self.sessions.rows = rows
        self.sessions._ready.set()  # sessions compile for themselves
        self.sessions.prepare = lambda: None
        self.conduct = Conduct(self.study, store, self.sessions)
        self.app = build(self.conduct, Tokens(secret), ["testserver", "127.0.0.1"])
        self.client = TestClient(self.app)


class Visitor:
    """Somebody who reads pages and sends forms."""

    def __init__(self, client):
        self.client, self.page = client, client.get("/")

    def fields(self):
        """The hidden fields of the first form of the page."""
        form = self.page.text[self.page.text.index("<form") :].partition("</form>")[0]
        return {
            name: html.unescape(text) for name, text in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
        }

    def send(self, action, **fields):
        """Send a form of the page."""
        link = re.match(r"/p/[^/]+", self.page.url.path)
        path = f"{link[0]}/{action}" if link else f"/{action}"
        self.page = self.client.post(path, data=self.fields() | fields)
        return self.page

    @property
    def link(self):
        return re.match(r"/p/([^/]+)", self.page.url.path)[1]

    def begin(self):
        self.send("begin", consent="yes")
        self.send("before", i0="40")
        return self.send("row")

    def end(self):
        """Send what comes after the questions."""
        if "Two ways" in self.page.text:
            self.send("rating", point="6")
        return self.send("after", i0="4", i1="=fine")


class Simulated(Visitor):
    """A simulated person, whose answers follow from a hidden utility."""

    def __init__(self, server, hidden, kind="weights"):
        super().__init__(server.client)
        self.server, self.prefers = server, people.prefers(kind, hidden)

    def answer(self):
        """Answer the question by the rows of its options."""
        turn = self.server.conduct.turn(self.link)
        frames = [option.row.to_frame().T.infer_objects() for option in turn.asked.options]
        table = self.server.sessions.setting.table
        a, b = (table.encode(frame)[0] for frame in frames)
        x = table.encode(turn.row.to_frame().T.infer_objects())[0]
        return self.send("answer", choice="A" if self.prefers(jax.random.key(0), x, a, b) else "B")

    def answer_all(self):
        while QUESTION in self.page.text:
            self.answer()
        return self.page

    def finish(self):
        self.answer_all()
        return self.end()


if __name__ == "__main__":  # FOLDER PORT: a process that can be killed
    uvicorn.run(Server(loans.explainer(), Path(sys.argv[1])).app, port=int(sys.argv[2]), log_level="warning")
