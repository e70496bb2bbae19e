"""The options that several commands have, each with its help."""

from pathlib import Path
from typing import Annotated

import tyro

_NAMES = tuple[str, ...]
Datasets = Annotated[_NAMES, tyro.conf.arg(help="Data sets.")]
Methods = Annotated[_NAMES, tyro.conf.arg(help="Base methods, or all.")]
OwnMethods = Annotated[_NAMES | None, tyro.conf.arg(help="Base methods, or all; the table's own unless given.")]
OwnModels = Annotated[_NAMES | None, tyro.conf.arg(help="`mlp`, `linear` or both; the table's own unless given.")]
OwnLevels = Annotated[_NAMES | None, tyro.conf.arg(help="Of what the table varies; all unless given.")]
Arms = Annotated[_NAMES, tyro.conf.arg(help="Elicitors.")]
OwnArms = Annotated[
    _NAMES | None, tyro.conf.arg(help="Elicitors, and in tables `base`; the experiment's own unless given.")
]
Seeds = Annotated[tuple[int, ...], tyro.conf.arg(help="Seeds of training, users and sampling.")]
Users = Annotated[int, tyro.conf.arg(help="Refused rows for each seed.")]
Feasible = Annotated[
    bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Keep recourses feasible, unlike the original's code.")
]
Out = Annotated[Path, tyro.conf.arg(help="Folder of the results.")]

SEEDS = (1, 2, 3, 4, 5)
USERS = 100
OUT = Path("benchmarks/results")
