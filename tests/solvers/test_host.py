"""Searches with a classifier on the host, which is called seldom, with many rows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import array, jit, split

from hare_jax.base import Recourse
from hare_jax.models.blackbox import black_box
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.solvers.host import calls_host
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import action_space, weighted_l1

SPACE = action_space([True] * 3, [0.0] * 3, [1.0] * 3, step=[0, 0, 0.25])
SLOPE, OFFSET = array([1.0, 2.0, 0.5]), 1.1


class Counted:
    """A black box, and the number of rows of each of its calls."""

    def __init__(self, logit):
        self.logit, self.rows = logit, []

    def __call__(self, x):
        self.rows.append(len(x))
        return 1 / (1 + np.exp(-self.logit(x.astype("float64"))))


def linear(x):
    return x @ SLOPE - OFFSET


def test_a_callback_is_found_however_deep_it_lies():
    def looped(x):
        return jax.lax.fori_loop(0, 2, lambda _, z: jax.jit(black_box(linear))(x) + z, jnp.zeros((), x.dtype))

    row = jnp.zeros(3)
    assert calls_host(looped, row)
    assert calls_host(jax.vmap(black_box(linear)), row[None])
    assert not calls_host(jax.jit(lambda x: jax.nn.relu(linear(x))), row)


def test_three_bisections_are_one_call():
    model = Counted(linear)
    ends = array(np.random.default_rng(0).uniform(0.6, 1, (6, 3)))
    ends[:, 2] = 1
    ends[0] = [0.1, 0.1, 0.25]  # refused

    @partial(jit, static_argnums=2)
    def search(logit_fn, ends, num_steps):
        return jax.vmap(partial(boundary, logit_fn, jnp.zeros(3), space=SPACE, num_steps=num_steps))(ends)

    for num_steps, num_calls in ((0, 1), (10, 4), (12, 4), (20, 7)):
        model.rows.clear()
        found = search(black_box(model), ends, num_steps)
        assert model.rows == [6 * 8] * num_calls if num_steps else [6]
        assert found.valid.tolist() == [False] + [True] * 5
        np.testing.assert_array_equal(found.x[0], ends[0])
        assert np.all(linear(found.x[1:]) >= MARGIN / 2)
    expected = search(Partial(linear), ends, 20)
    np.testing.assert_allclose(found.x, expected.x, atol=1e-5)


def test_the_first_crossing_of_many_is_found():
    model = Counted(lambda x: np.where(np.abs(x[:, 0] - 0.25) < 0.05, 1, x[:, 0] - 0.9))
    found = jit(boundary)(black_box(model), jnp.zeros(3), array([1.0, 0, 0]), SPACE)
    assert found.valid
    np.testing.assert_allclose(found.x, [0.2, 0, 0], atol=1e-5)


@pytest.fixture(scope="module")
def searched():
    model, hp = Counted(linear), LocalSearch(num_first=8, num_starts=2, num_rounds=6, num_rays=8)
    weights, x, start = array([1.0, 1.0, 3.0]), jnp.zeros(3), Recourse(jnp.ones(3), jnp.array(True))

    def search(logit_fn, key):
        return local_search(hp, key, partial(weighted_l1, weights, x), logit_fn, x, start, SPACE)

    found = jit(search)(black_box(model), split(0, 1)[0])
    return model, jax.device_get(found)


def test_a_round_of_a_local_search_is_one_call(searched):
    model, _ = searched
    assert model.rows == [2 * 8 * 24] * 7 + [2 * 8] * 4


def test_the_result_is_accepted_and_cheap(searched):
    _, found = searched
    assert found.valid
    assert linear(found.x) >= 0
    assert found.x @ [1, 1, 3] <= 1.05 * OFFSET / 2  # the second column costs least for what it brings
