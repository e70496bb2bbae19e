"""Who may import whom: a module knows only those above it in `LAYERS`."""

import ast
from functools import cache
from pathlib import Path

import pytest

import hare_jax

LAYERS = [
    {"base"},
    {"hyperparams"},
    {"formula"},
    {"archive"},
    {"space"},
    {"solvers"},
    {"conditions"},
    {"data", "models"},
    {"recourse"},
    {"people"},
    {"elicit"},
    {"evaluate"},
    {"app"},
]
ROOT = Path(hare_jax.__file__).parent
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}


def room(name):
    """`hare_jax.elicit.hare` -> `elicit`, `elicit/hare.py` -> `elicit`, `space.py` -> `space`."""
    return name.removeprefix("hare_jax.").split("/")[0].split(".")[0]


def layer(name):
    return next(index for index, names in enumerate(LAYERS) if name in names)


@cache
def imports(source):
    """The modules that `source` imports, at its top or anywhere deeper: `from a import b` gives `a.b`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += ["." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names]
    return found


def forbidden(file, source):
    """The imports within the package that a file may not have."""
    own = room(file)
    known = [name for name in imports(source) if name.split(".")[0] == "hare_jax"]
    others = [name for name in known if room(name) != own and name != "hare_jax.__version__"]
    return [name for name in others if name == "hare_jax" or layer(room(name)) >= layer(own)]


def test_every_room_has_its_layer():
    rooms = {room(file) for file in FILES} - {"__init__"}
    assert len(rooms) >= 10
    assert rooms <= set().union(*LAYERS), "a new module belongs in LAYERS"


@pytest.mark.parametrize("file", [file for file in FILES if file != "__init__.py"])
def test_imports_point_up(file):
    source = FILES[file].read_text("utf-8")
    assert forbidden(file, source) == []
    assert [name for name in imports(source) if name.startswith(".")] == []


def test_only_data_and_the_shell_know_pandas():
    named = {file: {name.split(".")[0] for name in imports(path.read_text("utf-8"))} for file, path in FILES.items()}
    assert {room(file) for file, names in named.items() if "pandas" in names} == {"data", "app"}


def test_only_the_cluster_of_the_benchmarks_knows_dask():
    paths = [*FILES.values(), *(ROOT.parent / "benchmarks").rglob("*.py")]
    named = {path.name: {name.split(".")[0] for name in imports(path.read_text("utf-8"))} for path in paths}
    assert [name for name, found in named.items() if found & {"dask", "distributed"}] == ["cluster.py"]


def test_the_check_itself():
    assert forbidden("solvers/boundary.py", "from hare_jax.space import along\nfrom hare_jax import base") == []
    assert forbidden("elicit/hare.py", "from hare_jax.elicit.base import Elicitor") == []
    assert forbidden("space.py", "def f():\n    from hare_jax.models import fit") == ["hare_jax.models.fit"]
    assert forbidden("recourse/wachter.py", "from hare_jax import elicit") == ["hare_jax.elicit"]
    assert forbidden("people/ideal.py", "import hare_jax") == ["hare_jax"]
    assert forbidden("models/vae.py", "import hare_jax.data.schema") == ["hare_jax.data.schema"]
    assert forbidden("app/cli.py", "from hare_jax import __version__, data") == []
