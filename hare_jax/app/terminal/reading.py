"""Input: single keys where stdin is a terminal, and whole lines where it is a pipe or a file.

A terminal is read key by key only while a key is awaited, and is restored after each key, on an error and on Ctrl-C.
"""

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from hare_jax.app import interrupts

try:
    import termios
except ImportError:  # Windows: whole lines
    termios = None  # type: ignore[assignment]

_LOCAL_FLAGS, _CONTROL = 3, 6  # of the attributes of a terminal
_ESCAPE, _END = "\x1b", "\x04"  # the first byte of an arrow key; Ctrl-D
_SEQUENCES, _FINAL = (b"[", b"O"), b"@"  # second bytes of a sequence; the least last byte
_LONGEST = 4096  # bytes of a line


class Reader:
    """What is typed, from a stream; None at its end."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream: TextIO = sys.stdin if stream is None else stream
        self.by_key = termios is not None and self.stream.isatty()

    def command(self) -> str | None:
        """A key, or a line without the spaces around it."""
        return self._key() if self.by_key else self.line()

    def line(self) -> str | None:
        """A line, without the spaces around it."""
        if self.by_key:
            found = os.read(self.stream.fileno(), _LONGEST).decode(errors="replace")
        else:
            found = self.stream.readline()
        return found.strip() if found else None

    def _key(self) -> str | None:
        """The next printable key, without what arrow keys and the like send."""
        descriptor = self.stream.fileno()
        try:
            with _keywise(descriptor):
                while byte := os.read(descriptor, 1):
                    found = byte.decode("ascii", errors="ignore")
                    if found == _ESCAPE:
                        _discard(descriptor)
                    elif found == _END:
                        return None
                    elif found.isprintable() and found.strip():
                        return found
        except (OSError, termios.error):
            pass
        self.by_key = False  # the terminal is gone: nothing more can be asked
        return None


@contextlib.contextmanager
def _keywise(descriptor: int) -> Iterator[None]:
    """The terminal gives each key at once, and does not show it."""
    before = termios.tcgetattr(descriptor)

    def restore() -> None:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    with interrupts.cleaned_by(restore):
        with interrupts.held():  # not after `restore`, by which an interrupt ends
            termios.tcsetattr(descriptor, termios.TCSADRAIN, _by_key(before))
        yield


def _by_key(attributes: list[Any]) -> list[Any]:
    """The attributes of a terminal, without lines and echo; a read waits for one byte."""
    changed = [*attributes[:_CONTROL], list(attributes[_CONTROL])]
    changed[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
    changed[_CONTROL][termios.VMIN], changed[_CONTROL][termios.VTIME] = 1, 0
    return changed


def _discard(descriptor: int) -> None:
    """Read the rest of an escape sequence, which is there already: a byte, or up to a letter or ~ after [ or O."""
    if _pending(descriptor) and os.read(descriptor, 1) in _SEQUENCES:
        while _pending(descriptor) and os.read(descriptor, 1) < _FINAL:
            pass


def _pending(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
