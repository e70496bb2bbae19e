"""What all sessions of a web page share: the model with its table, the rows to choose from, and the compilation.

All programs are compiled once, by a session of a thread in the background that nobody sees.
"""

import logging
import threading
from typing import Any

import pandas as pd

from hare_jax.app.explainer import Explainer, wording
from hare_jax.app.explainer.cells import one_row
from hare_jax.app.explainer.judging import complete, encode, judge
from hare_jax.app.session import Session, setup
from hare_jax.app.web.app.talk import Talk

SHARE_FIRST = 0.9  # of the progress: what the first question needs
_MOST_TRIED = 5  # rows
_MOST_SHOWN = 4  # features of an example
_LOG = logging.getLogger("hare_jax.web")
_STAGES = {
    "reading the model": "The model is read.",
    "searching for a first recourse": "A first way to be accepted is searched for.",
    "preparing the questions": "The questions are prepared.",
    "ready": "Ready.",
}


def stage_text(stage: str) -> str:
    """A stage of the preparation of a session, for a person."""
    return _STAGES.get(stage, stage)


class Service:
    """The model of an `explainer`; of the `rows`, the first `most` that it refuses are offered as examples.

    Raises:
        ValueError: no session could start with these arguments.
    """

    def __init__(
        self,
        explainer: Explainer,
        rows: pd.DataFrame,
        *,
        elicitor: str = "bayes",
        questions: int = 30,
        seed: int = 0,
        most: int = 20,
        about: str = "",
    ) -> None:
        setup.check(setup.Given(explainer, None, None, elicitor, seed, questions, None, {}))
        self.explainer, self.elicitor = explainer, elicitor
        self.questions, self.seed, self.about = questions, seed, about
        refused = _refused(explainer, rows)
        self.rows, self._tried = refused.iloc[:most], refused.iloc[:_MOST_TRIED]
        rows = (one_row(self.rows, index) for index in range(len(self.rows)))
        self.examples = tuple(_described(explainer, row) for row in rows)  # in words
        self.progress = (0.0, "The questions are prepared.")
        self.first = threading.Event()  # what the first question needs is compiled

    def session(self, row: Any) -> Session:
        """A session for a row.

        Raises:
            ValueError: the model accepts the row, or the table can't take it.
        """
        return Session(self.explainer, None, row, self.elicitor, seed=self.seed, questions=self.questions)

    def start(self) -> None:
        """Begin to compile, in the background."""
        threading.Thread(target=self.compile, name="warm-up", daemon=True).start()

    def compile(self) -> None:
        """Compile what sessions need."""
        try:
            for position in range(len(self._tried)):
                if self._try(self._tried.iloc[[position]]):
                    break
        except Exception as error:  # a session will meet it again, and say so
            _LOG.error("%s in the preparation", type(error).__name__, exc_info=error)
        finally:
            self.first.set()

    def _try(self, row: pd.DataFrame) -> bool:
        """Compile by a session for a row; False if there is nothing to find for it."""
        try:
            Talk(self.session(row)).prepare(self._note)
        except ValueError:
            return False
        return True

    def _note(self, share: float, stage: str) -> None:
        self.progress = (SHARE_FIRST * share, stage_text(stage))


def _refused(explainer: Explainer, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that the model refuses."""
    if not len(rows):
        return rows
    full = complete(explainer.table, rows, encode(explainer.table, rows))
    return rows[~(judge(explainer.logit_fn, explainer.table, full) >= 0)]


def _described(explainer: Explainer, row: pd.Series) -> str:
    """A row in words: the first features that can change."""
    parts: list[str] = []
    for name in explainer.table.schema["features"]:
        feature = explainer.features[name]
        if feature.mutable and feature.type != "derived" and len(parts) < _MOST_SHOWN:
            unit = f" {feature.unit}" if feature.unit else ""
            parts.append(f"{feature.label} {wording.text(feature, explainer.digits, row[name])}{unit}")
    return f"Row {row.name}: {', '.join(parts)}"
