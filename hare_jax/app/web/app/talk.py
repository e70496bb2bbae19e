"""One session as a web page needs it: what it shows is computed once, and forms become what is told. It blocks."""

from collections.abc import Callable, Mapping

from hare_jax.app.session import CANNOT_TELL, Session
from hare_jax.app.session.parsing import number
from hare_jax.app.session.telling import takes
from hare_jax.app.web import pages
from hare_jax.app.web.pages import Field, FormError
from hare_jax.app.web.pages.views import Compared, Recommended, Response

_CHOICES = ("A", "B", CANNOT_TELL)
_FEW = 5  # answers
_BESIDES, _MOST_BESIDES = ("veto", "range", "importance", "rate", "try"), 100  # that are kept, besides answers
_POINTS = tuple(map(str, range(1, 8)))  # of a rating
_BEST = "best"  # the recommendation, as what is rated
_NOT_TAKEN = "This could not be taken. Nothing was changed."

Progress = Callable[[float, str], None]


class Talk:
    """A `Session`, with what is shown of it; one call at a time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.response: Response | None = None  # to the last proposal
        self.tried: dict[str, str] = {}  # the form of the last proposal
        self.counted = False  # the last proposal was an answer, too
        self._asked: tuple[Compared | None] | None = None
        self._best: Recommended | None = None

    def prepare(self, progress: Progress | None = None) -> None:
        """Prepare the session, and its first question."""
        self.session.prepare(progress)
        self.question()

    def question(self) -> Compared | None:
        """The question, if one is left."""
        if self._asked is None:
            session = self.session
            asked = session.question()
            self._asked = (None if asked is None else pages.compared(session.explainer, asked, session.row),)
        return self._asked[0]

    def best(self) -> Recommended:
        """The recommendation."""
        if self._best is None:
            self._best = pages.summed_up(self.session.explainer, self.session.best())
        return self._best

    def can_stop(self) -> bool:
        """Whether to suggest an end before the last question."""
        return self.session.num_answers >= _FEW and self.best().stop

    def told(self) -> tuple[str, ...]:
        """What was told besides answers, in words."""
        return pages.told(self.session.explainer, self.session.events)

    @property
    def takes(self) -> tuple[str, ...]:
        """What can be told."""
        return takes(self.session.elicitor)

    def fields(self) -> tuple[Field, ...]:
        """The fields of the person's row."""
        return pages.fields_of(self.session.explainer, self.session.row)

    def movable(self) -> tuple[Field, ...]:
        """The fields that may change, and have not been ruled out."""
        ruled_out = {
            name for event in self.session.events if event.kind == "veto" for name in event.details["features"]
        }
        return tuple(one for one in self.fields() if one.mutable and one.feature not in ruled_out)

    def act(self, action: str, form: Mapping[str, str]) -> str:
        """Tell what a form says, and return the page to show next, as a path after that of the session.

        Raises:
            FormError: the form has a value that can't be taken; nothing was changed.
        """
        if action in _BESIDES and len(self.session.events) - self.session.num_answers >= _MOST_BESIDES:
            raise FormError({"": "This is more than can be kept. Take back a step first."})
        self.response, self.counted, self.tried = None, False, {}
        try:
            following = ACTIONS[action](self, form)
        except ValueError:
            raise FormError({"": _NOT_TAKEN}) from None
        finally:
            self._asked = self._best = None
        return following


def _answer(talk: Talk, form: Mapping[str, str]) -> str:
    choice = form.get("choice", "")
    if choice not in _CHOICES or talk.question() is None:
        raise FormError({"": "Choose one of the options."})
    talk.session.answer(choice)
    return ""


def _feature(talk: Talk, form: Mapping[str, str], key: str = "feature") -> Field:
    """The field that a form names under a key."""
    for one in talk.movable():
        if one.name == form.get(key):
            return one
    raise FormError({"": "Choose one from the list."})


def _veto(talk: Talk, form: Mapping[str, str]) -> str:
    talk.session.veto(_feature(talk, form).feature)
    return ""


def _range(talk: Talk, form: Mapping[str, str]) -> str:
    one = _feature(talk, form)
    lower, upper = (_limit(form.get(name, "")) for name in ("lower", "upper"))
    if not one.numeric or (lower is None and upper is None):
        raise FormError({"": "Enter at least one limit for a number."})
    if lower is not None and upper is not None and lower > upper:
        raise FormError({"": "The lower limit must not be above the upper one."})
    outside = (lower is not None and lower > float(one.high)) or (upper is not None and upper < float(one.low))
    if outside:
        raise FormError({"": f"The limits of {one.label} must meet {one.hint}."})
    talk.session.range(one.feature, lower, upper)
    return ""


def _limit(text: str) -> float | None:
    try:
        return number(text) if text.strip() else None
    except ValueError:
        raise FormError({"": "A limit must be a number."}) from None


def _importance(talk: Talk, form: Mapping[str, str]) -> str:
    one, over = _feature(talk, form), _feature(talk, form, "over")
    if one == over:
        raise FormError({"": "Choose two different ones."})
    talk.session.importance(one.feature, over.feature)
    return ""


def _rate(talk: Talk, form: Mapping[str, str]) -> str:
    option, points = form.get("option", ""), form.get("points", "")
    options = (_BEST,) if talk.question() is None else ("A", "B", _BEST)
    if option not in options or points not in _POINTS:
        raise FormError({"": "Choose what you rate, and a number of points."})
    talk.session.rate(float(points), None if option == _BEST else option)
    return ""


def _try(talk: Talk, form: Mapping[str, str]) -> str:
    session = talk.session
    changes, before = pages.changes_in(session.explainer, session.row, form), len(session.events)
    found = session.explore(changes)
    talk.tried = dict(form)
    talk.response = pages.responded(session.explainer, found)
    talk.counted = len(session.events) > before
    return "/try"


def _undo(talk: Talk, form: Mapping[str, str]) -> str:
    if not talk.session.undo():
        raise FormError({"": "There is nothing to take back."})
    return ""


def _accept(talk: Talk, form: Mapping[str, str]) -> str:
    talk.session.accept()
    return "/best"


ACTIONS: dict[str, Callable[[Talk, Mapping[str, str]], str]] = {
    "answer": _answer,
    "veto": _veto,
    "range": _range,
    "importance": _importance,
    "rate": _rate,
    "try": _try,
    "undo": _undo,
    "accept": _accept,
}
