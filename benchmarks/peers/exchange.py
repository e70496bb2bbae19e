"""Runs a driver in the environment of its library: `problem.npz` in, `answer.npz` out."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.peers.environments import UnavailableError, last_line

DRIVERS = Path(__file__).parent / "drivers"
Answer = dict[str, np.ndarray]  # the arrays of `answer.npz`
_GRACE_S = 300  # for imports, fits and the row in progress, on top of the limit of time


def ask(python: Path, driver: Path, problem: Mapping[str, np.ndarray], about: Mapping) -> Answer:
    """The answer of a `driver`, a script run by the interpreter `python`; see `drivers.protocol`.

    Raises:
        UnavailableError: it fails, or takes longer than the limit of time and the grace that it has.
    """
    limit_s = about["limit_s"] + _GRACE_S
    path = os.pathsep.join([str(DRIVERS), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "problem.npz", **problem, about=np.array(json.dumps(dict(about))))  # type: ignore[arg-type]
        command = [str(python), str(driver), str(folder)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=limit_s,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path},
            )
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"no answer within {limit_s:.0f} s") from error
        if done.returncode != 0 or not (folder / "answer.npz").is_file():
            raise UnavailableError(last_line(done.stderr))
        with np.load(folder / "answer.npz") as file:
            return dict(file)


def version(python: Path, package: str) -> str:
    """The version of a package in an environment, or empty."""
    done = subprocess.run([str(python), "-m", "pip", "show", package], capture_output=True, text=True)
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    return lines.get("Version", "")
