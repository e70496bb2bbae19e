"""Where a command serves its pages: checks of the options without loading the server, and the names of the address."""

import importlib.util
from collections.abc import Sequence

from hare_jax.base import require

_NEEDED = ("starlette", "uvicorn", "jinja2")
_MOST_PORT = 65535
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_ANY = ("", "0.0.0.0", "::")


def check(command: str, port: int) -> None:
    """Check that a command can serve, at this port.

    Raises:
        ImportError: the extra `web` is missing.
        ValueError: there is no such port.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{command} needs {', '.join(missing)}: pip install 'hare-jax[web]'")
    require(1 <= port <= _MOST_PORT, "port", f"must be from 1 to {_MOST_PORT}", port)


def is_any(host: str) -> bool:
    """Whether a server on `host` is reached at all addresses of the computer, which says no name of it."""
    return host in _ANY


def hosts_of(host: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names under which a server on `host` is reached: the local ones, its own, and other `names`."""
    own = () if is_any(host) else (_in_link(host),)
    return tuple(dict.fromkeys((*_LOCAL, *own, *names)))


def link(host: str, port: int, names: Sequence[str]) -> str:
    """A link to the page under the first of the `names`, or else its own, or a local one."""
    own = _LOCAL[0] if is_any(host) else _in_link(host)
    return f"http://{names[0] if names else own}:{port}/"


def _in_link(host: str) -> str:
    return f"[{host}]" if ":" in host else host
