"""The shape of the code: short functions, short modules, closures one deep."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for package in ("hare_jax", "benchmarks") for path in (ROOT / package).rglob("*.py"))
MOST_LINES, BODY_LINES, SHARE = 300, 20, 0.93


def functions(node, depth=0):
    """Each function in `node`, and in how many others it is."""
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function:
            yield child, depth
        yield from functions(child, depth + is_function)


def body_lines(function):
    """Lines of the body, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.fixture(scope="module")
def trees():
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in FILES}


def test_modules_are_short():
    assert [path.name for path in FILES if len(path.read_text("utf-8").splitlines()) > MOST_LINES] == []


def test_closures_are_one_deep(trees):
    deeper = [f"{file}: {found.name}" for file, tree in trees.items() for found, depth in functions(tree) if depth > 1]
    assert deeper == []


def test_most_functions_are_short(trees):
    lines = [body_lines(found) for tree in trees.values() for found, _ in functions(tree)]
    assert sum(count <= BODY_LINES for count in lines) / len(lines) >= SHARE


def test_no_module_is_hidden_by_a_function_of_its_package():
    for path in FILES:
        if path.name == "__init__.py" and path.parent.parent != ROOT:
            modules = {other.stem for other in path.parent.glob("*.py")} | {
                p.name for p in path.parent.iterdir() if p.is_dir()
            }
            tree = ast.parse(path.read_text("utf-8"))
            defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
            package = ".".join(path.parent.relative_to(ROOT).parts)
            for node in tree.body:
                if isinstance(node, ast.ImportFrom) and node.module != package:
                    defined |= {alias.asname or alias.name for alias in node.names}
            assert not defined & modules, path
