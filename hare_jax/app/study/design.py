"""The design of a study: what its TOML file says, checked. `reading` reads it, and `example.toml` explains each key."""

from typing import Any, NamedTuple

from hare_jax.app.tables import TableOptions

ENTERED, ASSIGNED = "entered", "assigned"  # where the row of a person comes from
SCALE, CHOICE, NUMBER, TEXT = "scale", "choice", "number", "text"  # types of items
BEFORE, AFTER = "before", "after"  # the two questionnaires


class Arm(NamedTuple):
    """A condition of the study."""

    name: str
    elicitor: str
    base: str | None  # method of the first recourse; None is the explainer's default
    questions: int
    hyperparameters: dict[str, Any]


class Item(NamedTuple):
    """An item of a questionnaire."""

    name: str
    text: str
    type: str
    required: bool
    points: int = 0  # of a scale
    labels: tuple[str, ...] = ()  # of a scale: none, of its ends, or of each point
    choices: tuple[str, ...] = ()
    range: tuple[float, float] | None = None  # of a number
    whole: bool = False  # the number is a whole one
    longest: int = 0  # characters of a text


class Texts(NamedTuple):
    """Texts of the pages; an empty line separates paragraphs."""

    intro: str
    row: str
    thanks: str


class Consent(NamedTuple):
    """What a person agrees to before anything is stored."""

    text: str
    statement: str


class Rating(NamedTuple):
    """The comparison of the recommendation with the base recourse, on a scale of an odd number of points."""

    text: str
    points: int
    labels: tuple[str, str]  # of its ends; {first} and {second} stand for the names of the two


class Study(NamedTuple):
    """A whole study."""

    title: str
    seed: int
    block: int  # people of each arm in a block
    row: str  # ENTERED or ASSIGNED
    repeat: int  # the question that is asked again after the last one; 0 is none
    stop: bool  # a person may end the questions early
    data: TableOptions
    texts: Texts
    consent: Consent
    arms: tuple[Arm, ...]
    before: tuple[Item, ...]
    after: tuple[Item, ...]
    rating: Rating | None

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def items(self, part: str) -> tuple[Item, ...]:
        """The items of a questionnaire, BEFORE or AFTER."""
        return self.before if part == BEFORE else self.after
