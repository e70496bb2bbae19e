"""A picture of changes in SVG: a number moves on its scale, a category becomes another. All text is escaped.

It has no style of its own: the classes are those of the style sheet.
"""

import textwrap
from collections.abc import Sequence

from markupsafe import Markup

from hare_jax.app.explainer import Explainer, wording
from hare_jax.app.session import Change
from hare_jax.data.schema import Feature

_WIDTH = 320
_LINE = 20  # height of a line of text
_NUM_CHARACTERS = 36  # of a line
_MOST_LINES = 4
_GAP = 16  # between features
_EDGE = 10  # beside a scale
_RADIUS = 6
_TIP = 8  # of an arrow
_SVG = Markup(
    '<svg class="picture" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" '
    'xmlns="http://www.w3.org/2000/svg">{parts}</svg>'
)
_TEXT = Markup('<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>')
_SCALE = Markup('<line class="scale" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}"/>')
_MOVE = Markup('<line class="move" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}"/>')
_NOW = Markup('<circle class="now" cx="{x}" cy="{y}" r="{r}"/>')
_THEN = Markup('<path class="then" d="M{x} {y}l{back} -{half}v{tip}z"/>')


def picture(explainer: Explainer, changes: Sequence[Change]) -> Markup:
    """The picture of some changes; empty if there are none."""
    parts: list[Markup] = []
    y = 0
    for change in changes:
        drawn, y = _drawn(explainer, change, y)
        parts += drawn
        y += _GAP
    if not parts:
        return Markup("")
    label = "; ".join(change.text for change in changes)
    return _SVG.format(width=_WIDTH, height=y, label=label, parts=Markup("").join(parts))


def _drawn(explainer: Explainer, change: Change, y: int) -> tuple[list[Markup], int]:
    """The parts of one change from the height `y`, and the height below them."""
    feature = explainer.features[change.feature]
    before, after = (wording.text(feature, explainer.digits, value) for value in (change.before, change.after))
    unit = f" {change.unit}" if change.unit else ""
    parts, y = _lines("label", change.label, y)
    more, y = _lines("value", f"{before} → {after}{unit}", y)
    parts += more
    numbers = feature.type != "categorical" and change.before == change.before  # not missing
    if numbers:
        moved, y = _moved(explainer, feature, float(change.before), float(change.after), y)
        parts += moved
    return parts, y


def _lines(kind: str, text: str, y: int) -> tuple[list[Markup], int]:
    """A text in as many lines as it needs."""
    lines = textwrap.wrap(text, _NUM_CHARACTERS, max_lines=_MOST_LINES, placeholder=" …") or [""]
    parts = [
        _TEXT.format(kind=kind, x=0, y=y + (index + 1) * _LINE - _LINE // 4, anchor="start", text=line)
        for index, line in enumerate(lines)
    ]
    return parts, y + len(lines) * _LINE


def _moved(explainer: Explainer, feature: Feature, before: float, after: float, y: int) -> tuple[list[Markup], int]:
    """A scale with the way from one number to another."""
    low, high = min(feature.range[0], before, after), max(feature.range[1], before, after)
    span = high - low or 1.0
    start, end = (round(_EDGE + (_WIDTH - 2 * _EDGE) * (value - low) / span, 1) for value in (before, after))
    middle = y + _LINE // 2
    back = -_TIP if end >= start else _TIP
    parts = [
        _SCALE.format(x1=_EDGE, x2=_WIDTH - _EDGE, y=middle),
        _MOVE.format(x1=start, x2=end, y=middle),
        _NOW.format(x=start, y=middle, r=_RADIUS),
        _THEN.format(x=end, y=middle, back=back, half=_TIP, tip=2 * _TIP),
    ]
    ends = (low, "start", 0), (high, "end", _WIDTH)
    below = y + 2 * _LINE - _LINE // 4
    parts += [
        _TEXT.format(kind="end", x=x, y=below, anchor=anchor, text=wording.text(feature, explainer.digits, value))
        for value, anchor, x in ends
    ]
    return parts, y + 2 * _LINE
