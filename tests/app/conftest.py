"""Programs of the explainer that compile quickly."""

import jax
import pytest

SIZE = 64  # of all chunks: one program of each kind


@pytest.fixture(scope="module")
def quick_programs():
    from hare_jax.app.explainer import chunks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "quick_jit", jax.jit)  # without its options, which would win over those of the tests
        patch.setattr(chunks, "SIZES", (SIZE,))
        chunks.compiled.cache_clear()
        yield
    chunks.compiled.cache_clear()
