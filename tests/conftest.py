"""How the tests compile: quickly, and what takes more than a second once in all processes.

With JAX_COMPILATION_CACHE_DIR set, what is compiled is kept there for the next run.
"""

import gc
import os
import tempfile
from importlib.metadata import version

import pytest

# Tests compile much and run little: no optimization, and, where XLA still has them, the older emitters, which compile
# in half the time. XLA aborts on a flag that it does not know.
FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if version("jaxlib").startswith("0.10."):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join((*FLAGS, os.environ.get("XLA_FLAGS", ""))).strip()

LONGEST = {"test_contract.py", "test_derivatives.py", "test_notebooks.py", "test_benchmarks.py", "test_bayes.py"}
LONGEST |= {"test_related_methods.py", "test_docs.py", "test_sequences.py"}
collect_ignore_glob = ["*conftest.py"]  # no doctests there, and several have the same name
NUM_IN_CHUNK = 64  # rows of a chunk of the explainer
GC_THRESHOLDS = 50_000, 20, 100  # tracing allocates many objects, few of which are garbage


def pytest_configure(config):
    is_worker = hasattr(config, "workerinput")
    if not is_worker and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="compiled-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    if is_worker or not config.getoption("numprocesses", None):  # whoever only hands out tests needs no JAX
        configure_jax()


def configure_jax():
    import jax  # the variables above are read here

    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_num_cpu_devices", 2)  # what spreads over devices is spread, on any machine


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.path.name not in LONGEST)  # first, so that no process waits for another in the end
    if config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="slow: run with -m slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="module")
def quick_programs():
    """Programs of the explainer that compile quickly: one of each kind, for chunks of one size."""
    import jax

    from hare_jax.app.explainer import chunks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "quick_jit", jax.jit)  # without its options, which would win over those of the tests
        patch.setattr(chunks, "SIZES", (NUM_IN_CHUNK,))
        chunks.compiled.cache_clear()
        yield
    chunks.compiled.cache_clear()
