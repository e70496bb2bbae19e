"""What a person reads in a session, as plain texts and tables of text."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from hare_jax.app.explainer import Explainer, wording
from hare_jax.app.session.views import Asked, Best, Exploration, Option
from hare_jax.data.schema import Feature

SAME = "·"  # an option does not change this
SAME_EXPLAINED = f"{SAME} stays as it is"
NOTHING_LEFT = (
    "With what you ruled out, no change was found with which you would be accepted. "
    "Take back a step, or try an idea of your own."
)
_PERCENT = 100


class Grid(NamedTuple):
    """A table: the first column holds features, the others values."""

    headings: tuple[str, ...]
    sections: list[list[list[str]]]  # rows of cells


def label(feature: Feature) -> str:
    """A feature with its unit."""
    return f"{feature.label}, {feature.unit}" if feature.unit else feature.label


def value(explainer: Explainer, name: str, shown: Any) -> str:
    """A value of a feature, without its unit."""
    return wording.text(explainer.features[name], explainer.digits, shown)


def domain(explainer: Explainer, feature: Feature) -> str:
    """A feature with its categories, or with its range where it has one."""
    if feature.categories:
        return f"{feature.label}: {' / '.join(map(str, feature.categories))}"
    low, high = (value(explainer, feature.name, end) for end in feature.range)
    return f"{feature.label}: {low} to {high}{f' {feature.unit}' if feature.unit else ''}"


def applicant(explainer: Explainer, row: pd.Series) -> Grid:
    """The person's row."""
    rows = [[label(feature), value(explainer, name, row[name])] for name, feature in explainer.features.items()]
    return Grid(("", "now"), [rows])


def title(asked: Asked) -> str:
    """The question."""
    return f"Question {asked.number} of at most {asked.of}: which would you rather do?"


def options(explainer: Explainer, row: pd.Series, asked: Asked) -> Grid:
    """The options side by side: first what differs, then what both change alike."""
    different = [one.feature for one in asked.differences]
    changed = dict.fromkeys(change.feature for option in asked.options for change in option.changes)
    alike = [name for name in changed if name not in different]
    sections = [[_cells(explainer, row, name, asked.options) for name in names] for names in (different, alike)]
    return Grid(("", "now", *(option.label for option in asked.options)), [rows for rows in sections if rows])


def before_after(explainer: Explainer, row: pd.Series, option: Option) -> Grid:
    """What an option changes."""
    rows = [_cells(explainer, row, change.feature, (option,)) for change in option.changes]
    return Grid(("", "before", "after"), [rows])


def _cells(explainer: Explainer, row: pd.Series, name: str, shown: Iterable[Option]) -> list[str]:
    """The feature, its present value, and that of each option that changes it."""
    cells = [label(explainer.features[name]), value(explainer, name, row[name])]
    for option in shown:
        change = next((one for one in option.changes if one.feature == name), None)
        cells.append(SAME if change is None else value(explainer, name, change.after))
    return cells


def percent(share: float) -> int:
    """A probability in percent, from 1 to 99: nothing is certain.

    >>> percent(0.999), percent(0.0)
    (99, 1)
    """
    return min(max(round(share * _PERCENT), 1), _PERCENT - 1)


def as_sentences(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts that begin with a capital letter and end with a full stop."""
    return tuple(f"{text[:1].upper()}{text[1:]}." for text in texts)


def so_far(best: Best) -> str:
    """The present recommendation in one line, and advice to stop in another."""
    if not best.valid:
        return NOTHING_LEFT
    sure = "" if best.sure is None else f" ({percent(best.sure)}% sure that nothing you have seen suits you better)"
    advice = f"\nYou can stop here: {best.reason}." if best.stop else ""
    return f"Best for you so far{sure}: {best.option.sentence}{advice}"


def sentences(option: Option) -> tuple[str, ...]:
    """Each change as a sentence."""
    return as_sentences([change.text for change in option.changes] or [option.sentence])


def certainty(best: Best) -> list[str]:
    """How sure it is, and where what would suit the person best lies."""
    count = f"after {best.num_answers} answer{'' if best.num_answers == 1 else 's'}"
    texts: list[str] = []
    if best.sure is None:
        texts.append(f"This is {count}.")
    else:
        texts.append(
            f"How sure {count}: with {percent(best.sure)}% probability you prefer nothing else that was shown."
        )
    if best.region:
        texts.append(f"What suits you best lies here, with 90% probability: {'; '.join(best.region)}.")
    return texts


def exploration(found: Exploration, *, counted: bool) -> list[str]:
    """The answer to a proposal."""
    chance = "" if found.probability is None else f" (probability of acceptance {percent(found.probability)}%)"
    lines = [f"With this change you would be {'accepted' if found.accepted else 'refused'}{chance}."]
    if found.problems:
        lines.append(f"{'But it' if found.accepted else 'It'} is not possible: {'; '.join(found.problems)}.")
    if not found.accepted or found.problems:
        none = "None that would be accepted was found near it."
        lines.append(
            none if found.nearest is None else f"The nearest that would be accepted: {found.nearest.sentence}."
        )
    if counted:
        lines.append("This counts as an answer.")
    return lines
