"""What a model on the host is asked about: encoded rows, or rows in original units.

A model is asked about what a recourse becomes once it is decoded, and, for a model of encoded rows, encoded again:
whole numbers and single categories, so that the model decides the same for the DataFrame of a recourse. Nothing here
calls JAX, as it runs inside of callbacks.
"""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import numpy as np
from jax.typing import ArrayLike

from hare_jax import formula


class TableLike(Protocol):
    """What `wrap` reads of a `data.Table`."""

    x_train: Any  # (n, d)
    y_train: Any  # (n,)
    features: tuple[Any, ...]
    schema: dict[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the d encoded columns."""

    def decode(self, x: ArrayLike) -> Any:
        """A DataFrame of rows (n, d)."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """An object that equals only itself, and has a hash."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Encoded rows, decoded and encoded again."""

    features: tuple[Any, ...]
    names: tuple[str, ...] = ()  # of the columns of a DataFrame, if the model was trained on one
    frame: Callable | None = None  # the class DataFrame

    def __call__(self, x: np.ndarray) -> Any:
        """Rows (n, d) as the model wants them, in the dtype of `x` (n, d)."""
        return self.given(None, round_trip(self.features, x))

    def given(self, frame: Any, x: np.ndarray) -> Any:
        """Rows (n, d) as the model wants them, from their DataFrame in original units and its encoding `x` (n, d)."""
        return x if self.frame is None else self.frame(x, columns=list(self.names))


@dataclasses.dataclass(frozen=True)
class Frame:
    """Rows in original units."""

    features: tuple[Any, ...]
    names: tuple[str, ...]  # of the features, in the order that the model was trained in
    decode: Callable = dataclasses.field(compare=False, repr=False)  # the table's, which `features` determine
    as_array: bool = False  # the model was trained on an array
    prepare: Hashable | None = None  # a function of the DataFrame, before the model

    def __call__(self, x: np.ndarray) -> Any:
        """The decoded rows of `x` (n, d)."""
        return self.given(self.decode(x), x)

    def given(self, frame: Any, x: np.ndarray) -> Any:
        """Rows as the model wants them, from a DataFrame of n rows in original units."""
        frame = frame[list(self.names)]
        if callable(self.prepare):
            return self.prepare(frame)
        return frame.to_numpy() if self.as_array else frame


def frame_of(table: TableLike, names: tuple[str, ...] = (), **options: Any) -> Frame:
    """A `Frame` of the features `names`, by default all in the schema's order, that holds none of the table's rows."""
    source: Any = table
    empty = {name: np.asarray(getattr(source, name))[:0] for name in ("x_train", "y_train", "x_test", "y_test")}
    small = dataclasses.replace(source, **empty, audit=source.audit[:0])
    return Frame(table.features, names or tuple(table.schema["features"]), small.decode, **options)


def round_trip(features: tuple[Any, ...], x: np.ndarray) -> np.ndarray:
    """`table.encode(table.decode(x))` of rows (n, d), in the dtype of `x`, without a DataFrame."""
    rows, start = x.astype(np.float64), 0
    for feature in features:
        end = start + len(feature.columns)
        rows[:, start:end] = _encode_again(feature, rows[:, start:end])
        start = end
    return _derive(features, rows).astype(x.dtype)


def _derive(features: tuple[Any, ...], rows: np.ndarray) -> np.ndarray:
    """`rows` (n, d) with the derived columns as their formulas give them."""
    numeric = [feature for feature in features if not feature.categories]  # the first columns
    formulas = {feature.name: feature.formula for feature in numeric if feature.type == "derived"}
    if formulas:
        values = {feature.name: feature.numbers(column) for feature, column in zip(numeric, rows.T, strict=False)}
        completed = formula.complete(formulas, values)
        for column, feature in enumerate(numeric):
            if feature.name in formulas:
                rows[:, column] = (completed[feature.name] - feature.low) / (feature.high - feature.low)
    return rows


def _encode_again(feature: Any, block: np.ndarray) -> np.ndarray:
    """The encoded columns (n, k) of a feature after decoding."""
    if feature.categories:
        codes = feature.codes(block)
        return codes[:, None] if block.shape[1] == 1 else np.eye(block.shape[1])[codes]
    return (feature.numbers(block) - feature.low) / (feature.high - feature.low)
