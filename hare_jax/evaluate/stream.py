"""Simulate populations of any size: chunk by chunk, on all devices and processes, with summaries that merge exactly.

The key of user i is `fold_in(key, i)`. A device computes a block of `batch_size` users at a time; of P processes,
process p computes the blocks p, p + P, ... The host adds up a chunk of blocks in exact arithmetic (`sketch`) while the
devices compute the next chunk. Each device has a program of its own, as one for several devices rounds differently. The
result is therefore the same, bit by bit, for any size of a chunk and any number of devices and processes of one kind.
Memory is that of two chunks.
"""

import itertools
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import as_partial, check_key, require
from hare_jax.evaluate import blocks, checkpoints, processes
from hare_jax.evaluate.blocks import Block
from hare_jax.evaluate.checkpoints import Progress
from hare_jax.evaluate.sharding import default_batch_size
from hare_jax.evaluate.sketch import Sketch, empty, merge, sketch
from hare_jax.hyperparams import Count, check_values

_NUM_BATCHES = 100  # of a device in a chunk, by default
_AHEAD = 1  # chunks that are computed while one is added up
_MOST_USERS = 2**31  # whose numbers are uint32, those that fill up the last block too


class Counted(NamedTuple):
    """A figure of one user."""

    value: Array  # ()
    counted: Array  # () bool: whether the summary includes it


class _Work(NamedTuple):
    """What is computed for each user."""

    fn: Partial
    key: Array
    names: tuple[str, ...]  # of the figures
    size: int  # users in a block


class _Running(NamedTuple):
    """A chunk that the devices compute."""

    values: list[Array]  # (size, figures) of each block
    counts: list[int]  # users in each block
    crc: int  # of all rows up to the end of the chunk


def default_chunk(batch_size: int) -> int:
    """Users in a chunk: 100 batches for each device of this process."""
    return batch_size * jax.local_device_count() * _NUM_BATCHES


def summarise(
    fn: Callable[..., dict[str, Counted]],
    key: Array,
    population: int | Iterable[Any],
    *,
    batch_size: int | None = None,
    chunk: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> dict[str, Sketch]:
    """The summary of the whole `population`, over all processes; every process has to call it. See `chunks`.

    >>> def square(key):
    ...     return {"square": Counted(jax.random.uniform(key) ** 2, jnp.array(True))}
    >>> round(summarise(square, jax.random.key(0), 10_000)["square"].mean, 1)
    0.3
    """
    own = chunks(fn, key, population, batch_size=batch_size, chunk=chunk, checkpoint=checkpoint)
    (last,) = deque(own, maxlen=1)
    return processes.merged(last.sketches)


def chunks(
    fn: Callable[..., dict[str, Counted]],
    key: Array,
    population: int | Iterable[Any],
    *,
    batch_size: int | None = None,
    chunk: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Iterator[Progress]:
    """The summary of the users of this process so far, at the start and after each chunk of them.

    Args:
        fn: `fn(key)`, or `fn(key, row)` if the population has rows: the figures of one user by name, floats (). Bind
            arrays with `Partial`, so that they are arguments of the program.
        key: Key () of the population.
        population: The number of users, or an iterable of rows: pytrees with leaves (n, ...), each of any n.
        batch_size: Users that a device computes at a time, by default `default_batch_size()`. Another number is
            another program, which may round differently.
        chunk: Users whose figures are held at a time, by default `default_chunk`; rounded up to whole batches.
        checkpoint: A file that is replaced after each chunk. If it exists, the run continues after its last chunk;
            an iterable has to give the same rows again. Each of several processes has a file of its own.

    Raises:
        ValueError: an argument is out of its range, there are no users, a figure is no float (), or the checkpoint is
            not of this run.
        OSError: the checkpoint can't be read or written.
    """
    size = default_batch_size() if batch_size is None else batch_size
    check_values(batch_size=(size, Count))
    chunk = default_chunk(size) if chunk is None else chunk
    check_values(chunk=(chunk, Count))
    first, all_blocks = _peek(_blocks(population, size))
    work = _work(as_partial(fn), key, first, size)
    about = {"population": None if first.rows is not None else population, "batch_size": size}
    file = checkpoints.file_for(checkpoint, work.fn, _arguments(work, first), about)
    return _progress(work, processes.share(all_blocks), file, -(-chunk // size))


def _blocks(population: int | Iterable[Any], size: int) -> Iterator[Block]:
    if not isinstance(population, int | np.integer):
        require(isinstance(population, Iterable), "population", "must be a number or an iterable of rows", population)
        return blocks.of_pieces(population, size)
    check_values(population=(population, Count))
    require(population <= _MOST_USERS, "population", f"must be at most {_MOST_USERS}", population)
    return blocks.numbered(population, size)


def _peek(found: Iterator[Block]) -> tuple[Block, Iterator[Block]]:
    """The first block, and all of them."""
    first = next(found, None)
    require(first is not None, "population", "must hold at least one row", None)
    assert first is not None
    return first, itertools.chain([first], found)


def _work(fn: Partial, key: Array, first: Block, size: int) -> _Work:
    """Check the figures of one user, and take their names."""
    check_key(key)
    work = _Work(fn, key, (), size)
    figures = jax.eval_shape(fn, *_arguments(work, first))
    named = isinstance(figures, dict) and all(isinstance(each, Counted) for each in figures.values())
    require(named and len(figures) > 0, "fn", "must give a dict of Counted", figures)
    for name, figure in figures.items():
        scalar = figure.value.shape == figure.counted.shape == () and jnp.issubdtype(figure.value.dtype, jnp.floating)
        require(scalar, "fn", f"must give a float () and a bool () as {name}", figure)
    return work._replace(names=tuple(sorted(figures)))


def _arguments(work: _Work, first: Block) -> tuple:
    """The arguments of `fn` for one user."""
    return (work.key,) if first.rows is None else (work.key, jax.tree.map(lambda leaf: leaf[0], first.rows))


def _progress(work: _Work, own: Iterator[Block], file: checkpoints.File | None, num_blocks: int) -> Iterator[Progress]:
    """The progress after each chunk of `num_blocks`, of which the devices compute the next one meanwhile."""
    start = Progress(0, 0, 0, {name: empty() for name in work.names})
    progress = start if file is None else file.load(start)
    crc = _skip(own, progress)
    yield progress
    given = [jax.device_put((work.fn, work.key), device) for device in jax.local_devices()]
    running: deque[_Running] = deque()
    for part in iter(lambda: list(itertools.islice(own, num_blocks)), []):
        calls = _calls(work, given, part)
        if not running:
            _compile(calls[: len(given)])
        running.append(_dispatched(calls, part, crc))
        crc = running[-1].crc
        if len(running) > _AHEAD:
            progress = _added(work, progress, running.popleft(), file)
            yield progress
    for chunk in running:
        progress = _added(work, progress, chunk, file)
        yield progress


def _skip(own: Iterator[Block], progress: Progress) -> int:
    """Skip the blocks that are done, whose rows have to be those of the checkpoint; their checksum."""
    crc = 0
    for block in itertools.islice(own, progress.blocks):
        crc = _crc(block, crc)
    require(crc == progress.crc, "population", "must give the rows of the checkpoint's run again", "other rows")
    return crc


def _crc(block: Block, crc: int) -> int:
    """The checksum of the rows of a block, after rows with the checksum `crc`."""
    for leaf in jax.tree.leaves(block.rows):
        crc = zlib.crc32(leaf.tobytes(), crc)
    return crc


def _calls(work: _Work, given: list[tuple[Partial, Array]], part: list[Block]) -> list[tuple]:
    """The arguments of `_figures` for each block of `part`; `given` are the function and the key on each device."""
    devices = itertools.cycle(given)
    return [(*next(devices), _numbers(block, work.size), block.rows) for block in part]


def _numbers(block: Block, size: int) -> np.ndarray:
    """The numbers (size,) of the users of a block."""
    return np.arange(block.number * size, (block.number + 1) * size, dtype=np.uint32)


def _compile(calls: list[tuple]) -> None:
    """Compile the programs of `_figures` for the devices of `calls`, several at once, unless they have been."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        deque(pool.map(lambda call: _figures.lower(*call).compile(), calls))


def _dispatched(calls: list[tuple], part: list[Block], crc: int) -> _Running:
    """Let the devices compute the blocks of `part`, after rows with the checksum `crc`; returns before they have."""
    for block in part:
        crc = _crc(block, crc)
    return _Running([_figures(*call) for call in calls], [block.num_users for block in part], crc)


@jax.jit
def _figures(fn: Partial, key: Array, numbers: Array, rows: Any) -> Array:
    """The figures (n, m), in the order of their names, of the users `numbers` (n,): float32, NaN where not counted."""

    def one(number: Array, row: Any) -> Array:
        own = jax.random.fold_in(key, number)
        figures = fn(own) if row is None else fn(own, row)
        return jnp.stack([_masked(figures[name]) for name in sorted(figures)])

    return jax.vmap(one)(numbers, rows)


def _masked(figure: Counted) -> Array:
    value = jnp.where(jnp.isnan(figure.value), jnp.inf, figure.value)  # counted, so that the mean is not finite either
    return jnp.where(figure.counted, value, jnp.nan).astype(jnp.float32)


def _added(work: _Work, progress: Progress, chunk: _Running, file: checkpoints.File | None) -> Progress:
    """Wait for the figures of a chunk, and add them to the `progress`, on disk too."""
    users = np.concatenate([np.asarray(each)[:count] for each, count in zip(chunk.values, chunk.counts, strict=True)])
    sketches = {
        name: merge(progress.sketches[name], sketch(column)) for name, column in zip(work.names, users.T, strict=True)
    }
    after = Progress(progress.blocks + len(chunk.counts), progress.users + len(users), chunk.crc, sketches)
    if file is not None:
        file.save(after)
    return after
