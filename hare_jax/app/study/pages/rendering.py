"""Templates of Jinja, in which everything is escaped: those of a study, and those of a session that they extend."""

from importlib import resources
from typing import Any, NamedTuple

from hare_jax.app.web.pages.rendering import STATIC as SHARED
from hare_jax.app.web.pages.rendering import StaticFile, environment

_PAGES = "hare_jax.app.study.pages"
_STYLE = resources.files(_PAGES).joinpath("static", "study.css").read_bytes()


class Form(NamedTuple):
    """Where the forms of a page are sent, and what they carry."""

    base: str  # the path before the name of an action: "/p/LINK"
    csrf: str
    step: str  # the page that the form is of; of a question, its number


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text: an empty line is between two of them."""
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


_ENVIRONMENT = environment(_PAGES)
_ENVIRONMENT.filters["paragraphs"] = paragraphs

STATIC = SHARED | {"study.css": StaticFile(_STYLE, "text/css; charset=utf-8")}


def render(template: str, **context: Any) -> str:
    """The page of a template of a study, such as `"consent"`."""
    return _ENVIRONMENT.get_template(f"study_{template}.html").render(**context)
