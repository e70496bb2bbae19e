"""Losses by sex and race, for the data sets whose rows have these features."""

from typing import Any

import numpy as np
from jax import Array

from benchmarks.experiments.cells import rounded
from hare_jax import data

FEATURES = ("sex", "race")
PREFIX = "loss in "
Groups = dict[str, np.ndarray]  # by feature and category: (n,) bool


def of_rows(table: data.Table, x: Array) -> Groups:
    """Which of the rows `x` (n, d) belong to each category of each of the features."""
    known = [feature for feature in table.features if feature.name in FEATURES]
    decoded = table.decode(x) if known else None
    return {
        f"{PREFIX}{feature.name}={category}": np.asarray(decoded[feature.name] == category)  # type: ignore[index]
        for feature in known
        for category in feature.categories
    }


def means(groups: Groups, loss: Array, counted: Array) -> dict[str, Any]:
    """Mean, s.d. and number of users of the `loss` (n,) in each group, of the users `counted` (n,)."""
    row: dict[str, Any] = {}
    for name, members in groups.items():
        values = np.asarray(loss)[members & np.asarray(counted)]
        if len(values):
            sd = rounded(np.std(values, ddof=1)) if len(values) > 1 else None
            row |= {name: rounded(np.mean(values)), f"{name}_sd": sd, f"{name}_n": len(values)}
    return row
