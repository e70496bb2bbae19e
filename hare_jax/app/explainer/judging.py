"""The model's own judgement of rows in original units, which decides what is accepted."""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from hare_jax.app.explainer import programs
from hare_jax.app.explainer.chunks import map_chunks
from hare_jax.base import LogitFn, as_partial
from hare_jax.data import Table, missing
from hare_jax.models import Wrapped


def encode(table: Table, frame: pd.DataFrame) -> np.ndarray:
    """The encoding (n, d) of rows that have been encoded before: without the warning of values far away."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(table.encode(frame))


def complete(table: Table, df: pd.DataFrame, x: np.ndarray) -> pd.DataFrame:
    """The rows `df`, whose encoding is `x` (n, d), as they are judged: missing values filled, derived columns added."""
    fills = {feature.name: feature.fill for feature in table.features if feature.missing == missing.FILL}
    absent = [feature.name for feature in table.features if feature.name not in df]
    decoded = table.decode(x) if absent else {}
    return missing.replace(df, fills).assign(**{name: np.asarray(decoded[name]) for name in absent})


def judge(logit_fn: LogitFn, table: Table, frame: pd.DataFrame) -> np.ndarray:
    """Logits (n,) of the rows of `frame`: a model that was trained on a DataFrame is asked about these rows as such."""
    rows = encode(table, frame)
    model: Any = logit_fn.args[0] if isinstance(logit_fn, Wrapped) else None
    if hasattr(model, "judge"):
        return model.judge(frame[list(table.schema["features"])], rows)
    return np.asarray(map_chunks(programs.logits, as_partial(logit_fn), rows=jnp.asarray(rows)), float)
