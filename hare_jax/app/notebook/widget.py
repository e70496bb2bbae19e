"""The widget: its buttons tell the session, and its page is replaced."""

from collections.abc import Callable
from typing import Any

import ipywidgets
from IPython import get_ipython
from IPython.display import display

from hare_jax.app import options
from hare_jax.app.notebook import pages
from hare_jax.app.session import CANNOT_TELL, Session
from hare_jax.app.session.parsing import number
from hare_jax.app.session.telling import takes
from hare_jax.data.schema import Feature

_WIDE = {"width": "auto"}


class Asking(ipywidgets.VBox):
    """A session as a widget.

    `buttons` are those of A, B, "can't tell", "undo", "accept", "veto" and "what if", which code may click, too;
    `vetoed` and `tried` choose a feature, `value` is its proposed value, and `page` and `message` show texts.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        prepare(session)
        self.page, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        mutable = [feature for feature in session.explainer.features.values() if feature.mutable]
        names = [(feature.label, feature.name) for feature in mutable]
        self.vetoed = ipywidgets.Dropdown(options=names, description="Rule out")
        self.tried = ipywidgets.Dropdown(options=names, description="What if")
        self.value = ipywidgets.Text(placeholder="new value", description="becomes")
        self.buttons: dict[str, ipywidgets.Button] = {
            "A": self._button("A is better", lambda: session.answer("A")),
            "B": self._button("B is better", lambda: session.answer("B")),
            CANNOT_TELL: self._button("Can't tell", lambda: session.answer(CANNOT_TELL)),
            "undo": self._button("Undo", self._undo),
            "accept": self._button("Take the best so far", session.accept),
            "veto": self._button("Must stay as it is", lambda: session.veto(self.vetoed.value)),
            "what if": self._button("Try", self._explore),
        }
        *answers, veto, explore = self.buttons.values()
        self._vetoes = ipywidgets.HBox([self.vetoed, veto])
        self._proposals = ipywidgets.HBox([self.tried, self.value, explore])
        super().__init__([self.page, ipywidgets.HBox(answers), self._vetoes, self._proposals, self.message])
        self._update()

    def _button(self, text: str, action: Callable[[], Any]) -> ipywidgets.Button:
        button = ipywidgets.Button(description=text, layout=_WIDE)
        button.on_click(lambda _: self._perform(action))
        return button

    def _perform(self, action: Callable[[], Any]) -> None:
        """Do what a button says, and show what is next; what is wrong is told, and changes nothing."""
        self._enable([])
        self.message.value = ""
        try:
            action()
        except ValueError as error:
            self.message.value = pages.lines([options.one_line(error)])
        finally:  # an error leaves no button disabled
            self._update()

    def _undo(self) -> None:
        if not self.session.undo():
            self.message.value = pages.lines(["There is nothing to undo."])

    def _explore(self) -> None:
        session, name = self.session, self.tried.value
        before = len(session.events)
        found = session.explore({name: _entered(session.explainer.features[name], self.value.value)})
        self.message.value = pages.exploration(found, counted=len(session.events) > before)

    def _update(self) -> None:
        """Show the question, or the recommendation in the end, and enable the buttons that do something."""
        session = self.session
        given = session.explainer, session.row
        asked = session.question()
        if session.ended:
            self.page.value = pages.final(*given, session.best())
            self._enable(["undo"])
            return
        shown = "" if asked is None else pages.question(*given, asked)
        self.page.value = shown + (pages.so_far(session.best()) if session.events or asked is None else "")
        vetoes = ["veto"] if "vetoes" in takes(session.elicitor) else []
        self._enable(["undo", "accept", "what if", *vetoes, *([] if asked is None else ["A", "B", CANNOT_TELL])])

    def _enable(self, names: list[str]) -> None:
        for name, button in self.buttons.items():
            button.disabled = name not in names


def _entered(feature: Feature, text: str) -> Any:
    """A value of a feature, of what was entered."""
    return text.strip() if feature.type == "categorical" else number(text)


def prepare(session: Session) -> None:
    """Prepare a session, with a bar in a notebook; nothing is shown of one that is prepared."""
    bars: list[ipywidgets.FloatProgress] = []

    def progress(share: float, stage: str) -> None:
        if not bars:
            bars.append(ipywidgets.FloatProgress(max=1.0))
            if get_ipython() is not None:
                display(bars[0])
        bars[0].value, bars[0].description = share, stage

    session.prepare(progress, wait=False)
    for bar in bars:
        bar.close()
