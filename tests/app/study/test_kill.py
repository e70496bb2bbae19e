"""A server that is killed at random moments while people answer: every acknowledged answer is there, once."""

import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from hare_jax.app.study import exporting
from hare_jax.app.study.database import Database
from tests.app.study.small import QUESTION, Visitor

ROOT = Path(__file__).parents[3]
NUM_PEOPLE, NUM_KILLS, PATIENCE = 6, 3, 60.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Patient(Visitor):
    """A person who loads the page again until the server is back."""

    def __init__(self, port, seed):
        self.random, self.acknowledged, self.is_done = random.Random(seed), [], False
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, timeout=PATIENCE)
        self.page = None

    def live(self):
        """Take part, from the consent to the end."""
        path, until = "/", time.monotonic() + 3 * PATIENCE
        with self.client:
            while not self.is_done and time.monotonic() < until:
                try:
                    self.page = self.client.get(path)
                    self.step()
                    path = self.page.url.path
                except httpx2.HTTPError:
                    time.sleep(0.2)

    def step(self):
        text = self.page.text
        if "Begin</button>" in text:
            self.send("begin", consent="yes")
        elif "Before we begin" in text:
            self.send("before", i0="40")
        elif "The application</h1>" in text:
            self.send("row")
        elif QUESTION in text:
            number, choice = self.fields()["step"], self.random.choice(["A", "B"])
            if not self.send("answer", choice=choice).is_error:
                self.acknowledged.append((int(number), choice))
        elif "Thank you" in text:
            self.is_done = True
        else:
            self.end()


@pytest.mark.slow
def test_a_server_that_is_killed_loses_no_answer(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "tests.app.study.small", str(tmp_path), str(port)]
    moments = random.Random(0)
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ)
    persons = [Patient(port, seed) for seed in range(NUM_PEOPLE)]
    threads = [threading.Thread(target=one.live, daemon=True) for one in persons]
    try:
        for thread in threads:
            thread.start()
        for kill in range(NUM_KILLS):
            wait_for(lambda least=kill + 1: sum(len(one.acknowledged) for one in persons) >= 3 * least)
            time.sleep(moments.uniform(0, 0.5))
            server.kill()
            server.wait()
            server = subprocess.Popen(command, cwd=ROOT, env=os.environ)
        for thread in threads:
            thread.join(3 * PATIENCE)
    finally:
        server.kill()
        server.wait()
    assert all(one.is_done for one in persons)
    database = Database(tmp_path / "study.db")
    answers = exporting.tables(database).answers
    given = sorted(zip(answers["number"], answers["choice"], strict=True))
    database.close()
    assert not answers.duplicated(["person", "number"]).any()
    assert answers.groupby("person")["number"].apply(lambda found: found.tolist() == [*range(1, len(found) + 1)]).all()
    for answer in sorted(answer for one in persons for answer in one.acknowledged):
        given.remove(answer)  # an error if it is missing
    assert len(given) <= NUM_KILLS * NUM_PEOPLE  # stored before a kill, and not acknowledged


def wait_for(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
