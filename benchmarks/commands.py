"""The commands of `python -m benchmarks`: run the missing experiments of one table or of all, and render them."""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import pooch
import tyro

from benchmarks.authors import command as authors
from benchmarks.experiments import gradients, optimality, preferences, questions, robustness, runner, speed, stream
from benchmarks.experiments.grid import Resources
from benchmarks.options import (
    OUT,
    SEEDS,
    USERS,
    Datasets,
    Feasible,
    Out,
    OwnArms,
    OwnLevels,
    OwnMethods,
    OwnModels,
    Scheduler,
    Seeds,
    Users,
)
from benchmarks.pages import render, report
from benchmarks.peers import command as peers
from benchmarks.tables import DATASETS, TABLES, Choice, specs
from benchmarks.timing import compile_quickly
from hare_jax.app.options import Cache, one_line, parse

_PROG = "python -m benchmarks"


def _command(names: tuple[str, ...], about: str) -> Callable[..., int]:
    """The command that runs and renders the tables `names`."""

    def command(
        datasets: Datasets = DATASETS,
        models: OwnModels = None,
        methods: OwnMethods = None,
        arms: OwnArms = None,
        levels: OwnLevels = None,
        seeds: Seeds = SEEDS,
        users: Users = USERS,
        feasible: Feasible = False,
        out: Out = OUT,
        scheduler: Scheduler = None,
        cache: Cache = True,
    ) -> int:
        mode = "feasible" if feasible else "paper"
        choice = Choice(datasets, models, methods, arms, levels, seeds, users, mode)
        return _run_tables(names, choice, out, Resources(scheduler=scheduler, cache=cache))

    command.__doc__ = about
    return command


def _run_tables(names: tuple[str, ...], choice: Choice, out: Path, resources: Resources) -> int:
    """Run the missing experiments of the tables `names`, and render them and the page of all results."""
    compile_quickly(resources.cache)
    status = runner.run([spec for name in names for spec in specs(name, choice)], out, resources)
    for name in names:
        print(render.write(name, out, choice.users))
    print(report.write(out, choice.users))
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv`, by default those of the process, and return the exit status.

    0 = success, 1 = an experiment failed, its data are unavailable or a result could not be written, 2 = invalid
    option.
    """
    with contextlib.suppress(RuntimeError):  # the devices exist already: it is called from a running program
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)  # one per core; see hare_jax.evaluate.sharding
    pooch.get_logger().setLevel("WARNING")  # only errors go to stderr
    try:
        command = _parse(list(sys.argv[1:] if argv is None else argv))
        return 0 if command is None else command()
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        print(f"benchmarks: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def _parse(argv: list[str]) -> Callable[[], int] | None:
    """The command in `argv` with its options bound, or None after printing help."""
    commands: dict[str, Callable[..., int]] = {
        name: _command((name,), f"{name}: {table.title}.") for name, table in TABLES.items()
    }
    commands |= {
        "all": _command(tuple(TABLES), "All tables."),
        "authors": authors.authors,
        "gradients": gradients.gradients,
        "optimality": optimality.optimality,
        "peers": peers.peers,
        "preferences": preferences.preferences,
        "questions": questions.questions,
        "robustness": robustness.robustness,
        "speed": speed.speed,
        "stream": stream.stream,
    }
    bound = {name: _bind_only(command) for name, command in commands.items()}
    return parse(lambda: tyro.extras.subcommand_cli_from_dict(bound, prog=_PROG, args=argv), _PROG, argv)


def _bind_only(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """A function with the signature of `command` that returns it with its arguments bound."""

    @functools.wraps(command)
    def bind(*args: Any, **options: Any) -> Callable[[], int]:
        return functools.partial(command, *args, **options)

    return bind
