"""Populations as sequences of blocks: a number of users, or rows from an iterator, of which one piece is in memory.

A block holds `size` users, the last one fewer. User i of the population is in block i // size, whoever reads it.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from hare_jax.base import require


class Block(NamedTuple):
    """Consecutive users."""

    number: int  # of the block in the population
    rows: Any  # leaves (size, ...), the last row repeated where users are missing; None: users have numbers alone
    num_users: int  # at most `size`


def numbered(num_users: int, size: int) -> Iterator[Block]:
    """The blocks of the users 0 to `num_users` - 1.

    >>> [block.num_users for block in numbered(10, 4)]
    [4, 4, 2]
    """
    for number, first in enumerate(range(0, num_users, size)):
        yield Block(number, None, min(size, num_users - first))


def of_pieces(pieces: Iterable[Any], size: int) -> Iterator[Block]:
    """The blocks of the rows in `pieces`: pytrees with leaves (n, ...), each of any n.

    Raises:
        ValueError: the leaves of a piece differ in length.

    >>> [block.rows.tolist() for block in of_pieces([np.arange(3), np.arange(3, 5)], 2)]
    [[0, 1], [2, 3], [4, 4]]
    """
    held: list[Any] = []
    numbers = itertools.count()
    for piece in pieces:
        held.append(jax.tree.map(np.asarray, piece))
        if sum(map(_length, held)) >= size:
            rows = _concatenated(held)
            whole = _length(rows) // size * size
            for first in range(0, whole, size):
                yield Block(next(numbers), _rows(rows, slice(first, first + size)), size)
            held = [_rows(rows, slice(whole, None))]
    left = sum(map(_length, held))
    if left:
        yield Block(next(numbers), _rows(_concatenated(held), np.minimum(np.arange(size), left - 1)), left)


def _length(rows: Any) -> int:
    shapes = [leaf.shape[:1] for leaf in jax.tree.leaves(rows)]
    require(len(set(shapes)) == 1 and shapes[0] != (), "population", "must have leaves (n, ...) of one length", shapes)
    return shapes[0][0]


def _rows(rows: Any, at: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[at], rows)


def _concatenated(pieces: list[Any]) -> Any:
    return pieces[0] if len(pieces) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
