"""`Explainer`: a model, its table and a recourse method; DataFrames in, DataFrames out."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from hare_jax.app.explainer import cells, choice
from hare_jax.app.explainer.explanation import Explanation
from hare_jax.app.explainer.judging import judge
from hare_jax.app.explainer.progress import shown
from hare_jax.app.explainer.search import ACCEPTED, Found, Rows, Setting, put_rows, search
from hare_jax.base import require
from hare_jax.data import Table
from hare_jax.recourse import BoundMethod


class Explainer:
    """Recourse for the rows that a model refuses, in original units.

    `model` is anything that `models.wrap` takes, with its keywords; a classifier of encoded rows, such as
    `models.classifier` and `wrap` give; or None, which trains the built-in classifier on `table`. `method` is a name of
    `recourse.METHODS`, with its `hyperparameters`, or a method of `recourse.bind`.

    The same `seed` gives a row the same recourse, whatever the other rows.

    Raises:
        ValueError: those of `models.wrap` and `recourse.bind`, or a method that the model is unfit for.
    """

    def __init__(
        self,
        model: Any,
        table: Table,
        method: str | BoundMethod | None = None,
        *,
        seed: int = 0,
        params: Any = None,
        wanted: Any = None,
        threshold: float | None = None,
        classes: Sequence[Any] | None = None,
        inputs: str | Callable | None = None,
        outputs: str | None = None,
        **hyperparameters: Any,
    ) -> None:
        require(isinstance(table, Table), "table", "must be a Table, of data.load or data.from_frame", type(table))
        require(isinstance(seed, int | np.integer) and seed >= 0, "seed", "must be a whole number from 0", seed)
        given = {"params": params, "wanted": wanted, "threshold": threshold, "classes": classes}
        given |= {"inputs": inputs, "outputs": outputs}
        options = {name: value for name, value in given.items() if value is not None}
        logit_fn, key = choice.classifier(model, table, seed, options), jax.random.key(seed)
        generate = choice.bound_method(method, key, logit_fn, table, hyperparameters)
        self.table, self.logit_fn, self.seed = table, logit_fn, seed
        self.method = choice.name_of(generate)
        self._setting = Setting(logit_fn, table, generate, key, cells.decimals(table))

    def __repr__(self) -> str:
        return f"Explainer({self.logit_fn}, {self.table.name!r}, {self.method!r})"

    def explain(self, df: pd.DataFrame, *, progress: bool | None = None) -> Explanation:
        """The recourses of the rows `df`, in original units: any number, with any index, and any further columns.

        A row that the model accepts is unchanged. For a row for which the method finds nothing, growing spheres are
        tried, and then `exact`, or `nnce` if the classifier is not a `models.Classifier`; `reason` says so. A recourse
        is valid if the model itself accepts the row of the DataFrame, and the table's action space allows the change.

        `progress` shows the progress on stderr; by default, if it takes longer than a second and stderr is a terminal.

        Raises:
            ValueError: those of `Table.encode`.
        """
        x = np.asarray(self.table.encode(df))
        logits = judge(self.logit_fn, self.table, df)
        refused = np.flatnonzero(~(logits >= 0))
        found = None
        if len(refused):
            rows = Rows(df, x, np.zeros(x.shape, bool)).take(refused)
            with shown(progress, len(refused)) as tick:
                found = search(self._setting, rows, logits[refused], tick)
        return self._explanation(df, logits, refused, found)

    def _explanation(
        self, df: pd.DataFrame, logits: np.ndarray, refused: np.ndarray, found: Found | None
    ) -> Explanation:
        num = len(df)
        frame, after = df.copy(), logits.copy()
        valid, cost, reason = np.ones(num, bool), np.zeros(num), np.full(num, ACCEPTED, object)
        if found is not None:
            frame = put_rows(frame, refused, found.frame)
            for values, new in ((valid, found.valid), (cost, found.cost), (reason, found.reason), (after, found.logit)):
                values[refused] = new
        return Explanation(
            frame=frame,
            valid=pd.Series(valid, df.index, name="valid"),
            cost=pd.Series(cost, df.index, name="cost"),
            reason=pd.Series(reason, df.index, name="reason"),
            score=pd.DataFrame({"before": logits, "after": after}, df.index),
            before=df,
            explainer=self,
        )
