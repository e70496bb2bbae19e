"""Map a function over many users: in batches that fit into a cache, sharded over all devices of the process.

JAX treats a CPU as one device and does not parallelise such small operations over its cores. To use all n cores, create
as many devices, by `jax.config.update("jax_num_cpu_devices", n)` before any other use of JAX.

Under `jax.distributed` each process maps users of its own over its own devices. Users are independent, so that a mesh
over all processes would only make them wait for each other: `stream` divides a population among processes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hare_jax.base import require
from hare_jax.hyperparams import Count, check_values

_ON_CPU, _ON_ACCELERATOR = 100, 10_000  # users in a batch


def default_batch_size() -> int:
    """Users that a device maps at a time: 100 on a CPU, which fit into its cache, and 10,000 on an accelerator."""
    return _ON_CPU if jax.default_backend() == "cpu" else _ON_ACCELERATOR


def map_users(fn: Callable[[Any], Any], rows: Any, *, batch_size: int | None = None) -> Any:
    """Apply `fn` to each row of `rows`, a pytree with leaves (n, ...); the leaves of the results are (n, ...) too.

    Each device maps an equal share of the users, `batch_size` at a time, so that memory does not grow with their
    number. The default is `default_batch_size()`.

    On several CPU devices `fn` must not factorise matrices (`jnp.linalg`, `jax.scipy.linalg`): the batched versions
    wait for threads that the other devices hold, and may deadlock. The results are sharded over the devices, and so is
    any program that takes them as arguments: if it factorises matrices, move them to one device (`jax.device_put`).

    Raises:
        ValueError: the leaves differ in length, there are no rows, or `batch_size` is below 1.

    >>> map_users(lambda row: row[0] * row[1], (jnp.arange(3), jnp.arange(3))).tolist()
    [0, 1, 4]
    """
    batch_size = default_batch_size() if batch_size is None else batch_size
    shapes = [jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(rows)]
    same = len(set(shapes)) == 1 and shapes[0] not in ((), (0,))
    require(
        same, "rows", "must have leaves (n, ...) of one length n > 0", [jnp.shape(x) for x in jax.tree.leaves(rows)]
    )
    check_values(batch_size=(batch_size, Count))
    (num,) = shapes[0]
    devices = np.array(jax.local_devices())
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
