"""The digest of the code that computes rows. It is part of a row's key, so that a row is recomputed after an edit.

It covers the package without its applications (`hare_jax.app`) and the modules of the benchmarks that compute results,
not those that store or render them; docstrings, comments and blank lines are left out, as they change no result. Code
that computes some rows alone is part of the digests of those: the folder `original` of rows in paper mode and of the
authors' table, and the folder of the name of a table of its rows. Rows older than the digests have "before" in its
place.
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

_HERE = Path(__file__).parent
_APPLICATIONS = "app"  # the folder of the package that computes no row
_COMPUTING = ("experiments", "cohort.py", "noise.py", "specs.py", "timing.py")
_OF_TABLES = {"authors": ("authors", "original"), "peers": ("peers",)}  # folders by table
_OF_MODES = {"paper": ("original",)}  # folders by mode
_SUFFIXES = (".py", ".toml")
_LENGTH = 12  # hexadecimal digits
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def of(package: Path, benchmarks: Path, table: str = "", mode: str = "") -> str:
    """The digest of the sources in the folders of the package and the benchmarks, for rows of a table and mode."""
    sha = hashlib.sha256()
    some = dict.fromkeys((*_OF_TABLES.get(table, ()), *_OF_MODES.get(mode, ())))
    for root in (package, *(benchmarks / name for name in (*_COMPUTING, *some))):
        for path in _sources(root):
            if path.is_relative_to(package / _APPLICATIONS):
                continue
            source = path.read_text(encoding="utf-8")
            text = executed(source) if path.suffix == ".py" else source
            sha.update(f"{root.name}/{path.relative_to(root)}\0{text}\0".encode())
    return sha.hexdigest()[:_LENGTH]


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
def code(table: str = "", mode: str = "") -> str:
    """The digest of the running code, for rows of a table and mode."""
    return of(Path(hare_jax.__file__).parent, _HERE, table, mode)


def code_of(row: Mapping[str, Any]) -> str:
    """The digest of the running code for a row, or its spec."""
    return code(row["table"], row.get("mode", ""))


def _sources(root: Path) -> list[Path]:
    paths = [root] if root.is_file() else root.rglob("*")
    return sorted(path for path in paths if path.suffix in _SUFFIXES and path.is_file())
