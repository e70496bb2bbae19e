"""`python -m benchmarks NAME`: run the missing experiments of one table or of all, and render the results."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import tyro

from benchmarks.experiments import gradients, optimality, preferences, questions, runner, speed
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
    Seeds,
    Users,
)
from benchmarks.pages import render, report
from benchmarks.tables import DATASETS, TABLES, Choice, specs
from benchmarks.timing import compile_quickly


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
    ) -> int:
        mode = "feasible" if feasible else "paper"
        return _run_tables(names, Choice(datasets, models, methods, arms, levels, seeds, users, mode), out)

    command.__doc__ = about
    return command


def _run_tables(names: tuple[str, ...], choice: Choice, out: Path) -> int:
    """Run the missing experiments of the tables `names`, and render them and the page of all results."""
    compile_quickly()
    status = runner.run([spec for name in names for spec in specs(name, choice)], out)
    for name in names:
        print(render.write(name, out))
    print(report.write(out))
    return status


def main() -> int:
    """Run the command line. Exit status: 0 = success, 1 = an experiment failed, 2 = invalid option."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)  # one per core; see hare_jax.evaluate.sharding
    commands = {name: _command((name,), f"{name}: {table.title}.") for name, table in TABLES.items()}
    commands |= {
        "all": _command(tuple(TABLES), "All tables."),
        "gradients": gradients.gradients,
        "optimality": optimality.optimality,
        "preferences": preferences.preferences,
        "questions": questions.questions,
        "speed": speed.speed,
    }
    try:
        return tyro.extras.subcommand_cli_from_dict(commands, prog="python -m benchmarks")
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except (ImportError, OSError) as error:  # unavailable data
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
