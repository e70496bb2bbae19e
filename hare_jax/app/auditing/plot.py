"""The plot of an audit: the difference of each group to the rest, with its interval, one panel for each figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hare_jax.evaluate.audit import EVERYBODY, FIGURES, Row

_INCHES_PER_GROUP, _HEIGHT, _WIDTH = 0.28, 1.2, 2.6  # of a panel
_SIGNIFICANT = 0.05


def plot(rows: Sequence[Row]) -> Any:
    """The matplotlib figure of the `rows` of `evaluate.audit.audit`.

    Each panel shows a figure of `FIGURES`: the estimate of each group with its interval, and that of all rows as a
    line. A group that differs from the rest with an adjusted p-value below 5 % is filled; the others are hollow.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise ImportError("the plot needs matplotlib: pip install 'hare-jax[plot]'") from error
    names = list(dict.fromkeys(row.figure for row in rows))
    labels = list(dict.fromkeys(row.group for row in rows if row.group != EVERYBODY))
    size = _WIDTH * (len(names) + 1), _HEIGHT + _INCHES_PER_GROUP * len(labels)
    canvas = Canvas(figsize=size, layout="constrained")
    panels = canvas.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        _draw(panel, name, [row for row in rows if row.figure == name], labels)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    return canvas


def _draw(panel: Any, name: str, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """Draw a figure into its panel."""
    scale = 100 if FIGURES[name].is_share else 1
    for row in rows:
        if row.group == EVERYBODY:
            panel.axvline(scale * row.estimate, color="0.6", linewidth=1)
            continue
        at, ends = labels.index(row.group), np.array([row.low, row.high]) * scale
        filled = row.p_value < _SIGNIFICANT
        panel.plot(ends, [at, at], color="C0", linewidth=1.5)
        panel.plot(scale * row.estimate, at, "o", color="C0", markerfacecolor="C0" if filled else "white", markersize=5)
    panel.set_title(FIGURES[name].label.replace(", ", ",\n"), fontsize=9)
    panel.set_xlabel("%" if scale > 1 else "cost", fontsize=8)
    panel.tick_params(labelsize=8)
