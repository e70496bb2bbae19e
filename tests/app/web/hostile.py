"""A small table whose texts are hostile, and what a browser does with the pages about it."""

import re

import numpy as np
import pandas as pd

from hare_jax import data, models
from hare_jax.app.explainer import Explainer

SCRIPT = "<script>alert(1)</script>"
INCOME = "income'\"><img src=x onerror=alert(1)>"  # a name of a column
FEATURES = {
    INCOME: {"type": "continuous", "range": [0, 120], "unit": SCRIPT, "label": f"income{SCRIPT}"},
    "debt": {"type": "ordered", "direction": "down", "label": "debt{{ 7 * 7 }}"},
    "job": {"type": "categorical"},
    "owner": {"type": "categorical", "mutable": False},
}
JOBS = [f"full{SCRIPT}", "half' OR '1'='1", "none"]
REFUSED = {INCOME: 20.0, "debt": 10, "job": "none", "owner": "no"}
NUM_QUESTIONS = 6  # as in the tests of `Session`, whose programs are shared


def applicants(num, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({INCOME: rng.integers(10, 100, num) / 1.0, "debt": rng.integers(0, 20, num)})
    frame["job"], frame["owner"] = rng.choice(JOBS, num), rng.choice(["no", "yes"], num)
    frame["paid"] = np.where(frame[INCOME] / 100 - frame["debt"] / 20 > 0, "yes", "no")
    return frame


def hostile_explainer():
    """A linear model of income, debt, the three jobs and the owner."""
    schema = {"target": "paid", "positive": "yes", "features": FEATURES}
    table = data.from_frame(applicants(200, 0), schema, test=applicants(20, 1))
    logit_fn = models.classifier(models.from_layers([([[4.0, -4.0, 1.0, 0.0, 0.0, 0.5]], [-1.0])]))
    return Explainer(logit_fn, table, "growing_spheres")


def hidden(page):
    """The hidden fields of the first form of a page."""
    form = page.text[page.text.index("<form") :].partition("</form>")[0]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))


def begin(client):
    """The path of a new session, at its first question."""
    form = hidden(client.get("/")) | {"example": "0"}
    page = client.post("/example", data=form)
    while "Getting ready" in page.text:
        page = client.get(page.url.path)
    assert page.status_code == 200
    return page


def tell(client, page, action, **fields):
    """Send a form of a session's page."""
    base = re.match(r"/s/[^/]+", page.url.path)[0]
    return client.post(f"{base}/{action}", data=hidden(page) | fields)
