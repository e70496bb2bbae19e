"""A small table with a linear model, and a person whom it refuses."""

import pytest

from hare_jax.app.session import Session, setup
from tests import loans


@pytest.fixture(scope="module")
def explainer():
    return loans.explainer()


@pytest.fixture(scope="module")
def refused():
    return dict(loans.REFUSED)


@pytest.fixture
def session(explainer, refused, monkeypatch):
    """A session with a person who has an ideal, a small program; what is not used is not compiled."""
    monkeypatch.setattr(setup, "compile_rest", lambda *args: None)
    return Session(explainer, None, refused, seed=1, questions=loans.NUM_QUESTIONS, probabilities={"ideal": 1.0})
