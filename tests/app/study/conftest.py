import jax.numpy as jnp
import pytest

from tests.app.study.small import Server, Simulated, small_explainer


@pytest.fixture(scope="session")
def explainer():
    return small_explainer()


@pytest.fixture
def server(explainer, tmp_path):
    found = Server(explainer, tmp_path)
    with found.client:
        yield found
    found.database.close()


@pytest.fixture
def person(server):
    return Simulated(server, jnp.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
