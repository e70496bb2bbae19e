"""The data and the models of a study, and the programs of its arms, which are compiled before the first question."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hare_jax.app import tables
from hare_jax.app.explainer import Explainer
from hare_jax.app.explainer.judging import complete, encode, judge
from hare_jax.app.session import Session
from hare_jax.app.study.design import ASSIGNED, Arm, Study
from hare_jax.base import require
from hare_jax.data import Table

MOST_ROWS = 200  # refused rows that people are assigned
_MOST_TRIED = 1000  # rows among which they are looked for

Progress = Callable[[float, str], None]


class Setting(NamedTuple):
    """What the sessions of a study stand on."""

    table: Table
    frame: pd.DataFrame  # rows of the data that no model was trained on
    explainers: dict[str | None, Explainer]  # by base method


def load(study: Study) -> Setting:
    """The table, the rows and the models of a study.

    Raises:
        ValueError, OSError, ImportError: those of the data and of the model.
    """
    loaded = tables.load(study.data, held_out=True)
    if study.data.model is None:
        model, keywords = tables.classifier(study.data, loaded.table), dict[str, Any]()
    else:
        model, keywords = tables.model_of(study.data, loaded.table)
    bases = dict.fromkeys(arm.base for arm in study.arms)
    seed, table = study.data.seed, loaded.table
    return Setting(table, loaded.frame, {base: Explainer(model, table, base, seed=seed, **keywords) for base in bases})


def refused_rows(study: Study, setting: Setting) -> pd.DataFrame:
    """The first rows that the model refuses, and for which every base method finds a recourse.

    Raises:
        ValueError: people are assigned rows, and there is none.
    """
    table = setting.table
    names = [name for name in table.schema["features"] if name in setting.frame]
    rows = setting.frame[names].head(_MOST_TRIED)
    logit_fn = next(iter(setting.explainers.values())).logit_fn
    logits = judge(logit_fn, table, complete(table, rows, encode(table, rows)))
    rows = rows[~(logits >= 0)].head(MOST_ROWS)
    for explainer in setting.explainers.values():
        rows = rows[np.asarray(explainer.explain(rows, progress=False).found)]
    rule = "must have rows that the model refuses, with a recourse"
    require(len(rows) > 0 or study.row != ASSIGNED, "data", rule, study.data.file)
    return rows


def session(setting: Setting, arm: Arm, row: pd.Series, seed: int) -> Session:
    """A session of an arm.

    Raises:
        ValueError: the row can't be encoded, or is accepted.
    """
    explainer = setting.explainers[arm.base]
    return Session(explainer, None, row, arm.elicitor, seed=seed, questions=arm.questions, **arm.hyperparameters)


def warm(study: Study, setting: Setting, rows: pd.DataFrame, progress: Progress) -> None:
    """Compile what the arms need, by a session of each; `progress(share, stage)`."""
    for index, arm in enumerate(study.arms):
        progress(index / len(study.arms), f"preparing the questions, {index + 1} of {len(study.arms)}")
        tried = session(setting, arm, rows.iloc[0], seed=0)
        if tried.question() is not None:
            tried.answer("A")
        tried.best()
        Session.from_json(tried.to_json(), setting.explainers[arm.base])
    progress(1.0, "ready")
