"""Tables of rows in CSV files."""

from pathlib import Path

import pandas as pd

from hare_jax.base import require


def read_csv(path: str | Path, argument: str = "file") -> pd.DataFrame:
    """The rows of a CSV file in UTF-8 with a line of column names.

    Raises:
        ValueError: the file cannot be read as CSV, has no rows, or names a column twice.
        OSError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{argument}: must be a CSV file; got {str(path)!r}")
    try:
        names = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].tolist()
        frame = pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        found = " ".join(str(error).split())
        raise ValueError(f"{argument} {str(path)!r}: must be a CSV file in UTF-8; got {found!r}") from error
    twice = sorted({name for name in map(str, names) if list(map(str, names)).count(name) > 1})
    require(not twice, f"{argument} {str(path)!r}", "must name each column once", twice)
    require(len(frame) > 0, f"{argument} {str(path)!r}", "must have rows", len(frame))
    return frame
