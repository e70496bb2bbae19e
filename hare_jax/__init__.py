"""Personal, fast and differentiable algorithmic recourse in JAX.

A subpackage is imported when it is first used, so that the command line can handle interrupts before JAX is loaded.
"""

import importlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hare_jax import data as data
    from hare_jax import elicit as elicit
    from hare_jax import evaluate as evaluate
    from hare_jax import models as models
    from hare_jax import people as people
    from hare_jax import recourse as recourse
    from hare_jax import solvers as solvers
    from hare_jax import space as space
    from hare_jax.app.explainer import Explainer as Explainer
    from hare_jax.app.explainer import Explanation as Explanation
    from hare_jax.app.session import Session as Session
    from hare_jax.base import Generate as Generate
    from hare_jax.base import LogitFn as LogitFn
    from hare_jax.base import Prefers as Prefers
    from hare_jax.base import Recourse as Recourse

__version__ = "0.1.0"

_LEAST_PYTHON = (3, 11)
_MODULES = ("data", "elicit", "evaluate", "models", "people", "recourse", "solvers", "space")
_MEMBERS = {
    **dict.fromkeys(("Generate", "LogitFn", "Prefers", "Recourse"), "base"),
    **dict.fromkeys(("Explainer", "Explanation"), "app.explainer"),
    "Session": "app.session",
}

if sys.version_info < _LEAST_PYTHON:
    needed, running = (".".join(map(str, version[:2])) for version in (_LEAST_PYTHON, sys.version_info))
    raise ImportError(f"Python: must be {needed} or newer for hare_jax; got {running}")


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"hare_jax.{name}")
    if name in _MEMBERS:
        return getattr(importlib.import_module(f"hare_jax.{_MEMBERS[name]}"), name)
    raise AttributeError(f"module 'hare_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_MEMBERS})
