"""What a session shows, as pages need it: texts in plain words, and pictures."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from hare_jax.app.explainer import Explainer
from hare_jax.app.session import Asked, Best, Event, Exploration, Option
from hare_jax.app.session.texts import as_sentences, percent, sentences, value
from hare_jax.app.web.pages.picture import picture


class Line(NamedTuple):
    """One feature of an option, or of a row before and after."""

    label: str
    before: str
    after: str
    unit: str
    changed: bool


class Card(NamedTuple):
    """An option: the features in which the options differ."""

    label: str
    lines: tuple[Line, ...]


class Compared(NamedTuple):
    """A question."""

    number: int
    of: int
    cards: tuple[Card, ...]
    same: tuple[str, ...]  # changes that are the same in all options


class Recommended(NamedTuple):
    """A recommendation."""

    valid: bool
    sentences: tuple[str, ...]
    lines: tuple[Line, ...]  # its changes
    picture: Markup
    sure: str  # "" if that is not known
    region: tuple[str, ...]
    stop: bool
    num_answers: int


class Response(NamedTuple):
    """The answer to a proposal."""

    accepted: bool
    usable: bool
    verdict: str
    chance: str
    problems: tuple[str, ...]
    sentences: tuple[str, ...]  # of the nearest recourse
    picture: Markup


def compared(explainer: Explainer, asked: Asked, row: Mapping[str, Any]) -> Compared:
    """A question about the options for a `row`."""
    different = {one.feature for one in asked.differences}
    cards = tuple(_card(explainer, option, index, asked, row) for index, option in enumerate(asked.options))
    same = tuple(change.text for change in asked.options[0].changes if change.feature not in different)
    return Compared(asked.number, asked.of, cards, as_sentences(same))


def _card(explainer: Explainer, option: Option, index: int, asked: Asked, row: Mapping[str, Any]) -> Card:
    changed = {change.feature for change in option.changes}
    lines = []
    for one in asked.differences:
        before, after = (value(explainer, one.feature, shown) for shown in (row[one.feature], one.values[index]))
        lines.append(Line(one.label, before, after, one.unit, one.feature in changed))
    return Card(option.label, tuple(lines))


def summed_up(explainer: Explainer, best: Best) -> Recommended:
    """A recommendation in words and as a picture."""
    changes = best.option.changes
    lines = tuple(
        Line(
            one.label,
            value(explainer, one.feature, one.before),
            value(explainer, one.feature, one.after),
            one.unit,
            True,
        )
        for one in changes
    )
    sure = "" if best.sure is None else _in_hundred(best.sure)
    shown = picture(explainer, changes)
    return Recommended(best.valid, sentences(best.option), lines, shown, sure, best.region, best.stop, best.num_answers)


def responded(explainer: Explainer, found: Exploration) -> Response:
    """The answer to a proposal, in words."""
    usable = found.accepted and found.allowed
    verdict = "This would be accepted." if found.accepted else "This would be refused."
    near = None if usable else found.nearest
    return Response(
        accepted=found.accepted,
        usable=usable,
        verdict=verdict,
        chance="" if found.probability is None else _in_hundred(found.probability),
        problems=as_sentences(found.problems),
        sentences=() if near is None else sentences(near),
        picture=picture(explainer, () if near is None else near.changes),
    )


def _in_hundred(share: float) -> str:
    return f"{percent(share)} in 100"


def told(explainer: Explainer, events: tuple[Event, ...]) -> tuple[str, ...]:
    """What was told besides answers, in words."""
    texts = (_TOLD[event.kind](explainer, event.details) for event in events if event.kind in _TOLD)
    return as_sentences(tuple(texts))


def _veto(explainer: Explainer, details: Mapping[str, Any]) -> str:
    return f"{' and '.join(explainer.features[name].label for name in details['features'])} must stay"


def _range(explainer: Explainer, details: Mapping[str, Any]) -> str:
    feature = explainer.features[details["feature"]]
    ends = [
        f"{word} {value(explainer, feature.name, details[key])}{f' {feature.unit}' if feature.unit else ''}"
        for key, word in (("lower", "at least"), ("upper", "at most"))
        if details[key] is not None
    ]
    return f"{feature.label} {' and '.join(ends)}"


def _idea(explainer: Explainer, details: Mapping[str, Any]) -> str:
    parts = (
        f"{explainer.features[name].label} {value(explainer, name, shown)}"
        for name, shown in details["changes"].items()
    )
    return f"an idea of your own: {', '.join(parts)}"


def _importance(explainer: Explainer, details: Mapping[str, Any]) -> str:
    harder, over = (explainer.features[details[key]].label for key in ("feature", "over"))
    return f"{harder} is harder to change than {over}"


def _rating(explainer: Explainer, details: Mapping[str, Any]) -> str:
    rated = "the recommendation" if details["option"] is None else f"an option {details['option']}"
    return f"{rated} has {details['value']:g} points"


_TOLD: dict[str, Callable[[Explainer, Mapping[str, Any]], str]] = {
    "veto": _veto,
    "range": _range,
    "importance": _importance,
    "rate": _rating,
    "explore": _idea,
}
