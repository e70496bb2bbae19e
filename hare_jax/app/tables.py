"""The options that commands on a table share, and the table and the model that they name."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import pandas as pd
import tyro

from hare_jax import data, models
from hare_jax.app import model_files
from hare_jax.app.explainer.choice import built_in
from hare_jax.app.options import Cache
from hare_jax.base import LogitFn, require
from hare_jax.data import missing
from hare_jax.data.schema import check_schema
from hare_jax.data.table import split

_TEST_SIZE = 0.25  # of the rows of a file, which the built-in classifier is not trained on
_NUM_TRIED = 1  # test rows of a table whose test rows are not used


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions:
    """The rows, and the model that decides on them."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE.csv|NAME")]
    """CSV file with a line of column names; or a data set, as listed by `hare-jax data list`, for its test rows."""
    schema: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """TOML file with the target and the features of the CSV file, and how they may change: see docs/start.md."""
    train: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """CSV file of training rows with the target column, which FILE does not need then; by default rows of FILE."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File of a model: XGBoost (.json, .ubj), LightGBM (.txt), ONNX (.onnx) or a pickle (.pkl, .joblib); without it,
    the built-in classifier is trained."""
    allow_pickle: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read a model from a pickle. This runs code that is in the file: use it for files that you trust alone."""
    wanted: Annotated[str | None, tyro.conf.arg(metavar="CLASS")] = None
    """Wanted class of the model, or a condition on a number as ">= 6"; by default the target's favourable value."""
    threshold: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Least probability of the wanted class; by default the model's own prediction decides."""
    classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CLASS...")] = ()
    """Names of the classes of a model that does not know them, in the order of its probabilities."""
    seed: int = 0
    """Seed of the split, the built-in classifier and the method."""
    cache: Cache = True


class Loaded(NamedTuple):
    """A table, and the rows that a command is about."""

    table: data.Table
    frame: pd.DataFrame  # the rows, in original units, with all of their columns, by their numbers from 1
    described: str  # in words


def check(options: TableOptions) -> None:
    """Raise a `ValueError` if the options contradict each other, before any data is loaded."""
    named = _is_named(options)
    rule = f"must be a CSV file, or one of {', '.join(data.SOURCES)}"
    require(named or Path(options.file).is_file(), "file", rule, options.file)
    required = named or options.schema is not None
    require(required, "schema", "must be given for a CSV file (--schema FILE.toml)", options.schema)
    fixed = [name for name in ("schema", "train") if named and getattr(options, name) is not None]
    require(not fixed, options.file, f"is a data set with its own {' and '.join(fixed)}", options.file)
    of_model = [name for name in ("wanted", "threshold", "classes") if getattr(options, name) not in (None, ())]
    require(options.model is not None or not of_model, "model", f"must be given with {', '.join(of_model)}", None)
    require(0 <= options.seed < 2**31, "seed", "must be at least 0 and below 2^31", options.seed)
    within = options.threshold is None or 0 < options.threshold < 1
    require(within, "threshold", "must be above 0 and below 1", options.threshold)


def load(options: TableOptions, *, held_out: bool) -> Loaded:
    """The table and the rows of the `options`.

    The rows of a file are all of its rows; if `held_out`, without the rows that the built-in classifier is trained on.

    Raises:
        ValueError, OSError, ImportError: those of `data.load`, `data.read_csv` and `data.from_frame`.
    """
    if _is_named(options):
        rows = data.read(options.file)[1]
        return Loaded(data.load(options.file), _numbered(rows), f"test rows of {options.file}")
    rows, name = _numbered(data.read_csv(options.file)), Path(options.file).stem
    if options.train is not None:
        train = data.read_csv(options.train, "train")
        return _loaded(_table(train, options, name), rows, f"rows of {options.file}")
    target = check_schema(options.schema or {})["target"]
    require(target in rows, "file", f"must have the target column {target!r}, or --train FILE.csv", list(rows.columns))
    if options.model is not None or not held_out:
        return _loaded(_table(rows, options, name), rows, f"rows of {options.file}")
    train, test = split(rows, _TEST_SIZE, options.seed)
    about = f"rows of {options.file} that the classifier was not trained on"
    return _loaded(_table(train, options, name), test, about)


def classifier(options: TableOptions, table: data.Table) -> LogitFn:
    """The model of the options as a classifier, or the built-in one, trained on the training rows of `table`."""
    if options.model is None:
        return built_in(table, options.seed)
    model, keywords = model_of(options, table)
    return models.wrap(model, table, **keywords)  # type: ignore[arg-type]


def model_of(options: TableOptions, table: data.Table) -> tuple[Any, dict[str, Any]]:
    """The model of the file, and the keywords of `models.wrap` for it."""
    model = model_files.load_model(cast(Path, options.model), allow_pickle=options.allow_pickle, table=table)
    return model, {
        "wanted": None if options.wanted is None else _value(options.wanted),
        "threshold": options.threshold,
        "classes": tuple(map(_value, options.classes)) or None,
        "inputs": model_files.inputs_for(model, table),
    }


def _is_named(options: TableOptions) -> bool:
    return options.file in data.SOURCES and not Path(options.file).exists()


def _table(train: pd.DataFrame, options: TableOptions, name: str) -> data.Table:
    """The table of the rows `train`; its test rows are of no interest."""
    schema: Any = options.schema
    return data.from_frame(train, schema, test=_tried(train, check_schema(schema or {})), name=name)


def _tried(train: pd.DataFrame, schema: Mapping[str, Any]) -> pd.DataFrame:
    """The first of the rows that `from_frame` keeps."""
    names = [schema["target"], *(name for name, spec in schema["features"].items() if spec["type"] != "derived")]
    known = [name for name in names if name in train]
    if known != names:
        return train.iloc[:_NUM_TRIED]
    ways = missing.ways(schema, names, [train])
    kept = train[train[[name for name, way in ways.items() if way == missing.DROP]].notna().all(axis=1)]
    return (kept if len(kept) else train).iloc[:_NUM_TRIED]


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with their numbers from 1 as the index, which no later selection changes."""
    return rows.set_axis(range(1, len(rows) + 1), axis=0)


def _loaded(table: data.Table, rows: pd.DataFrame, described: str) -> Loaded:
    """Without the rows that lack a value of a feature whose schema has `missing = "drop"`."""
    dropped = [feature.name for feature in table.features if feature.missing == missing.DROP and feature.name in rows]
    kept = rows[rows[dropped].notna().all(axis=1)]
    require(len(kept) > 0, "file", "must have rows without missing values", f"{len(rows)} rows")
    told = f", without {len(rows) - len(kept):,} with missing values" if len(kept) < len(rows) else ""
    return Loaded(table, kept, described + told)


def _value(text: str) -> Any:
    """The number that `text` is, or itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
