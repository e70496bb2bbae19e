import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hare_jax.evaluate.sharding import map_users


def scaled(factor, rows, batch_size=None):
    return map_users(lambda row: {"sum": factor * jnp.sum(row[0]), "row": row[1]}, rows, batch_size=batch_size)


@pytest.mark.parametrize("num", [1, 2, 7, 24])
@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_every_user_gets_their_own_row(num, batch_size):
    rows = jnp.arange(3.0 * num).reshape(num, 3), jnp.arange(num)
    result = jax.jit(scaled, static_argnames="batch_size")(2.0, rows, batch_size=batch_size)
    np.testing.assert_array_equal(result["sum"], 2 * rows[0].sum(axis=1))
    np.testing.assert_array_equal(result["row"], rows[1])


def test_users_are_spread_over_all_devices():
    assert len(jax.devices()) > 1
    result = jax.jit(scaled)(1.0, (jnp.ones((8, 2)), jnp.arange(8)))
    assert result["sum"].sharding.device_set == set(jax.devices())


def test_keys_are_rows_too():
    keys = jax.random.split(jax.random.key(0), 5)
    np.testing.assert_array_equal(map_users(jax.random.uniform, keys), jax.vmap(jax.random.uniform)(keys))


def test_it_is_differentiable():
    rows = jnp.arange(6.0).reshape(3, 2), jnp.arange(3)
    assert jax.grad(lambda factor: jnp.sum(scaled(factor, rows)["sum"]))(1.0) == 15
