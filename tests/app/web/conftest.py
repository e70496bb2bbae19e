"""A web page about the small hostile table."""

import pandas as pd
import pytest
from hostile import REFUSED, hostile_explainer
from starlette.testclient import TestClient

from hare_jax.app.session import setup
from hare_jax.app.web.app import Service, build
from tests.loans import NUM_QUESTIONS


@pytest.fixture(scope="session")
def explainer():
    return hostile_explainer()


@pytest.fixture(scope="session")
def service(explainer):
    """Without compilation in the background: a session compiles what it needs."""
    made = Service(explainer, pd.DataFrame([REFUSED] * 3), questions=NUM_QUESTIONS, seed=3)
    made.first.set()
    made.start = lambda: None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "compile_rest", lambda *args: None)
        yield made


@pytest.fixture(scope="module")
def client(service):
    with TestClient(build(service, hosts=["testserver"], sessions=50)) as opened:
        yield opened
