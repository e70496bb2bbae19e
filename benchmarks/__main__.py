"""`python -m benchmarks NAME`: run an experiment, and render what is there."""

import os
import sys
from pathlib import Path
from typing import Annotated

import jax
import tyro

from benchmarks import render, runner, speed
from benchmarks.specs import TABLES, Choice


def table1(
    datasets: tuple[str, ...] | None = None,
    models: tuple[str, ...] | None = None,
    methods: tuple[str, ...] | None = None,
    arms: tuple[str, ...] | None = None,
    seeds: tuple[int, ...] | None = None,
    users: int = 100,
    paper: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    out: Path = Path("benchmarks/results"),
) -> int:
    """Run table 1 (every method, alone and with each arm of HARE), skip the rows that are there, and render it.

    Args:
        datasets: Data sets; those of the paper unless given.
        models: `mlp`, `linear` or both.
        methods: Base methods; all unless given.
        arms: `base`, `random`, `single`, `multi`; all unless given.
        seeds: Seeds of training, users and sampling; 1 to 5 unless given.
        users: Refused people for each seed.
        paper: Do as the original's code did, instead of keeping recourses feasible.
        out: Folder of the results.
    """
    specs = TABLES["table1"](Choice(datasets, models, methods, arms, seeds, users, paper))
    status = runner.run(specs, out)
    print(render.write("table1", out))
    return status


def main() -> int:
    """Run the command line; 0 all done, 1 something failed, 2 a wrong option."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)  # one for each core; see hare_jax.sharding
    try:
        return tyro.extras.subcommand_cli_from_dict(
            {"table1": table1, "speed": speed.speed}, prog="python -m benchmarks"
        )
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
