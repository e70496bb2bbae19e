"""The documentation site: `sphinx-build -W -n -j auto -c docs . build/site`, with the extra `docs`.

Sources are the Markdown files and notebooks where they lie in the repository, so that a link works in the site as on
GitHub. The menu is read from `docs/README.md`: a heading is a caption, and a link in the list below it is a page. The
API reference is made from the modules themselves; a page or module that nothing leads to is a warning, and so an error.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

import hare_jax

ROOT = Path(__file__).parent.parent

project = "hare_jax"
author = "The hare_jax developers"
project_copyright = "The hare_jax developers, Apache-2.0"
version = release = hare_jax.__version__
extensions = ["myst_nb", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "docs/**", "notebooks/*.ipynb", "benchmarks/results/*.md"]
exclude_patterns = ["docs/api/modules.rst"]

html_theme = "furo"
html_title = f"hare_jax {release}"
html_additional_pages = {"index": "redirect.html"}  # the first page is README.html
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests/test_notebooks.py executes them, and compares kinds of outputs with those shown

# Pages of modules: all but those behind the commands, whose interface is the command line.
INTERNAL = ["commands", "study", "terminal", "web", "[a-z]*.py"]
apidoc_modules = [
    {
        "path": "../hare_jax",
        "destination": "docs/api",
        "exclude_patterns": [f"../hare_jax/app/{name}" for name in INTERNAL],
        "module_first": True,
        "max_depth": 1,
    }
]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 100
default_role = "code"  # a name in single backticks in a docstring
# Objects of other packages have no target, since no inventory is loaded from the network; type variables have no page.
_TYPE_VARIABLES = r"hare_jax\.(elicit\.saving\.State|formula\.systems\.Key|[\w.]+\.[A-Z])"
nitpick_ignore_regex = [("py:.*", r"(?!hare_jax\.).*"), ("py:.*", _TYPE_VARIABLES)]


def menu() -> str:
    """The tables of contents of the first page, from `docs/README.md`."""
    tables = []
    for section in re.split(r"^## ", (ROOT / "docs/README.md").read_text("utf-8"), flags=re.MULTILINE)[1:]:
        caption, _, body = section.partition("\n")
        links = re.findall(r"^- \[.*?\]\(([^)#]+)\)", body, re.MULTILINE)
        pages = [os.path.normpath(f"docs/{link}").removesuffix(".md").removesuffix(".ipynb") for link in links]
        tables.append("\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""]))
    return "".join(tables)


def read_source(app: Sphinx, page: str, source: list[str]) -> None:
    """Add the menus, and shorten the headings of the pages of modules."""
    if page == root_doc:
        source[0] += menu()
    elif page == "docs/README":
        source[0] += "\n```{toctree}\n:hidden:\n\napi/hare_jax\n```\n"
    elif page == "benchmarks/results/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"
    elif page.startswith("docs/api/"):
        text = re.sub(r"^Sub(modules|packages)\n-+\n", "", source[0], flags=re.MULTILINE)
        source[0] = re.sub(r"^(\S+) (package|module)$", r"\1", text, flags=re.MULTILINE)


def drop_default(app: Sphinx, kind: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Leave out what Python itself writes as the docstring of a field of a NamedTuple."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", drop_default)
