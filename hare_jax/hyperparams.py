"""The rules for the values of hyperparameters, as types of the fields of their classes, and their check.

A field `num_steps: Count = 10` of a `base.pytree_dataclass` is an int of at least 1. A constructor does not check this,
as JAX fills the fields with tracers and axes: the public functions that take hyperparameters call `check_fields`.
"""

import dataclasses
import functools
import numbers
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import holds, require


class Rule(NamedTuple):
    """A rule for the values of a field, as the metadata of its type: `Annotated[float, Rule(...)]`."""

    text: str
    allows: Callable[[np.ndarray], Any]  # whether each element of an array of values obeys the rule


def at_least(least: float) -> Rule:
    """Finite and at least `least`."""
    return Rule(f"must be at least {least}", lambda value: (value >= least) & np.isfinite(value))


def above(bound: float) -> Rule:
    """Finite and above `bound`."""
    return Rule(f"must be above {bound} and finite", lambda value: (value > bound) & np.isfinite(value))


def below(bound: float) -> Rule:
    """Below `bound`."""
    return Rule(f"must be below {bound}", lambda value: value < bound)


def between(least: float, most: float) -> Rule:
    """From `least` to `most`."""
    return Rule(f"must be from {least} to {most}", lambda value: (value >= least) & (value <= most))


def one_of(*options: str) -> Rule:
    """One of the `options`."""
    return Rule(f"must be one of {', '.join(options)}", lambda value: np.isin(value, options))


Count = Annotated[int, at_least(1)]
Natural = Annotated[int, at_least(0)]
Counts = Annotated[tuple[int, ...], at_least(1)]  # each of them
Positive = Annotated[float, above(0)]
NonNegative = Annotated[float, at_least(0)]
Share = Annotated[float, between(0, 1)]
Growth = Annotated[float, above(1)]  # a factor

_KINDS: dict[Any, tuple[Any, str]] = {  # of the fields of hyperparameters: Python's type of the values, in words
    bool: (bool | np.bool_, "a bool"),
    int: (numbers.Integral, "an int"),
    str: (str, "a string"),
    tuple: (tuple, "a tuple"),
}


class Field(NamedTuple):
    """The type of a field of a hyperparameter class, and the rules for its values."""

    name: str
    kind: Any  # without the rules
    rules: tuple[Rule, ...]


@functools.cache
def typed_fields(cls: type) -> tuple[Field, ...]:
    """The fields of a class made by `pytree_dataclass`."""
    plain, full = typing.get_type_hints(cls), typing.get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]
    return tuple(Field(name, plain[name], getattr(full[name], "__metadata__", ())) for name in names)


def check_fields(hp: Any, cls: type, argument: str = "hp") -> None:
    """Check hyperparameters: that they are of class `cls`, and the types and rules of their fields, nested ones too.

    Traced values are not known, and not checked.

    Raises:
        ValueError: a field is of another type, or its value is out of its range.

    >>> from hare_jax.recourse.wachter import Descent, Wachter
    >>> check_fields(Wachter(descent=Descent(num_steps=0)), Wachter)
    Traceback (most recent call last):
    ...
    ValueError: descent.num_steps: must be at least 1; got 0
    """
    _check_class(hp, cls, argument)
    for name, field, value in _leaves(hp, ""):
        _check_value(field, name, value)


def check_values(**values: tuple[Any, Any]) -> None:
    """Check each named value by its type, such as `Count`.

    Raises:
        ValueError: a value is of another type, or out of its range.

    >>> check_values(num_proposals=(-1, Count))
    Traceback (most recent call last):
    ...
    ValueError: num_proposals: must be at least 1; got -1
    """
    for name, (value, kind) in values.items():
        _check_value(Field(name, kind.__origin__, kind.__metadata__), name, value)


def _check_value(field: Field, name: str, value: Any) -> None:
    _check_type(name, field.kind, value)
    for rule in field.rules if value is not None else ():
        require(holds(rule.allows, value), name, rule.text, value)


def _leaves(hp: Any, prefix: str) -> Iterator[tuple[str, Field, Any]]:
    """Path, type and value of each field of `hp`, and of the fields of nested hyperparameters."""
    for field in typed_fields(hp.__class__):
        value: Any = getattr(hp, field.name)
        name = prefix + field.name
        if dataclasses.is_dataclass(field.kind):
            _check_class(value, field.kind, name)
            yield from _leaves(value, f"{name}.")
        else:
            yield name, field, value


def _check_class(hp: Any, cls: Any, argument: str) -> None:
    require(isinstance(hp, cls), argument, f"must be a {cls.__name__}", hp)


def _check_type(name: str, kind: Any, value: Any) -> None:
    if Partial in typing.get_args(kind):
        require(value is None or callable(value), name, "must be a function", value)
    of, kind = typing.get_args(kind), typing.get_origin(kind) or kind
    if kind is float:
        require(is_number(value) and holds(lambda value: ~np.isnan(value), value), name, "must be a number", value)
    elif kind in _KINDS:
        allowed, words = _KINDS[kind]
        fits = isinstance(value, allowed) and (kind is bool or not isinstance(value, bool))
        require(fits, name, f"must be {words}", value)
    if kind is tuple:
        for index, each in enumerate(value):
            _check_type(f"{name}[{index}]", of[0], each)


def is_number(value: Any) -> bool:
    """Whether `value` is a real number or an array of real numbers, traced or not; a bool is none."""
    if not isinstance(value, np.ndarray | np.generic | Array):
        return isinstance(value, float | int) and not isinstance(value, bool)
    return jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
