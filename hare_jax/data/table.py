"""Conversion of a DataFrame to a `Table` of arrays, and back.

`sources.load` returns the table of a pinned data set, `from_frame` that of any DataFrame; `schema` describes the schema
of both. Encoded columns lie in [0, 1] for the rows that the scaling is computed from; other rows may lie outside.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from hare_jax.base import choose, require
from hare_jax.data import display, encoding, missing
from hare_jax.data.checks import check_frame, warn_if_far
from hare_jax.data.fitting import fit
from hare_jax.data.relations import closed_ways, feature_relations, warn_if_broken
from hare_jax.data.schema import Feature, check_schema, features_space
from hare_jax.data.target import labels, with_listed
from hare_jax.space import ActionSpace


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Encoded rows, their action space, and their decoding: n training rows, m test rows, d columns."""

    name: str
    x_train: Array  # (n, d)
    y_train: Array  # (n,) 0 or 1; 1 is the favourable class
    x_test: Array  # (m, d)
    y_test: Array  # (m,)
    space: ActionSpace
    features: tuple[Feature, ...]  # in column order
    schema: dict[str, Any]  # the checked schema
    audit: pd.DataFrame  # (m, audit columns) of the test rows

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the d encoded columns."""
        return tuple(column for feature in self.features for column in feature.columns)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each feature by name; "" for a feature without one."""
        return {feature.name: feature.unit for feature in self.features}

    def encode(self, df: pd.DataFrame) -> Array:
        """Encode n rows in original units, in their order: (n, d). Missing values are filled or a category.

        Raises:
            ValueError: a column is missing, has a missing value that is neither filled nor a category, or an unseen
                category, or is not numeric.

        Warns:
            UserWarning: a number is so far from the training rows that it is probably in other units.
        """
        rows = encoding.encode(self.features, df, "df")
        warn_if_far(self.features, rows, "df", "the units of the training rows")
        return jnp.asarray(rows, dtype=float)

    def decode(self, x: ArrayLike) -> pd.DataFrame:
        """Decode `x` (d,) or (n, d) to rows in original units: nearest categories; whole numbers for whole features.

        The columns are in the order of the schema.

        Raises:
            ValueError: the width is not d, or a value is not finite.

        Warns:
            UserWarning: a number is so far from the training rows that `x` is probably in original units already.
        """
        rows = np.atleast_2d(np.asarray(x, dtype=float))
        width = len(self.columns)
        rule = f"must have shape ({width},) or (n, {width})"
        require(rows.ndim == 2 and rows.shape[1] == width, "x", rule, np.shape(x))
        bad = ~np.isfinite(rows)
        require(not bad.any(), "x", "must be finite", f"{bad.sum()} values that are not")
        warn_if_far(self.features, rows, "x", "encoded units")
        decoded = encoding.decode(self.features, rows)
        return pd.DataFrame({name: decoded[name] for name in self.schema["features"]})

    def __repr__(self) -> str:
        sizes = f"{len(self.x_train)} training and {len(self.x_test)} test rows"
        return f"Table({self.name!r}, {sizes}, d={len(self.columns)}: {', '.join(self.columns)})"

    def _repr_html_(self) -> str:
        labels = {"training": self.y_train, "test": self.y_test}
        features = {feature.name: feature for feature in self.features}
        in_order = [features[name] for name in self.schema["features"]]
        return display.summary(self.name, labels, len(self.columns), in_order)


def from_frame(
    df: pd.DataFrame,
    schema: Mapping[str, Any] | str | Path,
    *,
    test: pd.DataFrame | None = None,
    test_size: float = 0.25,
    seed: int = 0,
    bounds_from: str = "train",
    name: str = "frame",
) -> Table:
    """Encode the rows of `df` by a `schema`, a dict or the path of a TOML file (see `hare_jax.data.schema`).

    The test rows are `test` if given, otherwise a random share `test_size` of `df`, drawn with `seed`. The scaling is
    computed from the training rows, or from all rows with `bounds_from="all"`.

    Raises:
        ValueError: the schema has an unknown key or an invalid value, or the rows are empty, lack a column, have a
            missing value, an unseen category, a constant feature, a range or a step that doesn't fit the training rows,
            or a target that `positive` does not divide in two.

    Warns:
        UserWarning: rows with missing values are dropped; or numbers, a range or a step are probably in other units
            than the training rows.

    >>> rows = pd.DataFrame({"income": [20, 40, 60, 30], "job": ["b", "a", "c", "a"], "ok": [0, 1, 1, 0]})
    >>> features = {"income": {"type": "ordered", "step": 10, "direction": "up"}, "job": {"type": "categorical"}}
    >>> table = from_frame(rows, {"target": "ok", "features": features}, test=rows)
    >>> table.columns, table.x_test[0].tolist(), table.space.step.tolist()
    (('income', 'job=a', 'job=b', 'job=c'), [0.0, 0.0, 1.0, 0.0], [0.25, 1.0, 1.0, 1.0])
    >>> table.decode(table.x_test[:2]).to_dict("list")
    {'income': [20, 40], 'job': ['b', 'a']}
    """
    choose("bounds_from", bounds_from, ("train", "all"))
    schema = check_schema(schema)
    used = [schema["target"], *(name for name, spec in schema["features"].items() if spec["type"] != "derived")]
    kept = [*used, *schema.get("audit", ())]
    check_frame(df, kept, "df")
    if test is not None:
        check_frame(test, kept, "test")
    ways = missing.ways(schema, used, [df] if test is None else [df, test])
    df = missing.drop(df, ways, "df")
    df, test = split(df, test_size, seed) if test is None else (df, missing.drop(test, ways, "test"))
    replacements = missing.replacements(df, schema, ways)
    df, test = missing.replace(df, replacements), missing.replace(test, replacements)
    source = pd.concat([df, test], ignore_index=True) if bounds_from == "all" else df
    features = closed_ways(missing.record(fit(schema, source), ways, replacements), schema)
    schema = with_listed(schema, df[schema["target"]])
    y_train, y_test = labels(df[schema["target"]], test[schema["target"]], schema.get("positive", 1))
    x_train, x_test = encoding.encode(features, df, "df"), encoding.encode(features, test, "test")
    warn_if_far(features, x_test, "test", "the units of the training rows")
    relations = feature_relations(features, schema)
    warn_if_broken(schema, relations, x_train)
    return Table(
        name=name,
        x_train=jnp.asarray(x_train, dtype=float),
        y_train=y_train,
        x_test=jnp.asarray(x_test, dtype=float),
        y_test=y_test,
        space=missing.close(features_space(features, relations), features),
        features=features,
        schema=schema,
        audit=test[list(schema.get("audit", ()))].reset_index(drop=True),
    )


def split(df: pd.DataFrame, test_size: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the rows of `df` at random, with `seed`: training rows, and a share `test_size` of test rows."""
    in_unit_interval = isinstance(test_size, float) and 0 < test_size < 1
    require(in_unit_interval, "test_size", "must lie between 0 and 1", test_size)
    require(isinstance(seed, int | np.integer) and seed >= 0, "seed", "must be a whole number from 0", seed)
    num_test = math.ceil(test_size * len(df))
    in_test = np.random.default_rng(seed).permutation(len(df)) < num_test
    require(num_test < len(df), "df", "must have rows left for training", f"{len(df)} rows")
    return df[~in_test], df[in_test]
