"""Models in JAX: functions, equinox modules, flax modules (linen and nnx), Keras models on JAX.

Each becomes a callable pytree of one row. Its arrays are traced, so that new weights of the same model do not recompile
and gradients reach them; all else in it is static and compared by value.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import require
from hare_jax.models import callback
from hare_jax.models.wrapping.decision import Decision
from hare_jax.models.wrapping.rows import Identity


@jax.tree_util.register_static
class Skeleton:
    """A callable pytree without its arrays, in place of which are ellipses; equal if all else is."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Skeleton):
            return False
        mine: tuple[list, Any] = jax.tree.flatten(self.tree)
        others: tuple[list, Any] = jax.tree.flatten(other.tree)
        return mine[1] == others[1] and all(a is b or a == b for a, b in zip(mine[0], others[0], strict=True))

    def __hash__(self) -> int:
        leaves, structure = jax.tree.flatten(self.tree)
        return hash((tuple(map(_hash, leaves)), structure))

    def fill(self, arrays: tuple[Array, ...]) -> Callable:
        """The callable with `arrays` in their places."""
        rest = iter(arrays)
        return jax.tree.map(lambda leaf: next(rest) if leaf is ... else leaf, self.tree)


def _hash(leaf: Any) -> int:
    """The hash of `leaf`; that of its type for one without a hash, such as a linen module with a list of layers."""
    try:
        return hash(leaf)
    except TypeError:
        return hash(type(leaf))


class Traced(NamedTuple):
    """A callable pytree in two parts."""

    skeleton: Skeleton
    arrays: tuple[Array, ...]
    batched: bool  # it takes rows (n, d) only


@jax.tree_util.register_static
class TracedDecision(NamedTuple):
    """What is static of a wrapped model in JAX."""

    skeleton: Skeleton
    batched: bool
    decision: Decision
    label: str


def logit(static: TracedDecision, arrays: tuple[Array, ...], x: Array) -> Array:
    """Logit () of `x` (d,)."""
    return static.decision.logit(jnp, outputs(Traced(static.skeleton, arrays, static.batched), x))


def outputs(model: Traced, x: Array) -> Array:
    """Outputs (k,) for `x` (d,), in its dtype."""
    call = model.skeleton.fill(model.arrays)
    answer = call(x[None, :])[0] if model.batched else call(x)
    return jnp.reshape(answer, -1).astype(x.dtype)


def open_model(model: Any, params: Any, x: np.ndarray) -> Traced:
    """`model` as a callable pytree, tried on the shape of one of the rows `x` (n, d).

    Raises:
        ValueError: a linen module without parameters, or a function that JAX can't trace for a row.
    """
    tree = _callable(model, params)
    leaves, structure = jax.tree.flatten(tree)
    is_array = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]
    blank = [... if one else leaf for leaf, one in zip(leaves, is_array, strict=True)]
    skeleton = Skeleton(jax.tree.unflatten(structure, blank))
    arrays = tuple(jnp.asarray(leaf) for leaf, one in zip(leaves, is_array, strict=True) if one)
    failures = []
    for batched in (False, True):
        traced = Traced(skeleton, arrays, batched)
        try:
            jax.eval_shape(lambda row, traced=traced: outputs(traced, row), x[0])
            return traced
        except Exception as error:
            failures.append(callback.quote(error))
    rule = f"must be a JAX function of a row ({x.shape[1]},); a function on the host needs inputs=... or black_box"
    require(False, "model", rule, failures[0])
    raise AssertionError


def all_outputs(model: Traced, x: np.ndarray) -> np.ndarray:
    """Outputs (n, k) for rows `x` (n, d)."""
    every = jax.jit(jax.vmap(_outputs_of, in_axes=(None, None, 0)), static_argnums=0)
    return np.asarray(every((model.skeleton, model.batched), model.arrays, x))


def _outputs_of(static: tuple[Skeleton, bool], arrays: tuple[Array, ...], x: Array) -> Array:
    skeleton, batched = static
    return outputs(Traced(skeleton, arrays, batched), x)


def _callable(model: Any, params: Any) -> Any:
    """`model` as a pytree that is called with rows."""
    if isinstance(model, linen.Module):
        require(params is not None, "params", "must be given for a flax.linen module", params)
        variables = params if "params" in params else {"params": params}
        return Partial(_call_linen, model, variables)
    nnx = sys.modules.get("flax.nnx")  # not imported here, which takes a while
    if nnx is not None and isinstance(model, nnx.Module):
        _check_mode(nnx, model)
        return Partial(_call_nnx, *nnx.split(model))
    if hasattr(model, "stateless_call"):
        variables = [[v.value for v in kind] for kind in (model.trainable_variables, model.non_trainable_variables)]
        return Partial(_call_keras, Identity(model), *variables)
    return model if params is None else Partial(model, params)


def _check_mode(nnx: Any, model: Any) -> None:
    """Raise a `ValueError` if an nnx module is in training mode: its answers are random, or depend on other rows."""
    training = {"deterministic": False, "use_running_average": False}
    parts = [part for _, part in nnx.iter_graph(model) if isinstance(part, nnx.Module)]
    unfit = [type(part).__name__ for part in parts if any(getattr(part, k, None) is v for k, v in training.items())]
    require(not unfit, "model", "must be in evaluation mode: call model.eval()", unfit)


def _call_linen(module: linen.Module, variables: Any, x: Array) -> Any:
    return module.apply(variables, x)


def _call_nnx(graph: Any, state: Any, x: Array) -> Any:
    from flax import nnx

    return nnx.merge(graph, state)(x)


def _call_keras(model: Any, trainable: Any, other: Any, x: Array) -> Any:
    return model.value.stateless_call(trainable, other, x)[0]
