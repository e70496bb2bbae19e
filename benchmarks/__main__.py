"""`python -m benchmarks NAME`: run the experiments of a table, or all, skip what is there, and render the results."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import jax
import tyro

from benchmarks.experiments import gradients, preferences, questions, runner, speed
from benchmarks.pages import render, report
from benchmarks.tables import TABLES, Choice, specs
from benchmarks.timing import compile_quickly

_ARGUMENTS = """

Args:
    datasets: Data sets; adult, compas, give_me_some_credit and heloc unless given.
    models: `mlp`, `linear` or both; the table's own unless given.
    methods: Base methods; the table's own unless given.
    arms: `base`, `random`, `single`, `multi`; the table's own unless given.
    levels: Of what the table varies; all unless given.
    seeds: Seeds of training, users and sampling.
    users: Refused people for each seed.
    feasible: Keep recourses feasible, instead of doing as the original's code did.
    out: Folder of the results.
"""


def _command(names: tuple[str, ...], about: str) -> Callable[..., int]:
    """The command that runs and renders the tables `names`."""

    def command(
        datasets: tuple[str, ...] | None = None,
        models: tuple[str, ...] | None = None,
        methods: tuple[str, ...] | None = None,
        arms: tuple[str, ...] | None = None,
        levels: tuple[str, ...] | None = None,
        seeds: tuple[int, ...] = (1, 2, 3, 4, 5),
        users: int = 100,
        feasible: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        out: Path = Path("benchmarks/results"),
    ) -> int:
        compile_quickly()
        mode = "feasible" if feasible else "paper"
        choice = Choice(datasets, models, methods, arms, levels, seeds, users, mode)
        status = runner.run([spec for name in names for spec in specs(name, choice)], out)
        for name in names:
            print(render.write(name, out))
        print(report.write(out))
        return status

    command.__doc__ = about + _ARGUMENTS
    return command


def main() -> int:
    """Run the command line; 0 all done, 1 something failed, 2 a wrong option."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)  # one for each core; see hare_jax.sharding
    commands = {name: _command((name,), f"{name}: {table.title}.") for name, table in TABLES.items()}
    commands |= {
        "all": _command(tuple(TABLES), "All tables."),
        "gradients": gradients.gradients,
        "preferences": preferences.preferences,
        "questions": questions.questions,
        "speed": speed.speed,
    }
    try:
        return tyro.extras.subcommand_cli_from_dict(commands, prog="python -m benchmarks")
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
