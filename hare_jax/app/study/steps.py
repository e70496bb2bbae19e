"""The order of a study's pages, and where a person is."""

from hare_jax.app.study.design import AFTER, BEFORE, Study
from hare_jax.app.study.store import QUESTIONS, RATING, ROW, Record

DONE, WITHDRAWN = "done", "withdrawn"


def order(study: Study) -> list[str]:
    """The steps of a study after the consent."""
    parts = [(BEFORE, study.before), (ROW, True), (QUESTIONS, True), (RATING, study.rating), (AFTER, study.after)]
    return [name for name, given in parts if given]


def step_of(study: Study, record: Record) -> str:
    """The first step that a person has not done."""
    if record.withdrawn:
        return WITHDRAWN
    return next((name for name in order(study) if name not in record.steps), DONE)
