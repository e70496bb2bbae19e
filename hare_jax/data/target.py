"""Labels from the target column: 1 where its value is favourable, by the schema's `positive`.

`positive` is a value of the target, or a list of values, the others being unfavourable; or, for a numeric target, a
condition such as ">= 6". By default it is 1, of a target with two values.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from hare_jax import conditions
from hare_jax.base import require
from hare_jax.data.checks import warn

_TWO = 2  # values of a target whose favourable one may be left out
_NUM_SHOWN = 10  # values of the target in a message


def labels(train: pd.Series, test: pd.Series, positive: Any) -> list[Array]:
    """Labels (n,) of the training rows and (m,) of the test rows of a target column, 0.0 or 1.0.

    Raises:
        ValueError: `positive` does not fit the values of the target, or all training rows or none are favourable; or,
            of a target with two values, a test row has another value.
    """
    condition = conditions.parse(positive) if _is_numeric(train) else None
    if condition is not None:
        require(_is_numeric(test), f"target {train.name!r}", "must hold numbers in the test rows", test.dtype)
        found = [condition.accepts(rows.to_numpy(float, na_value=np.nan)) for rows in (train, test)]
    else:
        chosen = positive if isinstance(positive, list) else [positive]
        _check_values(train, test, positive)
        found = [_is_one_of(rows, chosen) for rows in (train, test)]
    argument, num, total = f"target {train.name!r}", int(found[0].sum()), len(train)
    rule = f"must have favourable and unfavourable training rows by positive {positive!r}"
    require(0 < num < total, argument, rule, f"{num} favourable of {total}, of values {first_values(train)}")
    return [jnp.asarray(rows, dtype=float) for rows in found]


def with_listed(schema: Mapping[str, Any], train: pd.Series) -> dict[str, Any]:
    """`schema` with its `positive`, if it is one value of a target `train` with three or more, as a list.

    Warns:
        UserWarning: it is; a further value may be a misspelt one.
    """
    if "positive" not in schema:
        return dict(schema)
    positive = listed(train, schema["positive"])
    if positive != schema["positive"]:
        others = [value for value in first_values(train) if value not in positive]
        warn(
            f"target {train.name!r}: values other than {positive} are unfavourable, set a list to confirm; got {others}"
        )
    return {**schema, "positive": positive}


def listed(train: pd.Series, positive: Any) -> Any:
    """`positive` as a list, if it is one value of a target `train` with three or more.

    >>> listed(pd.Series(["granted", "refused", "open"]), "granted"), listed(pd.Series([0, 1]), 1)
    (['granted'], 1)
    """
    single = not isinstance(positive, list) and conditions.parse(positive) is None
    return [positive] if single and train.dropna().nunique() > _TWO else positive


def first_values(column: pd.Series) -> list[Any]:
    """The first distinct values of `column`, for messages."""
    return column.dropna().unique().tolist()[:_NUM_SHOWN]


def _is_numeric(column: pd.Series) -> bool:
    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column) and not types.is_complex_dtype(column)


def _is_one_of(column: pd.Series, chosen: list[Any]) -> np.ndarray:
    """Whether each value of `column` (n,) equals one of the `chosen` values: (n,) bool."""
    return np.logical_or.reduce([(column == one).to_numpy(bool) for one in chosen])


def _check_values(train: pd.Series, test: pd.Series, positive: Any) -> None:
    """Check that a value or a list `positive` fits the values of the target."""
    argument, values = f"target {train.name!r}", train.unique().tolist()
    if isinstance(positive, list):
        known = [*values, *test.unique().tolist()]
        unknown = [one for one in positive if one not in known]
        require(not unknown, argument, f"must take the favourable values {positive}", unknown)
        return
    rule = "must have exactly two values in the training rows, or positive be the favourable one, a list of them"
    require(len(values) == _TWO, argument, f"{rule}, or a condition such as '>= 6'", values[:_NUM_SHOWN])
    rule = f"must take the favourable value {positive!r}; set positive otherwise"
    require(positive in values, argument, rule, values)
    unseen = test[~test.isin(values)].unique().tolist()
    require(not unseen, argument, f"must be one of {values} in the test rows", unseen)
