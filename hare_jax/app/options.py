"""The options of a command line: parsed by tyro, with its boxes of errors as one line each."""

import contextlib
import io
import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro
from rich.text import Text

Cache = Annotated[
    bool, tyro.conf.arg(help="Keep what is compiled in the user's cache folder, for a quicker start the next time.")
]
_TRACEBACK = "Traceback (most recent call last)"


def parse(parser: Callable[[], Any], prog: str, argv: Sequence[str]) -> Any:
    """What `parser`, a call of tyro, returns for the arguments `argv`, or None after it has printed its help.

    Raises:
        ValueError: an option is invalid.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return parser()
    except SystemExit as stop:
        if not stop.code:
            return None
        rule = _first_paragraph(errors.getvalue()).rstrip(".")
        raise ValueError(f"{rule}; got {' '.join(argv)!r}; see {prog} --help") from None


def one_line(error: BaseException) -> str:
    r"""The message of an error in one line; its type where there is no message.

    Of a traceback that the message quotes, as JAX's does for an exception of a black box, the last lines are kept.

    >>> one_line(RuntimeError("INTERNAL: Traceback (most recent call last):\n  File 'model.py'\nKeyError: 'age'"))
    "KeyError: 'age'"
    """
    lines = str(error).splitlines()
    frames = [index for index, line in enumerate(lines) if line.startswith("  ")] if _TRACEBACK in str(error) else [-1]
    return " ".join(" ".join(lines[frames[-1] + 1 :]).split()) or type(error).__name__


def _first_paragraph(boxed: str) -> str:
    """Text of a box below its title, up to the first rule or empty line, as one line without colours."""

    def is_rule(line: str) -> bool:
        return set(line) <= set("─-╰╯")

    _, *lines = (line.strip("│ ") for line in Text.from_ansi(boxed).plain.splitlines() or [""])
    return " ".join(itertools.takewhile(lambda line: not is_rule(line), itertools.dropwhile(is_rule, lines)))
