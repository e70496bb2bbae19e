"""Formulas that depend on each other's columns."""

import graphlib
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from hare_jax.formula.algebra import Expression, columns, evaluate

Key = TypeVar("Key", bound=Hashable)


def in_causal_order(formulas: Mapping[Key, Expression], *, argument: str = "formulas") -> dict[Key, Expression]:
    """The `formulas` by column, causes before effects.

    Raises:
        ValueError: a column depends on itself; the error names the cycle.

    >>> list(in_causal_order({"a": ("neg", ("column", "b")), "b": ("neg", ("column", "c"))}))
    ['b', 'a']
    """
    causes = {key: [other for other in columns(formula) if other in formulas] for key, formula in formulas.items()}
    try:
        return {key: formulas[key] for key in graphlib.TopologicalSorter(causes).static_order()}
    except graphlib.CycleError as error:
        cycle = " -> ".join(map(str, error.args[1]))
        raise ValueError(f"{argument}: must not depend on themselves; got {cycle!r}") from None


def complete(formulas: Mapping[Any, Expression], values: Mapping[Any, np.ndarray]) -> dict[Any, np.ndarray]:
    """The `values` (n,) by column, with those of the `formulas` where they are finite."""
    found = dict(values)
    for key, formula in in_causal_order(formulas).items():
        with np.errstate(all="ignore"):
            computed = evaluate(formula, found)
        found[key] = np.where(np.isfinite(computed), computed, found[key])
    return found
