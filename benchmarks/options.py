"""The options that several commands have, each with its help."""

from pathlib import Path
from typing import Annotated

import tyro

Datasets = Annotated[tuple[str, ...], tyro.conf.arg(help="Data sets.")]
Methods = Annotated[tuple[str, ...], tyro.conf.arg(help="Base methods, or all.")]
Arms = Annotated[
    tuple[str, ...], tyro.conf.arg(help="Elicitors, and in tables base; the experiment's own unless given.")
]
Seeds = Annotated[tuple[int, ...], tyro.conf.arg(help="Seeds of training, users and sampling.")]
Users = Annotated[int, tyro.conf.arg(help="Refused rows for each seed.")]
Out = Annotated[Path, tyro.conf.arg(help="Folder of the results.")]

SEEDS = (1, 2, 3, 4, 5)
USERS = 100
OUT = Path("benchmarks/results")
