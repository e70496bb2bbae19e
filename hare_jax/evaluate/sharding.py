"""Users by the thousand: in batches that fit a cache, and spread over all devices.

A CPU is one device to JAX, which splits none of these small operations over its cores. A program that asks for as many
devices as there are cores, `jax.config.update("jax_num_cpu_devices", n)` before anything else, has them all at work.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec


def map_users(fn: Callable[[Any], Any], rows: Any, *, batch_size: int | None = None) -> Any:
    """Apply `fn` to each row of `rows`, a pytree with users (n, ...) in front; results have them in front too.

    Each device takes an equal share of the users, `batch_size` at a time, so that memory does not grow with their
    number. By default 100 at a time on a CPU, whose cache they fit, and 10,000 on an accelerator.

    On a CPU of several devices `fn` may not factorise matrices (`jnp.linalg`, `jax.scipy.linalg`): JAX's batches of
    those wait for threads that the other devices hold, maybe for ever. The results are spread over the devices, and
    so is a program that takes them in: one that factorises matrices wants them on one device (`jax.device_put`).

    >>> map_users(lambda row: row[0] * row[1], (jnp.arange(3), jnp.arange(3))).tolist()
    [0, 1, 4]
    """
    if batch_size is None:
        batch_size = 100 if jax.default_backend() == "cpu" else 10_000
    num = jax.tree.leaves(rows)[0].shape[0]
    devices = np.array(jax.devices())
    share = -(-num // devices.size)

    def on_one_device(rows: Any) -> Any:
        return jax.vmap(fn)(rows) if share <= batch_size else jax.lax.map(fn, rows, batch_size=batch_size)

    if devices.size == 1:
        return on_one_device(rows)
    split = PartitionSpec("users")
    everywhere = jax.shard_map(
        on_one_device, mesh=Mesh(devices, ("users",)), in_specs=(split,), out_specs=split, check_vma=False
    )
    padded = jnp.arange(share * devices.size) % num
    results = everywhere(jax.tree.map(lambda leaf: leaf[padded], rows))
    return jax.tree.map(lambda leaf: leaf[:num], results)
