"""What chance decides in a study, recomputable from its seed and the number of a person, from 0.

Each purpose has a stream of its own: `default_rng([seed, purpose, index])`.
"""

import numpy as np

from hare_jax.app.study.design import Arm, Study

_ARM, _ROW, _SESSION, _SIDE, _SWAP = range(5)  # purposes
_NUM_SEEDS = 2**31
_NUM_SIDES = 2


def arm_of(study: Study, number: int) -> Arm:
    """The arm of a person, by permuted blocks: each block of people has `study.block` of each arm, in random order."""
    size = study.block * len(study.arms)
    order = _stream(study, _ARM, number // size).permutation(size)
    return study.arms[int(order[number % size]) % len(study.arms)]


def row_of(study: Study, number: int, num_rows: int) -> int:
    """The index of the row that a person is assigned: all rows once in random order, then again in another one."""
    order = _stream(study, _ROW, number // num_rows).permutation(num_rows)
    return int(order[number % num_rows])


def seed_of(study: Study, number: int) -> int:
    """The seed of the session of a person."""
    return int(_stream(study, _SESSION, number).integers(_NUM_SEEDS))


def base_is_first(study: Study, number: int) -> bool:
    """Whether the base recourse is shown before the recommendation when the two are rated."""
    return bool(_stream(study, _SIDE, number).integers(_NUM_SIDES))


def swaps(study: Study, number: int) -> bool:
    """Whether the options of the repeated question change sides."""
    return bool(_stream(study, _SWAP, number).integers(_NUM_SIDES))


def _stream(study: Study, purpose: int, index: int) -> np.random.Generator:
    return np.random.default_rng([study.seed, purpose, index])
