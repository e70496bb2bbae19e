"""The shapes that every part agrees on: a recourse, the callables that plug in, and hyperparameters.

Notation: `x` is the factual row (d,), `x_cf` a recourse (d,), `d` the number of encoded columns. A classifier is
any `logit_fn: (d,) -> ()`; class 1 is the wanted outcome and `logit_fn(x) >= 0` means accepted.
"""

import dataclasses
import typing
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeVar, dataclass_transform

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial

T = TypeVar("T")


class Recourse(NamedTuple):
    """A recourse for one row. Never NaN: a failure is `valid=False` with `x` the best point found."""

    x: Array  # (d,)
    valid: Array  # () bool: the classifier accepts x and the action space allows factual -> x


LogitFn = Callable[[Array], Array]  # (d,) -> ()
Generate = Callable[..., Recourse]  # key, logit_fn, x, space -> Recourse
Prefers = Callable[[Array, Array, Array, Array], Array]  # key, x, a, b -> () bool: a rather than b


@dataclass_transform(frozen_default=True, kw_only_default=True)
def hyperparams(cls: type[T]) -> type[T]:
    """Make `cls` a frozen keyword-only dataclass that is a pytree.

    Fields annotated `int`, `bool`, `str` or `tuple` are static: they set a shape or a length, and a new value
    recompiles. Every other field (a float, bound functions, further hyperparameters) is traced and does not.
    """
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    static = [name for name in names if (typing.get_origin(hints[name]) or hints[name]) in (int, bool, str, tuple)]
    traced = [name for name in names if name not in static]
    return jax.tree_util.register_dataclass(cls, traced, static)


def as_partial(fn: Callable) -> Partial:
    """Make any callable a pytree, so that it can be part of a scan's carry or cross `jit`; a `Partial` stays itself."""
    return fn if isinstance(fn, Partial) else Partial(fn)


def require(ok: bool, argument: str, rule: str, value: Any) -> None:
    """Raise a `ValueError` that names the argument, the rule and the value, unless `ok`."""
    if not ok:
        raise ValueError(f"{argument}: {rule}; got {value!r}")


def is_known(*values: Any) -> bool:
    """Whether `values` (pytrees) are there to be checked, as those that `jit` traces are not."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def holds(rule: Callable[[np.ndarray], Any], value: Any) -> bool:
    """Whether `rule` holds for all of `value`, or `value` is traced and not known."""
    return not is_known(value) or bool(np.all(rule(np.asarray(value))))


def choose(argument: str, name: str, options: Collection[str]) -> None:
    """Raise a `ValueError` unless `name` is one of `options`."""
    require(name in options, argument, f"must be one of {', '.join(options)}", name)
