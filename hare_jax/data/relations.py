"""Relations between the encoded columns of fitted features, for their action space."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hare_jax.base import Link, Relations, require
from hare_jax.data.formulas import schema_inequalities
from hare_jax.data.missing import CATEGORY
from hare_jax.data.schema import Feature
from hare_jax.formula import rename
from hare_jax.space import relate

_MOST_BROKEN = 0.05  # share of the training rows: a relation that more rows break is probably the wrong way round
_ROUNDING = 1e-5  # of an inequality in encoded units, with coefficients of at most 1


def feature_relations(features: Sequence[Feature], schema: Mapping[str, Any]) -> Relations | None:
    """The relations of a checked `schema` between the d columns of fitted `features`; None if there are none.

    The rows of the inequalities are scaled: the largest coefficient of each, in encoded units, is 1 or -1.

    Raises:
        ValueError: `forbidden` names an unknown category, or a transition to the same one.
    """
    width = sum(len(feature.columns) for feature in features)
    numbers = [feature for feature in features if feature.type != "categorical"]  # the first columns, one each
    position = {feature.name: index for index, feature in enumerate(numbers)}
    offset, scale = np.zeros(width), np.ones(width)
    offset[: len(numbers)] = [feature.low for feature in numbers]
    scale[: len(numbers)] = [feature.high - feature.low for feature in numbers]
    links = [Link(position[f.name], rename(f.formula, position)) for f in numbers if f.formula is not None]
    inequalities = _inequalities(schema, position, offset, scale) if schema.get("relations") else {}
    forbidden, most = _forbidden(features, schema), schema.get("max_changes")
    return relate(width, links=links, offset=offset, scale=scale, forbidden=forbidden, max_changes=most, **inequalities)


def closed_ways(features: Sequence[Feature], schema: Mapping[str, Any]) -> tuple[Feature, ...]:
    """`features`, those with two categories without the directions that `forbidden` closes."""
    return tuple(_close(feature, schema) if len(feature.categories) == 2 else feature for feature in features)


def warn_if_broken(schema: Mapping[str, Any], relations: Relations | None, rows: np.ndarray) -> None:
    """Warn of an inequality that many of the encoded training rows (n, d) break."""
    if relations is None:
        return
    slack = np.asarray(relations.limits) - rows @ np.asarray(relations.coefficients).T
    for text, share in zip(schema.get("relations", ()), (slack < -_ROUNDING).mean(axis=0), strict=True):
        if share > _MOST_BROKEN:
            found = f"{text!r}, which {share:.0%} break: is it the wrong way round?"
            message = f"schema relations: should hold in the training rows; got {found}"
            warnings.warn(message, UserWarning, stacklevel=3)


def _inequalities(
    schema: Mapping[str, Any], position: Mapping[str, int], offset: np.ndarray, scale: np.ndarray
) -> dict[str, np.ndarray]:
    found = schema_inequalities(schema)
    coefficients = np.zeros((len(found), len(scale)))
    for row, one in enumerate(found):
        for name, value in one.coefficients.items():
            coefficients[row, position[name]] = value
    limits = -np.array([one.constant for one in found]) - coefficients @ offset
    largest = np.abs(coefficients * scale).max(axis=1)
    return {"coefficients": coefficients * scale / largest[:, None], "limits": limits / largest}


def _transitions(feature: Feature, schema: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The transitions of a feature that the schema forbids, as indices of its categories."""
    found = []
    for name, *ends in schema.get("forbidden", ()):
        if name == feature.name:
            for end in ends:
                require(end in feature.categories, "schema forbidden", f"must name {feature.categories}", [name, *ends])
            source, target = map(feature.categories.index, ends)
            require(source != target, "schema forbidden", "must name two categories", [name, *ends])
            found.append((source, target))
    return found


def _close(feature: Feature, schema: Mapping[str, Any]) -> Feature:
    closed = {target - source for source, target in _transitions(feature, schema)}
    if feature.direction:
        closed.add(-feature.direction)
    if len(closed) == 2:
        return feature._replace(mutable=False)
    return feature._replace(direction=-closed.pop()) if closed else feature


def _forbidden(features: Sequence[Feature], schema: Mapping[str, Any]) -> np.ndarray | None:
    """Forbidden transitions (d, d) between the levels of one-hot groups; None if there are none."""
    ends = np.cumsum([len(feature.columns) for feature in features])
    forbidden = np.zeros((ends[-1], ends[-1]), bool)
    for feature, end in zip(features, ends, strict=True):
        num_levels = len(feature.columns)
        if num_levels > 1:
            block = forbidden[end - num_levels : end, end - num_levels : end]
            rank = np.arange(num_levels - (feature.missing == CATEGORY))
            rise = rank[None, :] - rank[:, None]
            block[: len(rank), : len(rank)] = rise * feature.direction < 0
            for source, target in _transitions(feature, schema):
                block[source, target] = True
    return forbidden if forbidden.any() else None
