from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array

from hare_jax.evaluate.sharding import map_users


def scaled(factor, rows, batch_size=None):
    return map_users(lambda row: {"sum": factor * jnp.sum(row[0]), "row": row[1]}, rows, batch_size=batch_size)


@pytest.mark.parametrize("num", [1, 2, 7, 24])
@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_every_user_gets_their_own_row(num, batch_size):
    rows = array(np.arange(3.0 * num).reshape(num, 3)), array(np.arange(num))
    result = jax.jit(scaled, static_argnames="batch_size")(2.0, rows, batch_size=batch_size)
    np.testing.assert_array_equal(result["sum"], 2 * rows[0].sum(axis=1))
    np.testing.assert_array_equal(result["row"], rows[1])


@pytest.mark.skipif("jax.default_backend() != 'cpu' and len(jax.devices()) == 1", reason="needs two devices")
def test_users_are_spread_over_all_devices():
    assert len(jax.devices()) > 1
    result = jax.jit(scaled)(1.0, (jnp.ones((8, 2)), jnp.arange(8)))
    assert result["sum"].sharding.device_set == set(jax.devices())


def test_keys_are_rows_too():
    keys = jax.random.split(jax.random.key(0), 5)
    spread, single = jax.jit(partial(map_users, jax.random.uniform))(keys), jax.jit(jax.vmap(jax.random.uniform))(keys)
    np.testing.assert_array_equal(spread, single)


def test_it_is_differentiable():
    rows = array(np.arange(6.0).reshape(3, 2)), array(np.arange(3))
    assert jax.jit(jax.grad(lambda factor, rows: jnp.sum(scaled(factor, rows)["sum"])))(1.0, rows) == 15
