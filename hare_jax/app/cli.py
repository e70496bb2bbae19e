"""The `hare-jax` command: parses the command line, and runs one of the `commands`.

Invalid options and unavailable data are reported in one line on stderr, with exit status 2 and without a traceback.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pooch
import tyro
from rich.console import Console

from hare_jax import __version__
from hare_jax.app import demo, interrupts, options
from hare_jax.app.commands import ask, audit, data, demonstration, elicitors, explain, methods, serve, study
from hare_jax.app.compiling import keep_compiled
from hare_jax.base import require

_PROG = "hare-jax"
_WIDTH = 108  # characters: the width of the widest table; narrower terminals wrap its lines

Command = (
    Annotated[demo.Demo, tyro.conf.subcommand("demo")]
    | Annotated[ask.Ask, tyro.conf.subcommand("ask")]
    | Annotated[explain.Explain, tyro.conf.subcommand("explain")]
    | Annotated[audit.Audit, tyro.conf.subcommand("audit")]
    | Annotated[serve.Serve, tyro.conf.subcommand("serve")]
    | Annotated[study.Study, tyro.conf.subcommand("study")]
    | Annotated[data.Data, tyro.conf.subcommand("data")]
    | Annotated[methods.Methods, tyro.conf.subcommand("methods")]
    | Annotated[elicitors.Elicitors, tyro.conf.subcommand("elicitors")]
)

_RUN: dict[type, Callable[[Any, Console], None]] = {
    demo.Demo: demonstration.run_command,
    ask.Ask: ask.run_command,
    explain.Explain: explain.run_command,
    audit.Audit: audit.run_command,
    serve.Serve: serve.run_command,
    study.Study: study.run_command,
    data.Data: data.run_command,
    methods.Methods: methods.run_command,
    elicitors.Elicitors: elicitors.run_command,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv`, by default those of the process, and return the exit status.

    0 = success, 1 = an error within a model, 2 = invalid option or unavailable data, 130 = interrupted.
    """
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return interrupts.STATUS
    except BrokenPipeError:  # the reader closed the pipe; keep the interpreter from flushing the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"{_PROG}: {options.one_line(error)}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2


def _dispatch(argv: list[str]) -> int:
    if argv == ["--version"]:
        print(f"hare-jax {__version__}")
        return 0
    command = _parse(argv)
    if command is None:
        return 0
    pooch.get_logger().setLevel("WARNING")  # only errors go to stderr
    if getattr(getattr(command, "action", command), "cache", False):  # a command that compiles
        keep_compiled()
    _RUN[type(command)](command, _Console(width=_WIDTH, highlight=False))
    return 0


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise, for `main` to handle; rich would exit with status 1."""
        raise BrokenPipeError


def _parse(argv: list[str]) -> Any:
    """The command in `argv`, or None after printing help."""
    about = "Personal, fast and differentiable algorithmic recourse in JAX. `hare-jax --version` prints the version."
    given = {"prog": _PROG, "description": about, "args": argv, "config": (tyro.conf.OmitSubcommandPrefixes,)}
    parsed = options.parse(lambda: tyro.cli(Command, return_unknown_args=True, **given), _PROG, argv)  # type: ignore
    if parsed is None:
        return None
    command, unknown = parsed
    require(not unknown, "options", "must be among those listed by --help", " ".join(unknown))
    return command
