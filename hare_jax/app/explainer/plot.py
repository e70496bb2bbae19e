"""One row as a picture: what changes, and how the score rises as the changes are applied one after another."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from hare_jax.app.explainer.changes import differs
from hare_jax.app.explainer.judging import judge
from hare_jax.app.explainer.wording import text
from hare_jax.base import require
from hare_jax.data import missing
from hare_jax.data.schema import Feature

if TYPE_CHECKING:
    from hare_jax.app.explainer.explanation import Explanation

_WIDTH, _LEAST_HEIGHT, _HEIGHT = 10.0, 2.4, 0.6  # inches: of the figure, and of each change
_OFFSETS = 12, -12  # points, of the values before and after: above and below the line
_BEFORE, _AFTER = "0.55", "tab:blue"


class Way(NamedTuple):
    """The changes of one row in the order in which they are applied."""

    features: list[Feature]
    scores: list[float]  # the logit before, and after each change


def figure(explanation: "Explanation", position: int) -> Any:
    """The figure of the row at a `position`.

    Raises:
        ValueError: the row has no recourse that changes it.
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'hare-jax[plot]'") from error
    reason = explanation.reason.iloc[position]
    require(bool(explanation.found[position]), "row", "must have a recourse that changes it", reason)
    before, after = (frame.iloc[[position]] for frame in (explanation.before, explanation.frame))
    way = applied(explanation, before, after)
    size = _WIDTH, _LEAST_HEIGHT + _HEIGHT * len(way.features)
    drawn, (left, right) = pyplot.subplots(1, 2, figsize=size, sharey=True, layout="constrained")
    pyplot.close(drawn)  # a notebook shows what is returned, once
    _draw_values(left, explanation, way, before, after)
    _draw_scores(right, way)
    drawn.suptitle(f"{explanation.frame.index[position]}: {reason}")
    return drawn


def applied(explanation: "Explanation", before: pd.DataFrame, after: pd.DataFrame) -> Way:
    """The changes of one row, each time the one that raises the logit most."""
    explainer = explanation.explainer
    changed = [name for name in explainer.features if differs(before[name], after[name]).any()]
    now, order, scores = before, [], [float(judge(explainer.logit_fn, explainer.table, before)[0])]
    while changed:
        tries = pd.concat([now.assign(**{name: after[name]}) for name in changed])
        logits = judge(explainer.logit_fn, explainer.table, tries)
        best = int(np.argmax(logits))
        now, scores = tries.iloc[[best]], [*scores, float(logits[best])]
        order.append(explainer.features[changed.pop(best)])
    return Way(order, scores)


def _draw_values(axes: Any, explanation: "Explanation", way: Way, before: pd.DataFrame, after: pd.DataFrame) -> None:
    """Each changed feature: before and after, as a share of its range."""
    digits = explanation.explainer.digits
    for height, feature in enumerate(way.features):
        pair = before[feature.name].iloc[0], after[feature.name].iloc[0]
        start, end = (_share(feature, value) for value in pair)
        axes.annotate("", (end, height), (start, height), arrowprops={"arrowstyle": "->", "color": _AFTER})
        axes.plot([start], [height], "o", color=_BEFORE)
        axes.plot([end], [height], "o", color=_AFTER)
        for at, value, offset in zip((start, end), pair, _OFFSETS, strict=True):
            label = text(feature, digits, value)
            axes.annotate(label, (at, height), (0, offset), textcoords="offset points", ha="center", va="center")
    axes.set_yticks(range(len(way.features)), [_label(feature) for feature in way.features])
    axes.set(xlabel="share of the range", xlim=(-0.1, 1.1), ylim=(len(way.features) - 0.5, -0.6))


def _draw_scores(axes: Any, way: Way) -> None:
    """The logit after each change, on the height of the change, from the one before it."""
    for height, (start, end) in enumerate(zip(way.scores, way.scores[1:], strict=False)):
        axes.barh(height, end - start, left=start, height=0.4, color=_AFTER)
        axes.annotate(f"{end:+.2f}", (end, height), (4, 0), textcoords="offset points", va="center")
    axes.axvline(0, color="black", linewidth=1)
    axes.set(xlabel="score (logit); accepted from 0")
    axes.margins(x=0.2)


def _label(feature: Feature) -> str:
    return f"{feature.label}, {feature.unit}" if feature.unit else feature.label


def _share(feature: Feature, value: Any) -> float:
    """A value as a share of the range of its feature, in [0, 1]: of a category, its number."""
    if feature.type == "categorical":
        value = missing.LEVEL if pd.isna(value) else value
        return feature.categories.index(value) / (len(feature.categories) - 1)
    value = feature.fill if pd.isna(value) else value
    low, high = min(feature.low, feature.range[0]), max(feature.high, feature.range[1])
    return float(np.clip((value - low) / (high - low), 0, 1))
