"""Arms of the experiment `questions`: each elicitor with pairs, and some with other kinds of questions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hare_jax import elicit
from hare_jax.base import choose
from hare_jax.elicit import ELICITORS

OBSERVER = "observer"  # of the module of this name
_TABLE10 = ("single",)  # not run by default: table 10 covers it, with all candidates in one round
_BY_DEFAULT = ("multi_answered", OBSERVER)  # of the arms that are not elicitors
_LONGER = 4  # of the proposals of HARE, one to two thirds of which are refused


class Arm(NamedTuple):
    """An elicitor and the kind of its questions. All fields are static."""

    elicitor: str  # a row of `ELICITORS`; empty for the observer
    label: str  # in tables and plots
    form: str = "pair"  # "pair", "set" or "rating"
    size: int = 2  # options in a question
    longer: int = 1  # factor of the number of proposals; above 1, questions that are not asked are not counted
    comparisons: int = 1  # that an answer stands for, at most


_OTHERS = {
    "multi_answered": Arm("multi", "many rounds, answered", longer=_LONGER),
    "bayes_set3": Arm("bayes", "Bayes, sets of 3", "set", size=3, comparisons=2),
    "bayes_set4": Arm("bayes", "Bayes, sets of 4", "set", size=4, comparisons=3),
    "bayes_rating": Arm("bayes", "Bayes, ratings", "rating", comparisons=2),
    OBSERVER: Arm("", "ideal observer"),
}


def table() -> dict[str, Arm]:
    """All arms by name: the rows of `ELICITORS`, and the others."""
    return {**{name: Arm(name, entry.label) for name, entry in ELICITORS.items()}, **_OTHERS}


def default() -> tuple[str, ...]:
    """The arms that are run by default."""
    return (*(name for name in ELICITORS if name not in _TABLE10), *_BY_DEFAULT)


def check(names: Sequence[str]) -> None:
    """Raise a `ValueError` if one of the `names` is no arm."""
    for name in names:
        choose("arms", name, table())


def bind(arm: Arm, budget: int, per_round: int) -> elicit.Elicitor:
    """The elicitor of an arm, for a `budget` of questions."""
    held = {"max_questions": budget * arm.comparisons} if arm.comparisons > 1 else {}
    options: dict[str, Any] = {"budget": budget, "per_round": per_round, **held}
    elicitor = elicit.bind(arm.elicitor, **options)
    return replace(elicitor, num_proposals=elicitor.num_proposals * arm.longer)
