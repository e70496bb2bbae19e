import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import benchmarks
import hare_jax
from benchmarks import compact, digest, store
from benchmarks.experiments import cases, runner
from benchmarks.specs import MODES, GradientSpec, SpeedSpec, StreamSpec
from benchmarks.tables import Choice, specs

CHOICE = Choice(("mortgage",), ("linear",), ("wachter",), seeds=(1,), users=5, mode="feasible")

STREAM = {"dataset": "adult", "model": "mlp", "method": "ar", "arm": "multi"}


def row_of(seed, **figures):
    return asdict(specs("table1", CHOICE)[0]) | {"seed": seed, "digest": "0"} | figures


def test_a_row_is_stored_once_whoever_writes(tmp_path):
    ours, theirs = store.Store(tmp_path), store.Store(tmp_path)
    assert ours.append(row_of(1, l1=0.5))
    assert theirs.append(row_of(2))
    assert not theirs.append(row_of(1, l1=0.6))
    assert not ours.append(row_of(2))
    assert ours.append(row_of(1, l1=0.5) | {"digest": "1"})  # other code may give another figure
    assert [(row["seed"], row.get("l1"), row["digest"]) for row in store.read_rows(ours.path)] == [
        (1, 0.5, "0"),
        (2, None, "0"),
        (1, 0.5, "1"),
    ]
    assert row_of(2) in store.Store(tmp_path)


def test_a_line_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / store.WORKING
    store.Store(tmp_path).append(row_of(1))
    path.write_bytes(path.read_bytes() + json.dumps(row_of(2)).encode()[:-3])
    assert len(store.read_rows(path)) == 1
    again = store.Store(tmp_path)
    assert row_of(2) not in again
    assert again.append(row_of(2))
    assert [row["seed"] for row in store.read_rows(path)] == [1, 2]


def test_the_row_of_the_present_code_counts_or_else_the_last():
    running = digest.code_of(row_of(1))
    old, new, present = (row_of(1, l1=value, digest=name) for value, name in ((1, "a"), (2, "b"), (3, running)))
    assert store.latest([old, new]) == [new]
    assert store.latest([present, old, new]) == store.latest([old, present]) == [present]


def test_merged_rows_survive_without_the_working_ones(tmp_path):
    kept = store.Store(tmp_path)
    rows = [row_of(seed, l1=seed / 3, ideal_l2=0.25, note=None, digest=digest.code_of(row_of(1))) for seed in (2, 1)]
    for row in rows:
        kept.append(row)
    kept.merge({"table1", "table2"})
    first = (tmp_path / "table1.csv").read_text()
    (tmp_path / store.WORKING).unlink()
    assert all(row in store.Store(tmp_path) for row in rows)
    found = store.read_latest(tmp_path)
    assert [row["seed"] for row in found] == [1, 2]
    assert found[0]["noise"] == "0"  # text, as in the spec
    assert found[1]["l1"] == pytest.approx(2 / 3, rel=1e-5)
    assert "note" not in found[0]
    compact.write(tmp_path / "table1.csv", "table1", found)
    assert (tmp_path / "table1.csv").read_text() == first
    assert not (tmp_path / "table2.csv").exists()


def test_a_column_that_depends_on_the_mode_alone_is_not_repeated(tmp_path):
    kept = [asdict(spec) for mode in MODES for spec in specs("table1", CHOICE._replace(mode=mode, seeds=(1, 2)))]
    rows = [row | {"digest": row["mode"][:2], "l1": row["seed"] / 3} for row in kept]
    path = tmp_path / "table1.csv"
    compact.write(path, "table1", rows)
    first, _, header, *_ = path.read_text().splitlines()
    assert json.loads(first[2:])["digest"] == {"feasible": "fe", "paper": "pa"}
    assert "digest" not in header
    found = {store.spec_key(row): row for row in compact.read(path)}
    assert [found[store.spec_key(row)]["digest"] for row in rows] == [row["digest"] for row in rows]


def test_the_rows_of_a_session_are_one_line(tmp_path):
    cells = cases.specs("adult", cases.Choice(("ideal",), ("far",), ("0",), ("bayes", "multi"), (201, 202), 4))
    rows = [
        asdict(replace(spec, budget=budget)) | {"digest": "x", "loss": 1 / (budget + spec.seed), "success": 1.0}
        for spec in cells
        for budget in (1, 10, 30)
    ]
    rows[0]["in_region"] = 0.5
    path = tmp_path / "questions.csv"
    compact.write(path, "questions", rows)
    header, *lines = path.read_text().splitlines()[2:]
    assert header == "arm,budget,seed,in_region,loss"
    assert [line.split(",")[:4] for line in lines] == [
        [arm, "1;10;30", seed, region]
        for arm, seed, region in (
            ("bayes", "201", "0.5;;"),
            ("bayes", "202", ""),
            ("multi", "201", ""),
            ("multi", "202", ""),
        )
    ]
    found = {store.spec_key(row): row for row in compact.read(path)}
    assert found.keys() == {store.spec_key(row) for row in rows}
    for row in rows:
        back = found[store.spec_key(row)]
        assert back["loss"] == pytest.approx(row["loss"], rel=1e-4)
        assert back.get("in_region") == row.get("in_region")


@pytest.mark.parametrize(
    "spec",
    [
        SpeedSpec(dataset="adult", stage="a, b", method="ar", users=1, budget=2, per_round=1, seed=1, device="0"),
        GradientSpec(experiment="training", dataset="adult", seed=1, users=9, recourse_weight=0.1, device="cpu"),
        StreamSpec(**STREAM, chunk=10, processes=1, devices=2, device="cpu"),
    ],
)
def test_every_experiment_has_a_key_of_its_own(tmp_path, spec):
    kept, row = store.Store(tmp_path), asdict(spec) | {"finite": True, "digest": digest.code_of(asdict(spec))}
    kept.append(row | {"x": 1.5})
    kept.append(row | {"users": 3})
    kept.merge({spec.table})
    assert asdict(spec) in store.Store(tmp_path)
    assert asdict(spec) | {"seed": 2} not in store.Store(tmp_path)
    (tmp_path / store.WORKING).unlink()
    assert row | {"x": 1.5} in store.read_latest(tmp_path, spec.table)


def test_a_row_from_before_a_field_of_its_spec_has_the_default():
    row = asdict(GradientSpec(experiment="training", dataset="adult", seed=1, users=9, device="cpu"))
    old = {name: value for name, value in row.items() if name not in ("method", "classifiers")}
    assert store.row_key(old) == store.row_key(row) != store.row_key(row | {"classifiers": 2})


def test_the_committed_rows_are_read_and_small():
    folder = Path(benchmarks.__file__).parent / "results"
    assert sum(path.stat().st_size for path in folder.glob("*.csv")) < 3e6
    rows = compact.read(folder / "table9.csv")
    assert {row["noise"] for row in rows} == {"0", "logistic"}
    assert all(row["loss"] == row["ideal_l2"] for row in rows)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    copy = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("results", "__pycache__", "*.csv", "*.npz")
    for package in (hare_jax, benchmarks):
        shutil.copytree(Path(package.__file__).parent, copy / package.__name__, ignore=ignored)
    return copy


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("hare_jax/space/points.py", True),
        ("hare_jax/data/datasets.toml", True),
        ("benchmarks/experiments/cells.py", True),
        ("benchmarks/original/paper.py", False),
        ("benchmarks/specs.py", True),
        ("hare_jax/app/demo.py", False),
        ("benchmarks/pages/render.py", False),
        ("benchmarks/store.py", False),
    ],
)
def test_an_edit_of_what_computes_changes_the_digest(sources, path, changes):
    def of():
        return digest.of(sources / "hare_jax", sources / "benchmarks")

    before, text = of(), (sources / path).read_text()
    assert before == of()
    assert path != "hare_jax/space/points.py" or before == digest.code()  # the copy is the code
    (sources / path).write_text(text + "edited = 1\n")
    assert (of() != before) == changes
    (sources / path).write_text(text)


@pytest.mark.parametrize(("folder", "of"), [("peers", {"table": "peers"}), ("original", {"mode": "paper"})])
def test_code_of_some_rows_changes_their_digest_alone(sources, folder, of):
    kinds = {}, {"table": "table1", "mode": "feasible"}, {"table": "table1", "mode": "paper"}, {"table": "peers"}

    def digests():
        return [digest.of(sources / "hare_jax", sources / "benchmarks", **kind) for kind in kinds]

    before, new = digests(), sources / "benchmarks" / folder / "new.py"
    assert before[0] == before[1]
    new.parent.mkdir(exist_ok=True)
    new.write_text("edited = 1\n")
    assert [old != now for old, now in zip(before, digests(), strict=True)] == [
        of.items() <= kind.items() for kind in kinds
    ]
    new.unlink()


def test_a_row_of_the_running_code_gets_the_digest_of_its_mode(tmp_path):
    kept = store.Store(tmp_path)
    for mode in MODES:
        spec = asdict(specs("table1", CHOICE._replace(mode=mode))[0])
        assert kept.append(spec | {"digest": digest.code()})
        assert spec in kept
    found = {row["mode"]: row["digest"] for row in store.read_latest(tmp_path)}
    assert found["feasible"] == digest.code(elicitor="") != found["paper"]


def test_code_of_an_elicitor_changes_the_digest_of_its_rows_alone(sources):
    kinds = {}, {"elicitor": ""}, {"elicitor": "bayesian"}, {"elicitor": "pear"}

    def digests():
        return [digest.of(sources / "hare_jax", sources / "benchmarks", **kind) for kind in kinds]

    before, new = digests(), sources / "hare_jax" / "elicit" / "bayesian" / "new.py"
    new.write_text("edited = 1\n")
    assert [old != now for old, now in zip(before, digests(), strict=True)] == [True, False, True, False]
    new.unlink()


@pytest.mark.parametrize(
    ("arm", "folder"),
    [("base", ""), ("multi_answered", ""), ("pear", "pear"), ("bayes_ideal", "bayesian"), ("bayes_set3", "bayesian")],
)
def test_rows_of_an_arm_depend_on_the_folder_of_its_elicitor(arm, folder):
    row = asdict(specs("table1", CHOICE)[0]) | {"table": "questions", "mode": "feasible", "arm": arm}
    timed = {"table": "speed", "stage": f"{arm}, all of it"}
    assert digest.code_of(row) == digest.code("questions", "feasible", folder)
    assert digest.code_of(timed) == digest.code("speed", elicitor=folder)


def test_no_computing_module_of_the_package_imports_from_an_elicitors_folder_but_its_own():
    package = Path(hare_jax.__file__).parent
    registry = package / "elicit" / "__init__.py"  # names what the folders build
    for folder in (path.parent for path in package.glob("elicit/*/__init__.py")):
        imported = re.compile(rf"from hare_jax\.elicit(\.{folder.name}\b| import .*\b{folder.name}\b)")
        assert imported.search(registry.read_text())
        others = (path for path in package.rglob("*.py") if not {folder, package / "app"} & {*path.parents})
        assert [path for path in others if imported.search(path.read_text())] == [registry]


def test_the_digest_leaves_out_docstrings_comments_and_blank_lines():
    module = '"""Doc."""\n\ndef f(x):  # why\n    """Doc.\n\n    More.\n    """\n    # then\n    return x["#"]\n'
    source = module + '\n\n@g\nclass A:\n    """Doc."""\n'
    assert digest.executed(source) == 'def f(x):\n    return x["#"]\n@g\nclass A:'


def test_a_rerun_repeats_what_an_edit_may_have_changed(monkeypatch, tmp_path, capsys):
    ran = []

    def outcomes(missing, processes):
        for spec in missing:
            ran.append(spec)
            yield spec, {"valid_n": 5, "peak_mib": 1, "digest": digest.code()}

    monkeypatch.setattr(runner, "outcomes", outcomes)
    wanted = specs("table1", CHOICE)
    for code, times in (("a", 1), ("a", 1), ("b", 2)):
        monkeypatch.setattr(digest, "code", lambda *args, code=code: code)
        assert runner.run(wanted, tmp_path) == 0
        assert ran == wanted * times
    assert {row["digest"] for row in store.read_latest(tmp_path)} == {"b"}
    assert "4 experiments" in capsys.readouterr().err
