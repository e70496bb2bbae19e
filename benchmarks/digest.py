"""The digest of the code that computes rows. It is part of a row's key, so that a row is recomputed after an edit.

It covers the package without its applications (`hare_jax.app`) and the modules of the benchmarks that compute results,
not those that store or render them; docstrings, comments and blank lines are left out, as they change no result. Code
that computes some rows alone is part of the digests of those: the folder `original` of rows in paper mode and of the
authors' table, the folder of the name of a table of its rows, and the folder of an elicitor (`hare_jax/elicit/NAME`) of
rows by it. Rows older than the digests have "before" in its place.
"""

import ast
import hashlib
import io
import tokenize
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hare_jax
from benchmarks.experiments import arms
from hare_jax.elicit import ELICITORS

_HERE = Path(__file__).parent
_APPLICATIONS = "app"  # the folder of the package that computes no row
_ELICITORS = "elicit"  # the folder of the package with a folder for each elicitor of several modules
_COMPUTING = ("experiments", "cohort.py", "noise.py", "specs.py", "timing.py")
_OF_TABLES = {"authors": ("authors", "original"), "peers": ("peers",)}  # folders by table
_OF_MODES = {"paper": ("original",)}  # folders by mode
_SUFFIXES = (".py", ".toml")
_LENGTH = 12  # hexadecimal digits
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def of(package: Path, benchmarks: Path, table: str = "", mode: str = "", elicitor: str | None = None) -> str:
    """The digest of the sources in the folders of the package and the benchmarks, for rows of a table and mode.

    Of the folders of elicitors that of the name `elicitor` counts, and by default all.
    """
    sha = hashlib.sha256()
    some = dict.fromkeys((*_OF_TABLES.get(table, ()), *_OF_MODES.get(mode, ())))
    for root in (package, *(benchmarks / name for name in (*_COMPUTING, *some))):
        for path in _sources(root):
            if path.is_relative_to(package / _APPLICATIONS) or _is_of_another(package, path, elicitor):
                continue
            source = path.read_text(encoding="utf-8")
            text = executed(source) if path.suffix == ".py" else source
            sha.update(f"{root.name}/{path.relative_to(root)}\0{text}\0".encode())
    return sha.hexdigest()[:_LENGTH]


@cache  # most sources are part of several digests
def executed(source: str) -> str:
    """The lines of a Python source without docstrings, comments and blank lines.

    It is the same in all versions of Python, which the output of `ast.unparse` is not.
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            first, last = node.body[0].lineno, node.body[0].end_lineno or 0
            lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(line for line in lines if line.strip())


@cache
def code(table: str = "", mode: str = "", elicitor: str | None = None) -> str:
    """The digest of the running code, for rows of a table and mode by an elicitor with a folder of this name."""
    return of(Path(hare_jax.__file__).parent, _HERE, table, mode, elicitor)


def code_of(row: Mapping[str, Any]) -> str:
    """The digest of the running code for a row, or its spec."""
    names = [name for name in (row.get("arm"), row.get("stage")) if isinstance(name, str)]
    arm = names[0].partition(",")[0] if names else ""  # a stage of an arm is named "ARM, STAGE"
    return code(row["table"], row.get("mode", ""), folder_of(arm))


@cache
def folder_of(arm: str) -> str:
    """The name of the folder with the code of an arm's elicitor, empty if it is a single module or there is none."""
    known = arms.table()
    if arm not in known or known[arm].elicitor not in ELICITORS:
        return ""
    build: Any = ELICITORS[known[arm].elicitor].build
    module = getattr(build, "func", build).__module__.split(".")
    inside = module[module.index(_ELICITORS) + 1 :]
    return inside[0] if len(inside) > 1 else ""


def _is_of_another(package: Path, path: Path, elicitor: str | None) -> bool:
    """Whether a path is in the folder of another elicitor; None stands for any."""
    if elicitor is None or not path.is_relative_to(package / _ELICITORS):
        return False
    inside = path.relative_to(package / _ELICITORS).parts
    return len(inside) > 1 and inside[0] != elicitor


def _sources(root: Path) -> list[Path]:
    paths = [root] if root.is_file() else root.rglob("*")
    return sorted(path for path in paths if path.suffix in _SUFFIXES and path.is_file())
