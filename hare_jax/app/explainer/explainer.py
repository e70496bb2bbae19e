"""`Explainer`: a model, its table and a recourse method; DataFrames in, DataFrames out."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from hare_jax import models, recourse
from hare_jax.app.explainer import cells, choice, saving
from hare_jax.app.explainer.explanation import Explanation
from hare_jax.app.explainer.judging import complete, judgement, warn_of_missing
from hare_jax.app.explainer.progress import shown
from hare_jax.app.explainer.search import ACCEPTED, Found, search
from hare_jax.app.explainer.writing import Rows, Setting, put_rows
from hare_jax.base import require
from hare_jax.data import Table
from hare_jax.recourse import BoundMethod

_FAR = "x: column .* should be in encoded units"  # `Table.encode` has warned of the rows given, in their own units
_GIVEN_AGAIN = ("params", "inputs")  # options of `wrap` that are not written to a file, unless they are text


class Explainer:
    """Recourse for the rows that a model refuses, in original units.

    `model` is anything that `models.wrap` takes, with its keywords; a classifier of encoded rows, such as
    `models.classifier` and `wrap` give; or None, which trains the built-in classifier on `table`. `method` is a name of
    `recourse.METHODS`, with its `hyperparameters`, or a method of `recourse.bind`.

    The default method is `least_cost` with a small budget, which needs no gradient: on four data sets it costs 0.4 %
    more than `exact` on average, where growing spheres cost 1 % more in the same time, Wachter 2 % and DiCE 1 %. For a
    model on the host it is `growing_spheres`, which calls the model least often.

    The same `seed` gives a row the same recourse, whatever the other rows.

    Raises:
        ValueError: those of `models.wrap` and `recourse.bind`, or a method that the model is unfit for.

    >>> from hare_jax import data, models
    >>> rows = pd.DataFrame({"income": [20, 40, 60, 30], "job": ["b", "a", "b", "a"], "ok": [0, 1, 1, 0]})
    >>> features = {"income": {"type": "ordered", "step": 10}, "job": {"type": "categorical"}}
    >>> table = data.from_frame(rows, {"target": "ok", "features": features}, test=rows)
    >>> logit_fn = models.classifier(models.from_layers([([[4.0, 0.0]], [-1.5])]))
    >>> Explainer(logit_fn, table, "nnce").explain(rows).sentences().tolist()
    ['raise income from 20 to 60', 'already accepted', 'already accepted', 'raise income from 30 to 40']
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
        self.options = {name: value for name, value in given.items() if value is not None}
        self.table, self.seed = table, seed
        self.logit_fn = choice.classifier(model, table, seed, self.options)
        generate = self._bound(method, hyperparameters)
        self.method = choice.name_of(generate)
        self.features = {feature.name: feature for feature in table.features}
        self.digits = cells.decimals(table)
        same = self.method == "growing_spheres" and self.hyperparameters == {}
        self.setting = Setting(self.logit_fn, table, generate, jax.random.key(seed), self.digits, same)

    def _bound(self, method: str | BoundMethod | None, hyperparameters: dict[str, Any]) -> BoundMethod:
        """The method, fitted to the training rows; its hyperparameters are kept for `save`."""
        self.hyperparameters: dict[str, Any] | None = None
        if isinstance(method, BoundMethod):
            require(not hyperparameters, "method", "is bound, and takes no hyperparameters", list(hyperparameters))
            return method
        name, self.hyperparameters = choice.named_method(method, self.logit_fn, self.table, hyperparameters)
        key, table = jax.random.key(self.seed), self.table
        return recourse.bind(name, key, self.logit_fn, table.x_train, table.space, **self.hyperparameters)

    def __repr__(self) -> str:
        return f"Explainer({self.logit_fn}, {self.table.name!r}, {self.method!r})"

    def explain(self, df: pd.DataFrame, *, progress: bool | None = None) -> Explanation:
        """The recourses of the rows `df`, in original units: any number, with any index, and any further columns.

        A row that the model accepts is unchanged, and derived columns that `df` lacks are added. Missing values that
        the schema fills stay missing where the recourse does not change them: a model that was trained on a DataFrame
        judges them as they are if it can, and the search takes the fill values.

        For a row for which the method finds nothing, growing spheres are tried, and then `exact`, or `nnce` if the
        classifier is not a `models.Classifier`; `reason` says so. A recourse is valid if the model itself accepts the
        row of the DataFrame, and the table's action space allows the change.

        `progress` shows the progress on stderr; by default, if it takes longer than a second and stderr is a terminal.

        Raises:
            ValueError: those of `Table.encode`.

        Warns:
            UserWarning: rows have missing values that the schema fills; those of `Table.encode`.
        """
        rule = "must be a pandas DataFrame: of one row df.loc[[label]], not the Series df.loc[label]"
        require(not isinstance(df, pd.Series), "df", rule, "Series")
        if isinstance(df, pd.DataFrame) and not len(df):
            return self._of_no_rows(df)
        x = np.asarray(self.table.encode(df))
        df = complete(self.table, df, x)
        judged = judgement(self.logit_fn, self.table, df)
        warn_of_missing(self.table, df, judged)
        logits = judged.logit
        refused = np.flatnonzero(~(logits >= 0))
        found = None
        if len(refused):
            rows = Rows(df, x, np.zeros(x.shape, bool)).take(refused)
            with warnings.catch_warnings(), shown(progress, len(refused)) as tick:
                warnings.filterwarnings("ignore", _FAR, UserWarning)
                found = search(self.setting, rows, logits[refused], tick)
        return self._explanation(df, x, logits, refused, found)

    def _of_no_rows(self, df: pd.DataFrame) -> Explanation:
        """The empty explanation; columns that `df` lacks are added."""
        none = df.reindex(columns=df.columns.union(list(self.table.schema["features"]), sort=False))
        nowhere = np.zeros((0, len(self.table.columns)), self.table.x_train.dtype)
        return self._explanation(none, nowhere, np.zeros(0), np.zeros(0, int), None)

    def save(self, file: saving.File) -> None:
        """Write the table without its test rows, the method, the seed and, of a `models.Classifier`, the weights.

        It is a file of NumPy's `.npz` format, without pickle. Another model is not written.

        Raises:
            ValueError: the method was given bound, not by its name, or a hyperparameter can't be written.
            OSError: the file can't be written.
        """
        rule = "must be given by its name, with its hyperparameters, to be saved"
        require(self.hyperparameters is not None, "method", rule, self.method)
        again = [name for name in self.options if name in _GIVEN_AGAIN and not isinstance(self.options[name], str)]
        options = {name: value for name, value in self.options.items() if name not in again}
        params = self.logit_fn.args[0] if isinstance(self.logit_fn, models.Classifier) else None
        hyperparameters = dict(self.hyperparameters or {})
        saving.save(file, saving.Saved(self.table, self.method, hyperparameters, self.seed, options, again, params))

    @classmethod
    def load(cls, file: saving.File, model: Any = None, **options: Any) -> "Explainer":
        """The explainer in a file written by `save`; it gives bit for bit the same explanations.

        A model that is not a `models.Classifier` is given again, and tried on the training rows; so are `params` and a
        function `inputs` of `models.wrap`.

        Raises:
            ValueError: the file is damaged or of another format, the model or an option is missing, those of `wrap`.
            OSError: the file can't be read.
        """
        saved = saving.load(file)
        for name in saved.again:
            require(name in options, name, "must be given again: it is not in the file", None)
        require(saved.params is not None or model is not None, "model", "must be given: it is not in the file", None)
        known = models.classifier(saved.params) if model is None else model
        return cls(
            known, saved.table, saved.method, seed=saved.seed, **saved.options | options, **saved.hyperparameters
        )

    def _explanation(
        self, df: pd.DataFrame, x: np.ndarray, logits: np.ndarray, refused: np.ndarray, found: Found | None
    ) -> Explanation:
        num = len(df)
        frame, after, x_cf = df.copy(), logits.copy(), x.copy()
        valid, cost, reason = np.ones(num, bool), np.zeros(num), np.full(num, ACCEPTED, object)
        if found is not None:
            frame = put_rows(frame, refused, found.frame)
            parts = {"valid": valid, "cost": cost, "reason": reason, "logit": after, "x": x_cf}
            for name, values in parts.items():
                values[refused] = getattr(found, name)
        return Explanation(
            frame=frame,
            valid=pd.Series(valid, df.index, name="valid"),
            cost=pd.Series(cost, df.index, name="cost"),
            reason=pd.Series(reason, df.index, name="reason"),
            score=pd.DataFrame({"before": logits, "after": after}, df.index),
            before=df,
            x=x,
            x_cf=x_cf,
            explainer=self,
        )
