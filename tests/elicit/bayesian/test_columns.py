"""Reductions over columns against the definitions."""

import numpy as np
import pytest
from jax import jit

from hare_jax.elicit.bayesian import columns


@pytest.mark.parametrize("width", [1, 7])
def test_squares_are_quadratic_forms(width):
    rng = np.random.default_rng(0)
    roots, points = rng.normal(size=(3, width, width)), rng.normal(size=(5, width))
    matrices = roots @ roots.transpose(0, 2, 1)
    found = jit(columns.squares)(matrices.astype(np.float32), points.astype(np.float32))
    expected = [[point @ matrix @ point for point in points] for matrix in matrices]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_points_are_equal_in_all_columns():
    a = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 3.0]], np.float32)
    b = np.array([[0.0, 1.0, 2.0], [5.0, 1.0, 3.0], [0.0, 1.0, 3.0]], np.float32)
    np.testing.assert_array_equal(jit(columns.equal)(a, b), [[True, False, False], [False, False, True]])
