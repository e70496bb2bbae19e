"""Rows of a DataFrame to encoded rows of fitted features, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.base import require
from hare_jax.data import missing
from hare_jax.data.checks import check_frame, check_numbers
from hare_jax.data.derived import decode_derived, derive
from hare_jax.data.schema import Feature


def encode(features: Sequence[Feature], df: pd.DataFrame, argument: str) -> np.ndarray:
    """Encode the rows of `df` (n, d); missing values are replaced, and derived columns computed and checked."""
    names = [feature.name for feature in features if feature.type != "derived"]
    check_frame(df, names, argument)
    df = derive(features, missing.complete(features, df))
    return np.column_stack([_encode_feature(feature, df[feature.name]) for feature in features])


def decode(features: Sequence[Feature], rows: np.ndarray) -> dict[str, Any]:
    """Decode `rows` (n, d) to the values (n,) of each feature; derived ones by their formulas."""
    blocks = np.split(rows, np.cumsum([len(feature.columns) for feature in features])[:-1], axis=1)
    decoded = {feature.name: _decode_feature(feature, b) for feature, b in zip(features, blocks, strict=True)}
    return decoded | decode_derived(features, decoded)


def _encode_feature(feature: Feature, column: pd.Series) -> np.ndarray:
    argument = f"column {feature.name!r}"
    if feature.type != "categorical":
        values = check_numbers(column)
        off = values[values % 1 != 0][:3]
        require(not (feature.whole and len(off)), argument, "must hold whole numbers, as the training rows do", off)
        return (values - feature.low) / (feature.high - feature.low)
    codes = pd.Index(feature.categories).get_indexer(column)
    unseen = column[codes < 0].unique().tolist() if codes.min() < 0 else []
    require(not unseen, argument, f"must be one of {feature.categories}; list others under categories", unseen)
    return codes if len(feature.categories) == 2 else np.eye(len(feature.categories))[codes]


def _decode_feature(feature: Feature, block: np.ndarray) -> Any:
    if feature.type == "categorical":
        return pd.Series(missing.categories(feature)).iloc[feature.codes(block)].array
    values = feature.numbers(block[:, 0])
    return values.astype(int) if feature.whole else values
