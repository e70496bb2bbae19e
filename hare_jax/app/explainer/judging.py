"""The model's own judgement of rows in original units, which decides what is accepted.

A model that was trained on a DataFrame judges missing values as they are, if it can; otherwise, and where a model takes
encoded rows, the missing values are filled as the schema says.
"""

import warnings
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from hare_jax.app.explainer import programs
from hare_jax.app.explainer.chunks import map_chunks
from hare_jax.base import LogitFn, as_partial
from hare_jax.data import Table, missing
from hare_jax.models import Wrapped


class Judgement(NamedTuple):
    """What a model says of n rows."""

    logit: np.ndarray  # (n,)
    filled: np.ndarray  # (n,) bool: the model was asked about the row with its missing values filled


def encode(table: Table, frame: pd.DataFrame) -> np.ndarray:
    """The encoding (n, d) of rows that have been encoded before: without the warning of values far away."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(table.encode(frame))


def complete(table: Table, df: pd.DataFrame, x: np.ndarray) -> pd.DataFrame:
    """The rows `df`, whose encoding is `x` (n, d), with the derived columns that they lack."""
    absent = [feature.name for feature in table.features if feature.name not in df]
    decoded = table.decode(x) if absent else {}
    return df.assign(**{name: np.asarray(decoded[name]) for name in absent})


def unfilled(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Which values (n, ...) of the features that the schema fills, and of derived ones, are missing."""
    names = [one.name for one in table.features if one.missing == missing.FILL or one.type == "derived"]
    return frame[names].isna()


def filled(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with the missing values that the schema fills, and of derived columns those of their formulas."""
    absent = unfilled(table, frame)
    derived = [one.name for one in table.features if one.type == "derived" and absent[one.name].any()]
    fills = {one.name: one.fill for one in table.features if one.missing == missing.FILL}
    decoded = table.decode(encode(table, frame)).set_axis(frame.index) if derived else {}
    known = {name: frame[name].where(~absent[name], decoded[name]) for name in derived}
    return missing.replace(frame.assign(**known), fills)


def judge(logit_fn: LogitFn, table: Table, frame: pd.DataFrame) -> np.ndarray:
    """Logits (n,) of the rows of `frame`."""
    return judgement(logit_fn, table, frame).logit


def judgement(logit_fn: LogitFn, table: Table, frame: pd.DataFrame) -> Judgement:
    """The logits of the rows of `frame`: a model that was trained on a DataFrame is asked about these rows as such."""
    rows, absent = encode(table, frame), unfilled(table, frame)
    model: Any = logit_fn.args[0] if isinstance(logit_fn, Wrapped) else None
    if not hasattr(model, "judge"):
        logit = map_chunks(programs.logits, as_partial(logit_fn), rows=jnp.asarray(rows))
        return Judgement(np.asarray(logit, float), absent.any(axis=1).to_numpy(bool))
    return _by_host(model, table, frame, rows, np.asarray(absent, bool))


def _by_host(model: Any, table: Table, frame: pd.DataFrame, rows: np.ndarray, absent: np.ndarray) -> Judgement:
    """Rows (n, d) as they are; where the model fails, those with the same missing values, `absent` (n, k), at once."""
    given, incomplete = frame[list(table.schema["features"])], np.asarray(absent.any(axis=1))
    if not (incomplete.any() and model.takes_frames):
        return Judgement(model.judge(given, rows), incomplete)
    try:
        return Judgement(model.judge(given, rows), np.zeros(len(rows), bool))
    except Exception:  # of any library: the model does not take missing values, at least not all of them
        full = filled(table, given)
    logit, replaced = model.judge(full, rows), np.zeros(len(rows), bool)
    patterns, own = np.unique(absent, axis=0, return_inverse=True)
    for index in np.flatnonzero(patterns.any(axis=1)):
        same = np.flatnonzero(own.reshape(-1) == index)
        try:
            logit[same] = model.judge(given.iloc[same], rows[same])
        except Exception:
            replaced[same] = True
    return Judgement(logit, replaced)


def warn_of_missing(table: Table, frame: pd.DataFrame, judged: Judgement) -> None:
    """Warn of the rows with missing values that the schema fills: how many, with what, and how they are judged."""
    absent = unfilled(table, frame)
    fills = {one.name: one.fill for one in table.features if one.missing == missing.FILL and absent[one.name].any()}
    if not fills:
        return
    rows, replaced = int(absent[list(fills)].any(axis=1).sum()), int(judged.filled.sum())
    taken = ", ".join(
        f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}" for name, value in fills.items()
    )
    asked = (
        f"the model is asked about {replaced} of them with these values"
        if replaced
        else "the model is asked about them as they are"
    )
    warnings.warn(
        f"df: {rows} of {len(frame)} rows have missing values, which the search takes as {taken}; {asked}",
        UserWarning,
        stacklevel=3,
    )
