import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from streamed import CHUNK, NUM, SIZE, figures, of_row

from hare_jax.evaluate import checkpoints, stream
from hare_jax.evaluate.sketch import pack
from hare_jax.evaluate.stream import Counted

KEY = jax.random.key(0)
SCRIPT = Path(__file__).with_name("streamed.py")
PATIENCE = 120  # seconds


def packed(summary):
    return pack(summary).tolist()


def summarise(fn=figures, population=NUM, **options):
    return stream.summarise(fn, KEY, population, **{"batch_size": SIZE, **options})


@pytest.fixture(scope="module")
def whole():
    return summarise()


def test_each_user_has_the_key_of_their_number(whole):
    draw = jax.jit(jax.vmap(lambda number: figures(jax.random.fold_in(KEY, number))))
    found = jax.device_get(draw(np.arange(NUM, dtype=np.uint32)))
    for name, (value, counted) in found.items():
        assert whole[name].n == counted.sum()
        assert whole[name].mean == pytest.approx(value[counted].mean(dtype=float), rel=1e-6)
        assert whole[name].sd == pytest.approx(value[counted].std(ddof=1, dtype=float), rel=1e-5)
    assert whole["level"].quantile(0.5) == np.median(found["level"].value)


@pytest.mark.parametrize("chunk", [7, 16, 64])
def test_chunks_of_any_size_give_the_same_bits(whole, chunk):
    assert packed(summarise(chunk=chunk)) == packed(whole)


def rows():
    return np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)


@pytest.mark.parametrize("lengths", [(50,), (1,) * 50, (3, 0, 37, 10)])
def test_rows_may_come_in_pieces_of_any_length(lengths):
    pieces = np.split(rows(), np.cumsum(lengths)[:-1])
    found = summarise(of_row, iter(pieces), chunk=20)["product"]
    draws = jax.device_get(jax.vmap(lambda number: jax.random.uniform(jax.random.fold_in(KEY, number)))(np.arange(50)))
    expected = (rows()[:, 0] * draws)[rows()[:, 1] > 0]
    assert found.n == len(expected)
    assert found.mean == pytest.approx(expected.mean(dtype=float), abs=1e-6)


def test_the_running_summary_grows_by_chunks():
    steps = list(stream.chunks(figures, KEY, NUM, batch_size=SIZE, chunk=CHUNK))
    assert [step.users for step in steps] == [*range(0, NUM, CHUNK), NUM]
    assert all(step.sketches["level"].n == step.users for step in steps)


def test_a_run_that_stopped_continues_at_its_chunk(whole, tmp_path):
    path = tmp_path / "run.npz"
    stopped = stream.chunks(figures, KEY, NUM, batch_size=SIZE, chunk=CHUNK, checkpoint=path)
    users = [next(stopped).users for _ in range(4)]
    steps = list(stream.chunks(figures, KEY, NUM, batch_size=SIZE, chunk=16, checkpoint=path))
    assert steps[0].users == users[-1] == 3 * CHUNK
    assert packed(steps[-1].sketches) == packed(whole)
    assert packed(summarise(checkpoint=path)) == packed(whole)  # nothing is left to compute
    assert [each.name for each in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize("change", [{"population": NUM + 1}, {"batch_size": 2 * SIZE}, {"fn": Partial(figures)}])
def test_a_checkpoint_of_another_run_is_an_error(tmp_path, change):
    run = {"fn": Partial(scaled, 1.0), "population": NUM, "batch_size": SIZE, "checkpoint": tmp_path / "run.npz"}
    for same in (run, {**run, "chunk": 1}):
        assert next(stream.chunks(key=KEY, **same)).users == 0
    for other in ({**run, **change}, {**run, "fn": Partial(scaled, 2.0)}):
        with pytest.raises(ValueError, match=r"^checkpoint: must be of a run with the same function.*run.npz"):
            summarise(**other)


def scaled(factor, key):
    return {"scaled": Counted(factor * jax.random.uniform(key), jnp.array(True))}


def test_other_rows_than_those_of_the_checkpoint_are_an_error(tmp_path):
    path = tmp_path / "run.npz"
    stopped = stream.chunks(of_row, KEY, [rows()], batch_size=SIZE, chunk=SIZE, checkpoint=path)
    assert [next(stopped).users for _ in range(3)][-1] == 2 * SIZE
    with pytest.raises(ValueError, match=r"^population: must give the rows of the checkpoint's run again"):
        summarise(of_row, [rows()[::-1]], checkpoint=path)
    assert packed(summarise(of_row, [rows()], checkpoint=path)) == packed(summarise(of_row, [rows()]))


def test_what_is_no_checkpoint_is_an_error(tmp_path):
    path = tmp_path / "run.npz"
    path.write_text("text")
    with pytest.raises(ValueError, match=r"run.npz: must be a checkpoint written by stream"):
        summarise(checkpoint=path)
    with pytest.raises(FileNotFoundError):
        summarise(checkpoint=tmp_path / "missing" / "run.npz")


def test_digests_do_not_depend_on_addresses():
    def again():
        return lambda key: figures(key)

    about = {"population": NUM}
    found = {checkpoints.digest(Partial(fn), (KEY,), about) for fn in (again(), again(), figures)}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"population": 0}, r"population: must be at least 1; got 0"),
        ({"population": True}, r"population: must be an int; got True"),
        ({"population": 2**31 + 1}, r"population: must be at most 2147483648"),
        ({"population": 1.5}, r"population: must be a number or an iterable of rows; got 1.5"),
        ({"population": [], "fn": of_row}, r"population: must hold at least one row"),
        ({"population": [(np.ones(2), np.ones(3))], "fn": of_row}, r"population: must have leaves \(n, ...\) of one"),
        ({"batch_size": 0}, r"batch_size: must be at least 1; got 0"),
        ({"chunk": 0}, r"chunk: must be at least 1; got 0"),
        ({"fn": lambda key: jnp.ones(())}, r"fn: must give a dict of Counted"),
        ({"fn": lambda key: {"a": Counted(jnp.ones(2), True)}}, r"fn: must give a float \(\) and a bool \(\) as a"),
    ],
)
def test_wrong_arguments_are_named(options, rule):
    with pytest.raises(ValueError, match=f"^{rule}"):
        summarise(**options)


def test_a_figure_that_is_not_finite_shows_in_the_mean():
    found = summarise(lambda key: {"a": Counted(jnp.array(jnp.nan), jnp.array(True))}, 5)["a"]
    assert found.n == 5
    assert np.isnan(found.mean)


def start(checkpoint, port=0, num=1, index=0, devices=1):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent.parent.parent)}
    arguments = [str(each) for each in (port, num, index, devices, checkpoint)]
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finished(process):
    """Users of a process, and the summary that it printed."""
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    users, *numbers = map(int, printed.splitlines()[-1].split())  # the first ones are of JAX
    return users, np.reshape(numbers, (-1, 2)).tolist()


@pytest.mark.slow
def test_two_processes_give_the_same_bits_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    path = tmp_path / "run.npz"
    pair = [start(path, port, 2, index, 2 - index) for index in range(2)]
    (ours, first), (theirs, second) = map(finished, pair)
    alone = finished(start(tmp_path / "alone.npz"))
    assert ours + theirs == NUM
    assert min(ours, theirs) > NUM / 3
    assert (NUM, first) == (NUM, second) == alone
    assert sorted(each.name for each in tmp_path.iterdir()) == ["alone.npz", "run.npz.0-of-2", "run.npz.1-of-2"]


@pytest.mark.slow
def test_a_killed_process_continues_at_its_chunk(tmp_path):
    path = tmp_path / "run.npz"
    killed = start(path)
    until = time.monotonic() + PATIENCE
    while not path.exists() or not np.load(path)["numbers"][1]:
        assert killed.poll() is None
        assert time.monotonic() < until
        time.sleep(PATIENCE / 10_000)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert 0 < np.load(path)["numbers"][1] < NUM
    assert finished(start(path)) == finished(start(tmp_path / "alone.npz"))
