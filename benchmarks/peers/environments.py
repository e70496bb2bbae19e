"""A virtual environment for each library, in the user's cache folder: the environment of this project stays as it is.

An environment is complete once it holds the file `installed`, with the pins that it was made for.
"""

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pooch

from benchmarks.peers.table import Peer

_DONE = "installed"
_INSTALL_S = 1800  # longest installation, in seconds
_WIDTH = 200  # characters of a reason


class UnavailableError(Exception):
    """A library can't be used here; the message is the reason, on one line."""


def folder() -> Path:
    """The folder of all environments."""
    return Path(pooch.os_cache("hare_jax")) / "peers"


def interpreter(name: str, peer: Peer, *, fresh: bool = False) -> Path:
    """The interpreter of the environment of `peer`, which is made if it does not exist, or if `fresh`.

    Raises:
        UnavailableError: there is no such Python, or its packages can't be installed.
    """
    if peer.reason:
        raise UnavailableError(peer.reason)
    if not peer.pins:
        return Path(sys.executable)
    place = folder() / name
    python, done = place / "bin" / "python", place / _DONE
    pins = "\n".join(peer.pins)
    if not fresh and done.is_file() and done.read_text("utf-8") == pins:
        return python
    shutil.rmtree(place, ignore_errors=True)
    _run([find_python(peer.python), "-m", "venv", str(place)], "venv")
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    _run([*pip, "--upgrade", "pip"], "pip")  # that of Python 3.10 searches for versions for a long time
    _run([*pip, *peer.pins], "pip")
    done.write_text(pins, "utf-8")
    return python


def find_python(version: str) -> str:
    """A Python of this version, as 3.10: this interpreter, one on the path, or one of pyenv.

    Raises:
        UnavailableError: there is none.
    """
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    root = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    installed = sorted(glob.glob(f"{root}/versions/{version}.*/bin/python"))
    found = installed[-1] if installed else shutil.which(f"python{version}")
    if found is None:
        raise UnavailableError(f"it needs Python {version}, which is not installed")
    return found


def _run(command: list[str], what: str) -> None:
    """Run a step of an installation.

    Raises:
        UnavailableError: it failed, or took too long.
    """
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{what} took more than {_INSTALL_S} s") from error
    except OSError as error:
        raise UnavailableError(f"{what}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"{what}: {last_line(error.stderr)}") from error


def last_line(text: str) -> str:
    r"""The last error in the output of a command, on one line of limited length.

    >>> last_line("Collecting nothing\nERROR: No matching distribution found for nothing\n\nnotice: a new pip\n")
    'ERROR: No matching distribution found for nothing'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.split(":")[0].lower()]
    return (errors or lines or ["no message"])[-1][:_WIDTH]
