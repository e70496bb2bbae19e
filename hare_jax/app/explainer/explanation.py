"""`Explanation`: what an explainer returns for the rows of a DataFrame."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hare_jax.app.explainer import alternatives, html, plot, wording
from hare_jax.app.explainer.changes import long_form
from hare_jax.base import require

if TYPE_CHECKING:
    from hare_jax.app.explainer.explainer import Explainer

_FOUND = "found"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The recourses of n rows; everything is on the index of the rows given."""

    frame: pd.DataFrame  # the rows after the recourse, with all columns given; a row without one is unchanged
    valid: pd.Series  # bool: the model accepts the row of `frame`
    cost: pd.Series  # of the change (`space.distance`); 0 of an accepted row, NaN where there is no recourse
    reason: pd.Series  # text: "found", "found by nnce (...), ...", "already accepted", "no recourse: ..."
    score: pd.DataFrame  # columns "before", "after": logits of the model, at least 0 means accepted
    before: pd.DataFrame  # the rows given, with derived columns added
    x: np.ndarray  # (n, d) the rows given, encoded, with missing values filled
    x_cf: np.ndarray  # (n, d) the recourses, encoded
    explainer: "Explainer"

    def changes(self) -> pd.DataFrame:
        """A row for each cell that changes, on the index of its row, in the order of the schema.

        Columns: `feature`, `label`, `unit`, `before`, `after`, `difference` (NaN of a category or a missing
        value), and `consequence`: whether the feature only follows others, by a relation of the action space.
        """
        rows, cells = self._changes()
        return cells.set_axis(self.frame.index[rows], axis=0)

    def sentences(self) -> pd.Series:
        """What to change in each row, as text: "raise income from 48,000 to 52,000 $; change job from half to full".

        Of a row without changes it is the reason.
        """
        rows, cells = self._changes()
        explainer = self.explainer
        texts = wording.sentences(explainer.features, explainer.digits, rows, cells, self.reason.to_numpy())
        return pd.Series(texts, self.frame.index, name="recourse")

    def plot(self, row: Any) -> Any:
        """A matplotlib figure of one row, by its label or its position: what changes, and how the score rises with it.

        The changes are applied one after another, each time the one that raises the logit most.

        Raises:
            ValueError: there is no such row, several rows have the label, or the row has no recourse to show.
            ImportError: matplotlib is not installed.
        """
        return plot.figure(self, self.position(row))

    def alternatives(self, k: int = 3) -> "Explanation":
        """Up to `k` recourses of each row that has one, which differ as much as possible: the first is that of `frame`.

        The index has one more level, `alternative`, from 1; without a recourse the result is empty.

        Raises:
            ValueError: `k` is below 1.
        """
        return alternatives.alternatives(self, k)

    def position(self, row: Any) -> int:
        """The position of a row given by its label, or, if there is no such label, by its position.

        Raises:
            ValueError: there is no such row, or several rows have this label.
        """
        rule = "must be the label or the position of one row"
        try:
            found = self.frame.index.get_loc(row)
        except (KeyError, TypeError, pd.errors.InvalidIndexError):
            whole = isinstance(row, int | np.integer) and not isinstance(row, bool)
            require(whole and -len(self.frame) <= row < len(self.frame), "row", rule, row)
            return int(row) % len(self.frame)
        require(isinstance(found, int), "row", "must be the label of one row; several rows have it", row)
        return int(found)

    @property
    def found(self) -> np.ndarray:
        """Which rows (n,) have a recourse that changes them."""
        return self.valid.to_numpy() & self.reason.str.startswith(_FOUND).to_numpy(bool)

    def _changes(self) -> tuple[np.ndarray, pd.DataFrame]:
        return long_form(self.explainer.table, self.before, self.frame, self.x, self.x_cf)

    def __repr__(self) -> str:
        counts = self.reason.str.replace(r":.*", "", regex=True).value_counts()
        return f"Explanation({len(self.frame)} rows: {', '.join(f'{num:,} {text}' for text, num in counts.items())})"

    def _repr_html_(self) -> str:
        explainer = self.explainer
        return html.page(explainer.features, explainer.digits, self.before, self.frame, self.reason)
