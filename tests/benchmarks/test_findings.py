from dataclasses import asdict

import pandas as pd
import pytest

from benchmarks.pages import report
from benchmarks.pages.findings import Count, gains, less
from benchmarks.store import Store
from benchmarks.tables import Choice, specs


def frame(figures):
    """One row for each (arm, seed) with its figure."""
    rows = [
        {"dataset": "adult", "model": "mlp", "method": "wachter", "arm": arm, "seed": seed, "loss": value}
        for arm, values in figures.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("ours", "count"),
    [
        ((0.1, 0.2, 0.1, 0.2, 0.1), Count(1, 0, 1)),
        ((0.9, 0.8, 0.9, 0.8, 0.9), Count(0, 1, 1)),
        ((0.1, 0.9, 0.1, 0.9, 0.5), Count(0, 0, 1)),
    ],
)
def test_less_is_sure_only_if_the_seeds_agree(ours, count):
    rows = frame({"multi": ours, "single": (0.5, 0.5, 0.55, 0.5, 0.45)})
    assert less({"arm": "multi"}, {"arm": "single"})(rows) == count


def test_seeds_are_compared_with_themselves():
    single = [0.1, 0.5, 0.9, 0.3, 0.7]  # far more spread over seeds than there is between the arms
    rows = frame({"single": single, "multi": [value - 0.02 for value in single]})
    assert less({"arm": "multi"}, {"arm": "single"})(rows) == Count(1, 0, 1)


@pytest.mark.parametrize(("mean", "count"), [(0.2, Count(1, 0, 1)), (-0.2, Count(0, 1, 1)), (0.01, Count(0, 0, 1))])
def test_a_gain_is_sure_if_its_interval_leaves_out_0(mean, count):
    rows = frame({"multi": (0.5,) * 5}).assign(loss_gain=mean, loss_gain_sd=1.0, loss_gain_n=100)
    assert gains(arm="multi")(rows) == count
    assert gains(arm="single")(rows) == Count(0, 0, 0)


def test_the_page_tells_how_near_the_authors_are(tmp_path):
    choice = Choice(("heloc",), ("mlp",), ("wachter",), ("base",), ("near",), seeds=(1,), users=5)
    spec, figures = specs("table6", choice)[0], {}
    for name in ("loss", "ideal_l2", "ideal_cosine", "l2", "weighted_cost", "success", "valid"):
        figures |= {name: 0.3, f"{name}_sd": 0.1, f"{name}_n": 5, f"{name}_gain": 0.0, f"{name}_gain_sd": 0.1}
        figures[f"{name}_gain_n"] = 5
    run = {"version": "0", "peak_mib": 100, "fit_s": 0.0, "digest": "before"}
    Store(tmp_path).append(asdict(spec) | figures | run)
    page = report.write(tmp_path, 5).read_text()
    assert "| ideal_l2 | 1 | 1 |\n" in page  # the authors' is 0.293 +- 0.055
    assert "0 simulated sessions" in page
    assert "Rows: 1, of which 0 from the code that wrote this page, 1 from before." in page
    assert (
        "| heloc | mlp | wachter | base | near | 30 | 0 | all | ideal | success |"
        in (tmp_path / "authors.md").read_text()
    )
