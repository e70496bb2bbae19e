"""A session in a notebook: `ask(session)` is a widget; one idea a file."""

from typing import TYPE_CHECKING

from hare_jax.app.session import Session
from hare_jax.base import require

if TYPE_CHECKING:
    from hare_jax.app.notebook.widget import Asking


def ask(session: Session) -> "Asking":
    """A widget of ipywidgets that asks, in place: buttons for the options, to undo, to rule out, to try, to accept.

    It prepares the session, with a bar. The answers are in `session` at once: `session.best()`, `session.save(path)`.

    Raises:
        ValueError: `session` is none.
        ImportError: ipywidgets is not installed.
    """
    require(isinstance(session, Session), "session", "must be a Session", type(session).__name__)
    try:
        from hare_jax.app.notebook import widget
    except ImportError as error:
        raise ImportError("ask: needs the ipywidgets package: pip install 'hare-jax[notebooks]'") from error
    return widget.Asking(session)
