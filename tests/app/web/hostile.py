"""The loans with hostile texts, and the forms that a browser sends."""

import re

from tests import loans

SCRIPT = "<script>alert(1)</script>"
INCOME = "income'\"><img src=x onerror=alert(1)>"  # a name of a column
TEXTS = {INCOME: {"unit": SCRIPT, "label": f"income{SCRIPT}"}, "debt": {"label": "debt{{ 7 * 7 }}"}}
JOBS = dict(zip(loans.JOBS, [f"full{SCRIPT}", "half' OR '1'='1", "none"], strict=True))


def renamed(mapping):
    """The same with the hostile name of the income."""
    return {INCOME if name == "income" else name: value for name, value in mapping.items()}


REFUSED = renamed(loans.REFUSED)
FEATURES = {name: one | TEXTS.get(name, {}) for name, one in renamed(loans.FEATURES).items()}


def applicants(num, seed):
    return loans.applicants(num, seed).rename(columns={"income": INCOME}).replace({"job": JOBS})


def hostile_explainer():
    return loans.explainer(applicants(200, 0), applicants(20, 1), FEATURES)


def hidden(page):
    """The hidden fields of the first form of a page."""
    form = page.text[page.text.index("<form") :].partition("</form>")[0]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))


def begin(client):
    """The page of the first question of a new session."""
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
