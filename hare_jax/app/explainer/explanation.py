"""`Explanation`: what an explainer returns for the rows of a DataFrame."""

import dataclasses
from typing import Any

import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The recourses of n rows; everything is on the index of the rows given."""

    frame: pd.DataFrame  # the rows after the recourse, with all columns given; a row without one is unchanged
    valid: pd.Series  # bool: the model accepts the row of `frame`
    cost: pd.Series  # L1 in encoded units; 0 of an accepted row, NaN where there is no recourse
    reason: pd.Series  # text: "found", "found by growing_spheres", "already accepted", "no recourse: ..."
    score: pd.DataFrame  # columns "before", "after": logits of the model, at least 0 means accepted
    before: pd.DataFrame  # the rows given
    explainer: Any

    def __repr__(self) -> str:
        counts = self.reason.str.replace(r":.*", "", regex=True).value_counts()
        return f"Explanation({len(self.frame)} rows: {', '.join(f'{num:,} {text}' for text, num in counts.items())})"
