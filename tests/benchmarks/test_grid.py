import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import counting
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from benchmarks import timing
from benchmarks.experiments import grid, runner
from benchmarks.experiments.todo import Todo
from benchmarks.tables import Choice, specs

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20  # seconds in which a process must end


def test_a_worker_stays_in_its_group_and_program():
    found = [grid.Piece(group, program, spec) for spec in range(3) for program in "xy" for group in "ab"]
    todo, taken = Todo(found), {"one": [], "two": []}
    while todo:
        for worker, of in taken.items():
            of.append(todo.take(worker))
    assert Counter(piece for of in taken.values() for piece in of) == Counter(found)
    for group, of in zip("ab", taken.values(), strict=True):
        assert [(piece.group, piece.program) for piece in of] == [(group, "x")] * 3 + [(group, "y")] * 3


def test_workers_share_a_group_with_many_pieces_alone():
    few, many = (counting.pieces("a", each) for each in (4, 40))
    assert [Todo(few).take(worker) for worker in ("one",)] == few[:1]
    todo = Todo(few)
    assert [todo.take("one"), todo.take("two")] == [few[0], None]
    todo = Todo(many)
    assert [todo.take("one"), todo.take("two"), todo.take("one")] == many[:3]


def test_the_piece_of_a_lost_worker_is_the_next_of_whoever_takes_its_group():
    found = counting.pieces("ab", 2)
    todo = Todo(found)
    assert [todo.take(worker) for worker in ("one", "two")] == [found[0], found[2]]
    todo.put_back("one", found[0])
    assert len(todo) == 3
    assert todo.take("three") == found[0]
    assert [todo.take(worker) for worker in ("two", "three", "two")] == [found[3], found[1], None]


def test_a_group_is_prepared_once_and_an_error_is_that_of_its_spec(monkeypatch):
    found = [*counting.pieces(("a", "broken"), 2), grid.Piece("c", "program", "wrong"), *counting.pieces("c", 1)]
    prepared = []
    monkeypatch.setattr(counting, "SECONDS", 0)
    work = counting.WORK._replace(prepare=lambda group: (prepared.append(group), counting.prepare(group))[1])
    results = dict(grid.outcomes(work, found, grid.HERE._replace(processes=1)))
    assert prepared == ["a", "broken", "c"]
    assert [results[f"broken{index}"] for index in range(2)] == ["ValueError: no such group"] * 2
    assert results["wrong"] == "ValueError: wrong spec"
    assert results["a1"] == results["a0"] != results["c0"]


def test_without_dask_a_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(counting, "SECONDS", 0)
    resources = grid.Resources(processes=2)
    assert len(list(grid.outcomes(counting.WORK, counting.pieces("ab", 2), resources))) == 4
    assert "pip install 'hare-jax[cluster]'" in capsys.readouterr().err


def test_specs_that_differ_in_the_table_alone_run_once(monkeypatch):
    ran = []
    monkeypatch.setattr(runner, "WORK", grid.Work(lambda group: None, lambda _, spec: ran.append(spec)))
    choice = Choice(("mortgage",), ("linear",), ("wachter",), seeds=(1,), users=5)
    wanted = [*specs("table1", choice), *specs("table6", choice._replace(levels=("far",)))]
    assert {spec for spec, _ in runner.outcomes(wanted, grid.Resources(processes=1))} == set(wanted)
    assert len(ran) == len(wanted) / 2


@pytest.fixture
def kept_programs(tmp_path):
    """JAX keeps all programs in a folder of the test."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = [jax.config.values[name] for name in names]
    for values in ((str(tmp_path), 0.0), before):
        for name, value in zip(names, values, strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        if values is not before:
            yield


def test_the_time_of_a_program_from_the_cache_is_no_compile_time(kept_programs):
    def compile_s():
        return timing.timed(jax.jit(lambda x: jnp.sin(x) + 17), np.ones(3)).compile_s

    assert compile_s() > 0
    assert compile_s() is None
    with timing.compiling_anew():
        assert compile_s() > 0
    assert compile_s() is None


@pytest.fixture(scope="module")
def address():
    """A cluster of two workers, as one that somebody else has started."""
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": 60, "memory_limit": 0}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_no_result_comes_twice(address):
    found = [*counting.pieces("ab", 12), grid.Piece("b", "program", "wrong"), *counting.pieces(("broken",), 1)]
    killed, results = set(), []
    for spec, result in grid.outcomes(counting.WORK, found, grid.Resources(scheduler=address)):
        results.append((spec, result))
        if isinstance(result, dict) and len(results) in (3, 6, 9):
            killed.add(result["pid"])
            os.kill(result["pid"], signal.SIGKILL)  # with its next piece in flight
    assert sorted(spec for spec, _ in results) == sorted(piece.spec for piece in found)
    by_spec = dict(results)
    assert by_spec["wrong"] == "ValueError: wrong spec"
    assert by_spec["broken0"] == "ValueError: no such group"
    assert len(killed) == 3
    done = [result for result in by_spec.values() if isinstance(result, dict)]
    assert len(done) == 24
    assert all(result["prepared"] == result["pid"] for result in done)


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_an_error(monkeypatch):
    cluster = pytest.importorskip("benchmarks.experiments.cluster", reason="the extra `cluster` is not installed")
    monkeypatch.setattr(cluster, "_CONNECTING", 0.5)
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        list(grid.outcomes(counting.WORK, counting.pieces("a", 1), grid.Resources(scheduler="tcp://127.0.0.1:1")))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_process_that_started_it(number):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    command, workers = [sys.executable, counting.__file__], set()
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, **given) as parent:
        while len(workers) < 2:
            workers.add(int(parent.stdout.readline()))
        assert all(map(_is_running, workers))
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)  # as a terminal does
        else:
            parent.kill()
        _, errors = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == (130 if number == signal.SIGINT else -number)
    assert errors == ""
    end = time.monotonic() + PATIENCE
    while any(map(_is_running, workers)):
        assert time.monotonic() < end
        time.sleep(0.1)


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
