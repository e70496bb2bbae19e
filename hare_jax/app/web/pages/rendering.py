"""Templates of Jinja, in which everything is escaped, and the two files that they link to."""

from importlib import resources
from typing import Any, NamedTuple

import jinja2

_PAGES = "hare_jax.app.web.pages"


def environment(*packages: str) -> jinja2.Environment:
    """The templates of some `packages`, and those of a session."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package) for package in (*packages, _PAGES)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


_ENVIRONMENT = environment()


class StaticFile(NamedTuple):
    """A file as it is sent."""

    content: bytes
    type: str


def _static(name: str, kind: str) -> StaticFile:
    return StaticFile(resources.files(_PAGES).joinpath("static", name).read_bytes(), kind)


STATIC = {
    "style.css": _static("style.css", "text/css; charset=utf-8"),
    "page.js": _static("page.js", "text/javascript; charset=utf-8"),
}


class Form(NamedTuple):
    """Where the forms of a page are sent, and what they carry."""

    base: str  # the path before the name of an action: "/s/LINK"
    csrf: str
    step: int  # how often the session has changed: a form is taken once


def render(template: str, **context: Any) -> str:
    """The page of a template, such as `"question"`."""
    return _ENVIRONMENT.get_template(f"{template}.html").render(**context)
