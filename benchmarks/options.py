"""Options shared by several commands, with their help texts."""

from pathlib import Path
from typing import Annotated

import tyro

_NAMES = tuple[str, ...]
Datasets = Annotated[_NAMES, tyro.conf.arg(help="Data sets.")]
Methods = Annotated[_NAMES, tyro.conf.arg(help="Base methods, or all.")]
OwnMethods = Annotated[_NAMES | None, tyro.conf.arg(help="Base methods, or all; by default those of the table.")]
Models = Annotated[_NAMES, tyro.conf.arg(help="`mlp`, `linear` or both.")]
OwnModels = Annotated[_NAMES | None, tyro.conf.arg(help="`mlp`, `linear` or both; by default those of the table.")]
OwnLevels = Annotated[_NAMES | None, tyro.conf.arg(help="Values of the field that the table varies; by default all.")]
Arms = Annotated[_NAMES, tyro.conf.arg(help="Elicitors.")]
OwnArms = Annotated[
    _NAMES | None, tyro.conf.arg(help="Elicitors, and in tables `base`; by default those of the experiment.")
]
QuestionArms = Annotated[
    _NAMES | None,
    tyro.conf.arg(
        help="Elicitors, bayes_set3, bayes_set4, bayes_rating, multi_answered or observer; by default "
        "multi_answered, observer and all elicitors except single."
    ),
]
Kinds = Annotated[_NAMES, tyro.conf.arg(help="Kinds of persons, or all.")]
Ideals = Annotated[
    _NAMES, tyro.conf.arg(help="Distances of ideals: near, intermediate, far; other kinds of persons have none.")
]
NoiseNames = Annotated[
    _NAMES | None,
    tyro.conf.arg(
        help="Noise of answers: a probability of flips, logistic, bt:TEMPERATURE or tie:WIDTH; by default 0, and for "
        "ideals also 0.1."
    ),
]
ElicitorArms = Annotated[_NAMES, tyro.conf.arg(help="Elicitors, which start from the recourse of growing spheres.")]
Others = Annotated[
    int, tyro.conf.arg(help="Retrained classifiers that have to accept a robust recourse; 0 leaves these rows out.")
]
Retrained = Annotated[int, tyro.conf.arg(help="Retrained classifiers of each kind that judge a recourse.")]
Seeds = Annotated[tuple[int, ...], tyro.conf.arg(help="Seeds of training, users and sampling.")]
Users = Annotated[int, tyro.conf.arg(help="Refused rows per seed.")]
Feasible = Annotated[
    bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Keep all recourses feasible, unlike the original code.")
]
Scheduler = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="ADDRESS",
        help="Scheduler of a dask cluster whose workers run the experiments, as tcp://HOST:8786; by default the cores "
        "of this computer.",
    ),
]
Out = Annotated[Path, tyro.conf.arg(help="Folder of the results.")]

SEEDS = (1, 2, 3, 4, 5)
USERS = 100
OUT = Path("benchmarks/results")
