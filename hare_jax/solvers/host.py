"""Functions on the host within JAX programs: one call serves all rows of a `vmap`, and costs little more than one row.

On a CPU such a function reads and writes XLA's own buffers: `jax.pure_callback` would first copy the arrays to a
device, which needs a thread of the pool whose threads wait for the callback; with as many devices as cores, that is a
deadlock. For the same reason the function must not compute with JAX.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.experimental.buffer_callback import ExecutionContext, buffer_callback

_CALLBACKS = ("pure_callback", "io_callback", "buffer_callback")  # primitives


def on_host(compute: Callable[..., Any], results: Any, *args: Any, vmap_method: str) -> Any:
    """`compute` of NumPy arrays, the leaves of `args`; it returns a pytree like `results`, of `ShapeDtypeStruct`.

    `vmap_method` is that of `jax.pure_callback`.

    >>> import jax.numpy as jnp
    >>> total = lambda rows: on_host(lambda x: x.sum(-1), rows[0], rows, vmap_method="broadcast_all")
    >>> jax.vmap(total)(jnp.ones((2, 3))).tolist()
    [3.0, 3.0]
    """

    def in_place(*args: Any) -> Any:
        return buffer_callback(partial(_write, compute), results, vmap_method=vmap_method)(*args)

    def copied(*args: Any) -> Any:
        return jax.pure_callback(partial(_compute, compute), results, *args, vmap_method=vmap_method)

    return jax.lax.platform_dependent(*args, cpu=in_place, default=copied)


def _compute(compute: Callable[..., Any], *args: Any) -> Any:
    return compute(*jax.tree.map(np.asarray, args))


def _write(compute: Callable[..., Any], context: ExecutionContext, out: Any, *args: Any) -> None:
    for buffer, values in zip(jax.tree.leaves(out), jax.tree.leaves(_compute(compute, *args)), strict=True):
        target = np.asarray(buffer)
        if np.shape(values) != target.shape:  # NumPy would broadcast
            raise ValueError(f"compute: must return an array of shape {target.shape}; got {np.shape(values)}")
        target[...] = values


def calls_host(logit_fn: Callable, x: Array) -> bool:
    """Whether `logit_fn: (d,) -> ()`, traced for a row like `x` (d,), calls a function on the host.

    >>> import jax.numpy as jnp
    >>> row, on_host = jnp.zeros(2), lambda x: jax.pure_callback(lambda x: x[0], x[0], x)
    >>> calls_host(jnp.sum, row), calls_host(on_host, row)
    (False, True)
    """
    return _contains_callback(jax.make_jaxpr(logit_fn)(x))


def _contains_callback(jaxpr: Any) -> bool:
    """Whether a jaxpr, or a jaxpr among the parameters of its equations, contains a callback."""
    for equation in jaxpr.eqns:
        inner = [leaf for leaf in jax.tree.leaves(equation.params) if hasattr(leaf, "eqns")]
        if equation.primitive.name in _CALLBACKS or any(map(_contains_callback, inner)):
            return True
    return False
