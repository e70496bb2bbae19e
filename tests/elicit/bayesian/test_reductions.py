"""Reductions over columns against the definitions."""

from functools import partial

import numpy as np
import pytest
from jax import jit

from hare_jax.elicit.bayesian.reductions import equal_rows, quadratic_forms


@pytest.mark.parametrize("width", [1, 7, 40])
def test_quadratic_forms_of_few_and_many_columns(width):
    rng = np.random.default_rng(0)
    roots, points = rng.normal(size=(3, width, width)), rng.normal(size=(5, width))
    matrices = roots @ roots.transpose(0, 2, 1)
    found = jit(quadratic_forms)(matrices.astype(np.float32), points.astype(np.float32))
    expected = [[point @ matrix @ point for point in points] for matrix in matrices]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("width", [3, 40])
def test_rows_are_equal_in_all_columns(width):
    a = np.zeros((2, width), np.float32)
    b = np.zeros((3, width), np.float32)
    a[1, -1] = b[2, -1] = b[1, -1] = 1
    b[1, 0] = 1
    np.testing.assert_array_equal(jit(equal_rows)(a, b), [[True, False, False], [False, False, True]])
    np.testing.assert_array_equal(jit(equal_rows)(a + np.float32(1e-5), b), np.zeros((2, 3), bool))
    found = jit(partial(equal_rows, tolerance=1e-4))(a + np.float32(1e-5), b)
    np.testing.assert_array_equal(found, [[True, False, False], [False, False, True]])
