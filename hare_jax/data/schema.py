"""The schema of a data set: its features, and how each may change. `data.table` fits it to rows.

A schema is a dict, or a TOML file with the same structure. Defaults are in parentheses::

    target = "approved"          # the column to predict
    positive = 1                 # its favourable value, encoded as class 1; or a list of them; or ">= 6", "< 10"
                                 # (1, of a target with two values)
    audit = ["sex"]              # kept for the test rows, not a model input (none)
    missing = "drop"             # missing values: "drop" their rows, "fill" or "category" (an error)
    [features.income]            # one table per feature
    type = "ordered"             # "continuous", "ordered" (moves in steps), "categorical" or "derived"
    mutable = true               # (true)
    direction = "up"             # "up", "down" or "free"; or 1, -1 or 0 ("free")
    range = [10, 90]             # numbers: allowed values, in original units (those of the training rows)
    step = 1                     # ordered only, in original units (1)
    categories = ["no", "yes"]   # categorical only (those of the training rows, in their order)
    missing = "fill"             # missing values of this feature (the schema's)
    unit = "thousand $"          # for display ("")
    label = "yearly income"      # for display (the feature's name)
    cost = 2.0                   # of a change, per width of the training rows' values (1)
    follows = "0.3 * age"        # continuous or ordered: moves with other features (not at all)

Relations between features, which docs/relations.md describes::

    relations = ["card_debt <= total_debt"]   # linear, between numeric features, in original units (none)
    forbidden = [["job", "full", "none"]]     # feature, from, to: no recourse changes the category so (none)
    max_changes = 3                           # features that a recourse changes at most (any number)
    [features.dti]
    type = "derived"             # computed from other features, also where the rows lack the column; may have a range
    formula = "debt / income"    # + - * / **, abs, exp, log, max, min, sqrt; other names in backticks: `capital-gain`

The order of categories that are not listed is that of an ordered pandas dtype; otherwise they are sorted.

Missing values: "drop" leaves out their rows in `from_frame`, those without a target too. "fill" replaces them by the
median of the training rows, or by their most frequent category. "category" is for categorical features: "missing" is a
last category of their own, which no change may lead to, and which is decoded to NaN.

Encoded columns: first the continuous and ordered features, scaled to [0, 1] by their lowest and highest value, then the
categorical ones, both in the schema's order; a derived feature is a continuous one that is not mutable. Two categories
are one column, 0 for the first and 1 for the second; more are a one-hot group. "up" is towards later categories: three
or more must have an order, listed or that of an ordered pandas dtype.
"""

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hare_jax.base import choose, require
from hare_jax.data.formulas import check_relations
from hare_jax.formula import Expression
from hare_jax.space import ActionSpace, Relations, action_space

_DIGITS = 5  # of an ordered number, relative to the span of the training rows
DIRECTIONS = {"up": 1, "down": -1, "free": 0, "1": 1, "-1": -1, "0": 0}


class Feature(NamedTuple):
    """A feature in original units, fitted to rows."""

    name: str
    type: str  # "continuous", "ordered", "categorical" or "derived"
    mutable: bool
    direction: int  # +1 may only rise, -1 may only fall, 0 free
    unit: str
    label: str
    missing: str = ""  # missing values: "drop", "fill", "category", or "" for an error
    fill: Any = None  # what replaces them
    low: float = 0.0  # encoded as 0
    high: float = 1.0  # encoded as 1
    range: tuple[float, float] = (0.0, 1.0)  # allowed values
    step: float = 0.0  # 0 = not ordered
    whole: bool = False  # step and values are whole numbers
    categories: tuple[Any, ...] = ()
    cost: float = 1.0  # of a change by the width of the training rows
    formula: Expression | None = None  # over names: of a derived feature, or of one that follows others
    tolerance: float = 0.0  # of a derived feature: differences to its formula that are rounding

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns: `age`; `sex=Male` for two categories; `job=a`, `job=b`, `job=c` for three."""
        shown = self.categories[1:] if len(self.categories) == 2 else self.categories
        return tuple(f"{self.name}={category}" for category in shown) or (self.name,)

    def numbers(self, column: np.ndarray) -> np.ndarray:
        """Values (n,) in original units of an encoded `column` (n,), rounded as the training rows are."""
        span = self.high - self.low
        values = self.low + column * span
        if self.whole:
            return np.rint(values)
        return values if self.type != "ordered" else values.round(max(0, _DIGITS - math.ceil(math.log10(span))))

    def codes(self, block: np.ndarray) -> np.ndarray:
        """Index (n,) of the nearest category of encoded columns (n, 1), or (n, k) of a one-hot group."""
        return (block[:, 0] >= 1 / 2).astype(int) if block.shape[1] == 1 else block.argmax(axis=1)


def features_space(features: Sequence[Feature], relations: Relations | None = None) -> ActionSpace:
    """The action space of the encoded columns of `features`, with `relations` between them."""
    rows: list[tuple[Any, ...]] = []
    num_groups = 0
    for feature in features:
        span = feature.high - feature.low
        lower, upper = ((bound - feature.low) / span for bound in feature.range)
        step = 1.0 if feature.categories else feature.step / span
        one_hot = len(feature.columns) > 1
        group = num_groups if one_hot else -1
        num_groups += one_hot
        direction = 0 if one_hot else feature.direction  # that of a one-hot group is a relation
        rows += [(feature.mutable, lower, upper, direction, group, step, feature.cost)] * len(feature.columns)
    mutable, lower, upper, direction, group, step, cost = np.array(rows, float).T
    costs = None if (cost == 1).all() else cost
    return action_space(mutable.astype(bool), lower, upper, direction, group, step, costs, relations)


def check_schema(schema: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Check `schema`, a dict or the path of a TOML file, and return it as a dict.

    Raises:
        ValueError: a key is unknown or missing, a value is invalid, a feature is the target or an audit column, or the
            file can't be read as TOML.
    """
    known: Any = _plain(_read(Path(schema)) if isinstance(schema, str | Path) else schema)
    require(isinstance(known, dict), "schema", "must be a dict or the path of a TOML file", type(known).__name__)
    _check_keys("schema", known, _TOP)
    features, target, audit = known.get("features", {}), known.get("target"), known.get("audit", [])
    require(isinstance(target, str), "schema target", "must name the column to predict", target)
    positive = known.get("positive", 1)
    rule = "must be a value of the target, a list of values, or a condition such as '>= 6'"
    require(not isinstance(positive, Mapping) and positive != [], "schema positive", rule, positive)
    require(_is_list(audit, _is_text), "schema audit", "must be a list of column names", audit)
    _check_value("schema", "missing", known.get("missing", "drop"))
    require(isinstance(features, Mapping) and len(features) > 0, "schema features", "must hold a table", features)
    shared = [name for name in (target, *audit) if name in features]
    require(not shared, "schema features", "must hold neither the target nor an audit column", shared)
    for name, spec in features.items():
        _check_feature(f"schema features.{name}", spec)
    check_relations(known)
    return known


def _read(path: Path) -> dict[str, Any]:
    """The TOML file at `path`."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        found = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise ValueError(f"schema {str(path)!r}: must be a TOML file in UTF-8; got {found!r}") from error


def _plain(value: Any) -> Any:
    """A copy of `value` with dicts, lists and Python's numbers in place of mappings, tuples and NumPy's values."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.bool_ | np.integer | np.floating | np.str_) else value


def _check_feature(argument: str, spec: Any) -> None:
    require(isinstance(spec, Mapping), argument, 'must be a table such as { type = "continuous" }', spec)
    choose(f"{argument}.type", spec.get("type"), _KEYS)
    _check_keys(f"{argument}, {spec['type']}", spec, _KEYS[spec["type"]])
    for key in spec.keys() - {"type"}:
        _check_value(argument, key, spec[key])


def _check_value(argument: str, key: str, value: Any) -> None:
    rule, ok = _RULES[key]
    require(ok(value), f"{argument}.{key}", rule, value)


def _check_keys(argument: str, table: Mapping[str, Any], known: set[str]) -> None:
    unknown = [key for key in table if key not in known]
    require(not unknown, argument, f"unknown key; may hold {', '.join(sorted(known))}", unknown)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any, ok: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(ok, value))


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "mutable": ("must be true or false", lambda value: isinstance(value, bool)),
    "direction": ("must be up, down or free, or 1, -1 or 0", lambda value: str(value) in DIRECTIONS),
    "range": ("must be [lo, hi], lo below hi", lambda v: _is_list(v, _is_number) and len(v) == 2 and v[0] < v[1]),
    "step": ("must be a number above 0", lambda value: _is_number(value) and value > 0),
    "categories": (
        "must list two or more categories, each once",
        lambda v: _is_list(v, lambda _: True) and 2 <= len(set(map(str, v))) == len(v),
    ),
    "missing": ("must be drop, fill or category", lambda value: value in ("drop", "fill", "category")),
    "unit": ("must be text", _is_text),
    "label": ("must be text", _is_text),
    "cost": ("must be a number above 0", lambda value: _is_number(value) and value > 0),
    "formula": ("must be text", _is_text),
    "follows": ("must be text", _is_text),
}
_COMMON = {"type", "mutable", "direction", "unit", "label", "missing", "cost"}
_TOP = {"target", "positive", "audit", "missing", "features", "relations", "forbidden", "max_changes"}
_KEYS = {
    "continuous": _COMMON | {"range", "follows"},
    "ordered": _COMMON | {"range", "step", "follows"},
    "categorical": _COMMON | {"categories"},
    "derived": {"type", "formula", "range", "unit", "label"},
}
