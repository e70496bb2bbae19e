"""Whether a classifier runs on the host, where one call for many rows costs little more than one call for one row."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

_CALLBACKS = ("pure_callback", "io_callback", "buffer_callback")  # primitives


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
