"""The digest of the code that computes rows. It is part of a row's key, so that a row is recomputed after an edit.

It covers the package without its applications (`hare_jax.app`) and the modules of the benchmarks that compute results,
not those that store or render them. Rows older than the digests have "before" in its place.
"""

import hashlib
from functools import cache
from pathlib import Path

import hare_jax

_HERE = Path(__file__).parent
_APPLICATIONS = "app"  # the folder of the package that computes no row
_COMPUTING = ("experiments", "original", "cohort.py", "noise.py", "specs.py", "timing.py")
_SUFFIXES = (".py", ".toml")
_LENGTH = 12  # hexadecimal digits


def of(package: Path, benchmarks: Path) -> str:
    """The digest of the sources in the folders of the package and the benchmarks."""
    sha = hashlib.sha256()
    for root in (package, *(benchmarks / name for name in _COMPUTING)):
        for path in _sources(root):
            if path.is_relative_to(package / _APPLICATIONS):
                continue
            sha.update(f"{root.name}/{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return sha.hexdigest()[:_LENGTH]


@cache
def code() -> str:
    """The digest of the running code."""
    return of(Path(hare_jax.__file__).parent, _HERE)


def _sources(root: Path) -> list[Path]:
    paths = [root] if root.is_file() else root.rglob("*")
    return sorted(path for path in paths if path.suffix in _SUFFIXES and path.is_file())
