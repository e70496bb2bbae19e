"""`Session` on a table with a derived column: it follows in everything that is shown."""

import numpy as np
import pandas as pd
import pytest

from hare_jax import data, models
from hare_jax.app.explainer import Explainer
from hare_jax.app.session import Session, setup
from hare_jax.space import allows

pytestmark = pytest.mark.usefixtures("quick_programs")
FEATURES = {
    "income": {"type": "continuous", "direction": "up", "range": [0, 150]},
    "debt": {"type": "continuous", "direction": "down"},
    "dti": {"type": "derived", "formula": "debt / income"},
}


def linear_explainer():
    """A linear model of income, debt and dti."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"income": rng.integers(20, 120, 200) / 1.0, "debt": rng.integers(0, 80, 200) / 1.0})
    rows["paid"] = (rows["income"] - rows["debt"] > 0).astype(int)
    table = data.from_frame(rows, {"target": "paid", "features": FEATURES})
    return Explainer(models.classifier(models.from_layers([([[3.0, -3.0, -0.1]], [0.3])])), table, "growing_spheres")


@pytest.mark.slow
def test_a_derived_column_follows_in_every_option(monkeypatch):
    monkeypatch.setattr(setup, "compile_rest", lambda *args: None)
    explainer = linear_explainer()
    table, row = explainer.table, {"income": 40.0, "debt": 60.0}
    session = Session(explainer, None, row, "single", seed=1, questions=3)
    assert session.row["dti"] == pytest.approx(60 / 40)
    shown = []
    for choice in ("A", "B"):
        shown += session.question().options
        session.answer(choice)
    shown.append(session.best().option)
    x = table.encode(pd.DataFrame([row]))[0]
    for option in shown:
        np.testing.assert_allclose(option.row["dti"], option.row["debt"] / option.row["income"], rtol=1e-4)
        assert option.changes[-1].text.startswith("so that dti becomes")
        assert bool(allows(table.space, x, table.encode(option.row.to_frame().T.infer_objects())[0]))
    with pytest.raises(ValueError, match="changes: must not hold dti, which is computed from others"):
        session.explore({"dti": 0.1})
