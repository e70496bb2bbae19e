"""The dialogue in a terminal: a question, a key, what it does, and the next question.

Wrong input is answered by one line, and the question is shown again. With a file the session is written after each
event, while the person reads the next question.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from hare_jax.app import interrupts, options
from hare_jax.app.session import CANNOT_TELL, Asked, Session
from hare_jax.app.session.telling import takes
from hare_jax.app.terminal import entered, showing
from hare_jax.app.terminal.entered import Command
from hare_jax.app.terminal.reading import Reader
from hare_jax.base import require
from hare_jax.data.schema import Feature

_GAP = "  "  # between two keys
_PATIENCE = 0.5  # seconds until a spinner is shown
_NEEDS = {"v": "vetoes", "r": "ranges", "i": "importance", "t": "ratings"}  # what the elicitor must take
_KEYS = {
    "a": "A is better",
    "b": "B is better",
    "?": "can't tell",
    "v": "rule out a change",
    "r": "set limits",
    "i": "which is harder",
    "t": "rate",
    "w": "what if",
    "u": "undo",
    "y": "take the best so far",
    "s": "save",
    "q": "quit",
    "h": "help",
}
_HELP = """\
a, b  which of the two you would rather do; ? if you can't tell
v     rule out that something changes, such as: v 1, or: v cosigner
r     set limits of a number, such as: r income 20 60; - is no limit: r income - 60
i     say which of two is harder to change, such as: i job > income
t     rate an option, or the best so far, such as: t a 7, or: t 7; on any scale, higher is better
w     try a change of your own, such as: w income = 40, cosigner = yes
u     take back the last thing you told
y     take the best change so far, and end
s     save to a file; q quit, which saves first: --resume FILE goes on later"""


class Conversation:
    """A session with a person at a console, written to a file if one is given; `run` returns when it has ended."""

    def __init__(self, session: Session, console: Console, reader: Reader, save_to: Path | None) -> None:
        self.session, self.console, self.reader, self.save_to = session, console, reader, save_to
        self.left = False
        self._failed = False  # the file `save_to` could not be written on leaving: another one is asked for
        self._files = {save_to}  # that a session may be written to although they exist
        self._do: dict[str, Callable[[str], None]] = {
            "?": lambda rest: self.session.answer(CANNOT_TELL),
            "v": self._veto,
            "r": self._range,
            "i": self._importance,
            "t": self._rate,
            "w": self._explore,
            "u": self._undo,
            "y": lambda rest: self._accept(),
            "s": self._save,
            "q": self._quit,
            "h": lambda rest: self._say(_HELP),
        }

    def run(self) -> None:
        """Ask until the person accepts or quits, or the input ends; then show the recommendation."""
        while not (self.left or self.session.ended):
            self._turn()
        if self.session.ended:
            best = self._waited(self.session.best)
            self.console.print("", showing.final(self.session.explainer, self.session.row, best))
            self._write()

    def _turn(self) -> None:
        """Show the question, and do what is entered; on wrong input say what is wrong."""
        asked = self._waited(self.session.question)
        self._show(asked)
        self._write()
        text = self.reader.command()
        try:
            if text is None:
                self._quit("")
            elif text:
                self._perform(entered.command(text), asked)
        except ValueError as error:
            if text is None and self.left:
                raise
            self._say(options.one_line(error), style="red")

    def _show(self, asked: Asked | None) -> None:
        session = self.session
        if asked is not None:
            self.console.print("", showing.question(session.explainer, session.row, asked))
        if session.events or asked is None:
            self.console.print(showing.so_far(self._waited(session.best)))
        shown = [f"{key} {text}" for key, text in _KEYS.items() if self._offers(key, asked)]
        self._say("\n".join(_lines(shown, self.console.width)), style="dim")

    def _offers(self, key: str, asked: Asked | None) -> bool:
        """Whether a key does something now."""
        needed = _NEEDS.get(key)
        return (asked is not None or key not in "ab?") and (needed is None or needed in takes(self.session.elicitor))

    def _perform(self, command: Command, asked: Asked | None) -> None:
        if not self._offers(command.key, asked):
            raise ValueError(f"{_KEYS[command.key]!r} is not possible {'now' if command.key in 'ab?' else 'here'}")
        if self.reader.by_key:
            self._say(f"> {_KEYS[command.key]}")
        if command.key in ("a", "b"):
            self._waited(self.session.answer, command.key.upper())
        else:
            self._do[command.key](command.rest)

    def _veto(self, rest: str) -> None:
        features = self._mutable()
        text = self._entered(rest, "Which must stay as it is? A number or a name; several with commas", features)
        if text:
            self._waited(self.session.veto, *entered.names(text, features))

    def _range(self, rest: str) -> None:
        features = [one for one in self._mutable() if one.type != "categorical"]
        text = self._entered(rest, "Which, from what to what? Such as: 1 20 60; - is no limit", features)
        if text:
            self._waited(self.session.range, *entered.limits(text, features))

    def _importance(self, rest: str) -> None:
        features = self._mutable()
        text = self._entered(rest, "Which is harder to change than which? Such as: 1 > 2", features)
        if text:
            self._waited(self.session.importance, *entered.harder(text, features))

    def _rate(self, rest: str) -> None:
        text = rest or self._line("A or B and a number, such as: a 7; or a number, of the best so far")
        if text:
            self._waited(self.session.rate, *entered.rating(text))
            self._say("Rated. It is compared with your other ratings.")

    def _explore(self, rest: str) -> None:
        features = self._mutable()
        text = self._entered(rest, f"What would you change? Such as: {features[0].name} = ...", features)
        if text:
            before = len(self.session.events)
            changes = entered.changes(text, {one.name: one for one in features})
            found = self._waited(self.session.explore, changes)
            self.console.print(showing.exploration(found, counted=len(self.session.events) > before))

    def _mutable(self) -> list[Feature]:
        return [one for one in self.session.explainer.features.values() if one.mutable]

    def _entered(self, rest: str, prompt: str, features: list[Feature]) -> str:
        """What was entered after the key, or else the next line; nothing goes back."""
        if rest:
            return rest
        self.console.print(showing.numbered(self.session.explainer, features))
        return self._line(prompt)

    def _line(self, prompt: str) -> str:
        self.console.print(showing.plain(f"{prompt}: "), end="" if self.reader.by_key else "\n")
        return self.reader.line() or ""

    def _undo(self, rest: str) -> None:
        if not self._waited(self.session.undo):
            self._say("There is nothing to undo.")

    def _accept(self) -> None:
        self._waited(self.session.accept)

    def _save(self, rest: str) -> None:
        path = rest or (str(self.save_to) if self.save_to else self._line("Save to which file?"))
        if path:
            self._save_to(Path(path))

    def _save_to(self, path: Path) -> None:
        try:
            require(path in self._files or not path.exists(), "file", "must be new, or one of this session", str(path))
            self.session.save(path)
        except OSError as error:
            raise ValueError(f"not saved: {options.one_line(error)}") from error
        self._files.add(path)
        self._say(f"Saved. To go on later: hare-jax ask --resume {path}")

    def _quit(self, rest: str) -> None:
        """Leave, after saving to the file of the options or to one that is entered."""
        self.left = True
        path = rest or (str(self.save_to) if self.save_to and not self._failed else "")
        if not path and self.reader.by_key and self.session.events:
            path = self._line("Save to which file? Nothing leaves without saving")
        if path:
            self._save_or_stay(Path(path))

    def _save_or_stay(self, path: Path) -> None:
        try:
            self._save_to(path)
        except ValueError:
            self._failed, self.left = path == self.save_to, not self.reader.by_key
            raise

    def _write(self) -> None:
        """Write the session to the file of the options."""
        if self.save_to is None:
            return
        try:
            with interrupts.held():
                self.session.save(self.save_to)
        except OSError as error:
            self._say(f"Not saved: {options.one_line(error)}", style="red")

    def _say(self, text: str, style: str = "") -> None:
        self.console.print(showing.plain(text, style), soft_wrap=True)

    def _waited(self, fn: Callable[..., Any], *args: Any) -> Any:
        """`fn(*args)`, with a spinner if it takes long."""
        with _spinner(self.console):
            return fn(*args)


def _lines(texts: list[str], width: int) -> list[str]:
    """The texts side by side, none of which is broken."""
    lines = [""]
    for text in texts:
        if lines[-1] and len(lines[-1] + _GAP + text) > width:
            lines.append("")
        lines[-1] += (_GAP if lines[-1] else "") + text
    return lines


@contextlib.contextmanager
def _spinner(console: Console) -> Iterator[None]:
    if not console.is_terminal:
        yield
        return
    status = console.status("one moment")
    timer = threading.Timer(_PATIENCE, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may be starting the spinner
        status.stop()
