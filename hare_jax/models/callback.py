"""Functions on the host as classifiers inside of JAX programs, by `solvers.host.on_host`."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.solvers.host import on_host

_NO_GRADIENT = (
    "a black box has no gradient: use a method of hare_jax.recourse.METHODS with uses_gradients=False, such as "
    "growing_spheres or nnce, and HARE with Sampling(validity_gradient=False)"
)
_ONE_AT_A_TIME = threading.Lock()  # devices call at the same time, and models need not be thread-safe
_NO_SECOND_DERIVATIVE = "a model on the host has a first derivative only"


class HostFn(Protocol):
    """A classifier on the host: hashable, and a static node of a pytree, which JAX compares instead of tracing.

    With a method `with_gradient(rows) -> (logits (n,), gradients (n, d))` it can be differentiated once.
    """

    @property
    def label(self) -> str:
        """Name for error messages."""

    def __call__(self, rows: np.ndarray, /) -> np.ndarray:
        """Logits (n,) of rows (n, d), finite; at least 0 means accepted."""


class ModelError(RuntimeError):
    """A model on the host raised an exception, which the message quotes."""


def reason(error: Exception) -> str:
    r"""The message of a `ModelError` in the error that JAX raises for it: its last line, without the traceback.

    >>> reason(RuntimeError("INTERNAL: Error when calling buffer callback: ...\nModelError: Pipeline: KeyError: 'age'"))
    "Pipeline: KeyError: 'age'"
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].removeprefix(f"{ModelError.__name__}: ")


def logit(model: HostFn, x: Array) -> Array:
    """Logit () of `x` (d,) by a function on the host.

    Raises:
        TypeError: it is differentiated and has no `with_gradient`, or it is differentiated twice.
        JaxRuntimeError: at run time, if the model raises an exception; `reason` extracts its message.
    """
    return _logit(model, x)  # a plain function can be pickled


@jax.custom_jvp
def _logit(model: HostFn, x: Array) -> Array:
    result = jax.ShapeDtypeStruct((), x.dtype)
    return on_host(partial(_logits, model), result, x, vmap_method="broadcast_all")


@_logit.defjvp
def _logit_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (model, x), (_, x_dot) = primals, tangents
    if not hasattr(model, "with_gradient"):
        raise TypeError(_NO_GRADIENT)
    value, gradient = _with_gradient(model, x)
    return value, jnp.sum(gradient * x_dot)


@jax.custom_jvp
def _with_gradient(model: Any, x: Array) -> tuple[Array, Array]:
    """Logit () and its gradient (d,)."""
    results = jax.ShapeDtypeStruct((), x.dtype), jax.ShapeDtypeStruct(x.shape, x.dtype)
    return on_host(partial(_logits_and_gradients, model), results, x, vmap_method="broadcast_all")


@_with_gradient.defjvp
def _no_second_derivative(*args: object) -> NoReturn:
    raise TypeError(_NO_SECOND_DERIVATIVE)


def _logits(model: HostFn, x: np.ndarray) -> np.ndarray:
    """Logits (...,) of rows (..., d), in their dtype."""
    logits = _ask(model, model, x)
    return keep_sign(logits, x.dtype).reshape(x.shape[:-1])


def _logits_and_gradients(model: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (...,) of rows (..., d) and their gradients (..., d), in their dtype."""
    logits, gradients = _ask(model, model.with_gradient, x)
    return keep_sign(logits, x.dtype).reshape(x.shape[:-1]), gradients.astype(x.dtype).reshape(x.shape)


def _ask(model: HostFn, compute: Callable[[np.ndarray], Any], x: np.ndarray) -> Any:
    """`compute` of a copy (n, d) of `x` (..., d), as JAX's buffers are read-only; an exception is quoted in a line."""
    try:
        with _ONE_AT_A_TIME:
            return compute(np.array(x).reshape(-1, x.shape[-1]))
    except Exception as error:
        raise ModelError(f"{model.label}: {quote(error)}") from error


def quote(error: Exception) -> str:
    """The type and the message of an exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def keep_sign(logits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`logits` in `dtype`: one that is negative stays negative where it would be rounded to 0."""
    rounded = logits.astype(dtype)
    return np.where((logits < 0) & (rounded >= 0), -np.finfo(dtype).tiny, rounded).astype(dtype)
