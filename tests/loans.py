"""A small table of loans, a linear model of it, and an applicant whom the model refuses."""

import numpy as np
import pandas as pd

from hare_jax import data, models
from hare_jax.app.explainer import Explainer

FEATURES = {
    "income": {"type": "continuous", "range": [0, 120], "unit": "thousand $", "label": "yearly income"},
    "debt": {"type": "ordered", "direction": "down"},
    "job": {"type": "categorical"},
    "owner": {"type": "categorical", "mutable": False},
}
JOBS = ["full", "half", "none"]
REFUSED = {"income": 20.0, "debt": 10, "job": "none", "owner": "no"}
WEIGHTS = [4.0, -4.0, 1.0, 0.0, 0.0, 0.5]  # of income, debt, the three jobs and the owner
BIAS = -1.0
NUM_QUESTIONS = 6  # of sessions in several files, whose programs are shared


def schema(features):
    return {"target": "paid", "positive": "yes", "features": features}


def applicants(num, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"income": rng.integers(10, 100, num) / 1.0, "debt": rng.integers(0, 20, num)})
    frame["job"], frame["owner"] = rng.choice(JOBS, num), rng.choice(["no", "yes"], num)
    worth = frame["income"] / 100 - frame["debt"] / 20 + 0.3 * (frame["job"] == "full")
    frame["paid"] = np.where(worth > 0.2, "yes", "no")
    return frame


def logit_fn():
    return models.classifier(models.from_layers([([WEIGHTS], [BIAS])]))


def explainer(train=None, test=None, features=FEATURES):
    """The model on these rows, or on `applicants`."""
    train, test = (applicants(200, 0), applicants(20, 1)) if train is None else (train, test)
    return Explainer(logit_fn(), data.from_frame(train, schema(features), test=test), "growing_spheres")
