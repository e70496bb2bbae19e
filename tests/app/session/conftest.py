"""A small table with a linear model, and a person whom it refuses."""

import numpy as np
import pandas as pd
import pytest

from hare_jax import data, models
from hare_jax.app.explainer import Explainer
from hare_jax.app.session import Session, setup

FEATURES = {
    "income": {"type": "continuous", "range": [0, 120], "unit": "thousand $", "label": "yearly income"},
    "debt": {"type": "ordered", "direction": "down"},
    "job": {"type": "categorical"},
    "owner": {"type": "categorical", "mutable": False},
}
SCHEMA = {"target": "paid", "positive": "yes", "features": FEATURES}


def applicants(num, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"income": rng.integers(10, 100, num) / 1.0, "debt": rng.integers(0, 20, num)})
    frame["job"] = rng.choice(["full", "half", "none"], num)
    frame["owner"] = rng.choice(["no", "yes"], num)
    worth = frame["income"] / 100 - frame["debt"] / 20 + 0.3 * (frame["job"] == "full")
    frame["paid"] = np.where(worth > 0.2, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def explainer():
    """A linear model of income, debt, the three jobs and the owner."""
    table = data.from_frame(applicants(200, 0), SCHEMA, test=applicants(20, 1))
    logit_fn = models.classifier(models.from_layers([([[4.0, -4.0, 1.0, 0.0, 0.0, 0.5]], [-1.0])]))
    return Explainer(logit_fn, table, "growing_spheres")


@pytest.fixture(scope="module")
def refused():
    return {"income": 20.0, "debt": 10, "job": "none", "owner": "no"}


@pytest.fixture
def session(explainer, refused, monkeypatch):
    """A session with a person who has an ideal, a small program; what is not used is not compiled."""
    monkeypatch.setattr(setup, "compile_rest", lambda *args: None)
    return Session(explainer, None, refused, seed=1, questions=6, probabilities={"ideal": 1.0})
