"""What the pages of a study show, of what is stored and of the session."""

from typing import Any, NamedTuple

from markupsafe import Markup

from hare_jax.app.explainer import Explainer
from hare_jax.app.session import Best, Option
from hare_jax.app.study import plain
from hare_jax.app.study.design import Rating
from hare_jax.app.study.store import Outcome
from hare_jax.app.web.pages import summed_up

_NAMES = "Way 1", "Way 2"
_NOTHING = "Nothing changes."


class Way(NamedTuple):
    """A recourse on a page."""

    name: str
    sentences: tuple[str, ...]
    picture: Markup
    lines: tuple[Any, ...]  # its changes


def way(explainer: Explainer, found: dict[str, Any], name: str = "") -> Way:
    """The plain values of an option as a page shows it."""
    option: Option = plain.to_option(found)
    best = Best(option, valid=True, sure=None, region=(), stop=False, reason="", num_answers=0)
    shown = summed_up(explainer, best)
    return Way(name, shown.sentences or (_NOTHING,), shown.picture, shown.lines)


def both(explainer: Explainer, outcome: Outcome) -> tuple[Way, ...]:
    """The recommendation and the base, in the order in which they are rated."""
    found = (outcome.base, outcome.recommendation) if outcome.base_first else (outcome.recommendation, outcome.base)
    return tuple(way(explainer, option, name) for option, name in zip(found, _NAMES, strict=True))


def labels(rating: Rating) -> list[str]:
    """The labels of the ends of the scale of a rating."""
    first, second = _NAMES
    return [label.replace("{first}", first).replace("{second}", second) for label in rating.labels]
