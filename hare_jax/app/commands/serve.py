"""`hare-jax serve`: a web page on which a person answers."""

import dataclasses
from typing import Annotated

import tyro
from rich.console import Console
from rich.text import Text

from hare_jax.app import interrupts, tables
from hare_jax.app.commands.explain import explainer_of
from hare_jax.app.session.file_rules import MOST_QUESTIONS
from hare_jax.app.web import address
from hare_jax.base import choose, require
from hare_jax.elicit import ELICITORS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Serve(tables.TableOptions):
    """A web page on this computer: a person whom the model refuses answers questions, and sees what to change.

    Without FILE.csv the data set mortgage is used. Anyone who can reach the page can start a session.
    """

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE.csv|NAME")] = "mortgage"
    """CSV file with a line of column names; or a data set, as listed by `hare-jax data list`, for its test rows."""
    host: str = "127.0.0.1"
    """Address to bind to: by default only this computer can reach the page."""
    port: int = 8000
    """Port."""
    names: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ()
    """Further host names under which browsers reach the page; requests to other names are refused."""
    elicitor: str = "bayes"
    """Elicitor, as listed by `hare-jax elicitors`."""
    questions: int = 30
    """Questions to a person, at most."""
    rows: int = 20
    """Refused rows of FILE that are offered as examples, to anyone who can reach the page; 0 for none."""
    sessions: int = 200
    """Sessions that are kept in memory; the one that was unused for longest is dropped."""


def check(options: Serve) -> None:
    """Raise an error if an option is wrong or the extra is missing, before any data is loaded."""
    address.check("serve", options.port)
    tables.check(options)
    choose("elicitor", options.elicitor, ELICITORS)
    few = 1 <= options.questions <= MOST_QUESTIONS
    require(few, "questions", f"must be from 1 to {MOST_QUESTIONS:,}", options.questions)
    require(options.sessions >= 1, "sessions", "must be at least 1", options.sessions)
    require(options.rows >= 0, "rows", "must be at least 0", options.rows)


def run_command(options: Serve, console: Console) -> None:
    """Load the data and the model, and serve until interrupted."""
    check(options)
    from hare_jax.app.web.app import Service, build
    from hare_jax.app.web.serve import listening, serve

    opened = listening(options.host, options.port)
    with Console(stderr=True).status("Load the rows") as status:
        loaded = tables.load(options, held_out=True)
        status.update("Prepare the model")
        explainer = explainer_of(options, loaded.table, None)
        chosen = {"elicitor": options.elicitor, "questions": options.questions, "seed": options.seed}
        about = f"The examples are {loaded.described}."
        service = Service(explainer, loaded.frame, **chosen, most=options.rows, about=about)  # type: ignore[arg-type]
    app = build(service, hosts=address.hosts_of(options.host, options.names), sessions=options.sessions)
    link = address.link(options.host, options.port, options.names)
    console.print(Text(f"Open {link} in a browser; Ctrl-C ends"))
    serve(app, opened)
    interrupts.leave()
