import jax
import numpy as np
from scipy.optimize import linprog
from spaces import array, jit

from hare_jax.solvers.simplex import simplex

NUM, ROWS, WIDTH = 60, 5, 20


def test_the_optimum_is_that_of_highs():
    rng = np.random.default_rng(0)
    cost, matrix = rng.normal(size=(NUM, WIDTH)), rng.normal(size=(NUM, ROWS, WIDTH))
    limits, most = rng.uniform(0, 1, (NUM, ROWS)), rng.uniform(0, 1, (NUM, WIDTH))
    limits[rng.random(limits.shape) < 0.2] = 0
    most[rng.random(most.shape) < 0.2] = 0
    programs = tuple(map(array, (cost, matrix, limits, most)))
    found = np.asarray(jit(jax.vmap(lambda *program: simplex(*program, num_pivots=60)))(*programs), float)
    assert ((found >= 0) & (found <= programs[3])).all()
    assert (np.einsum("nij,nj->ni", matrix, found) <= limits + 1e-5).all()
    best = [linprog(c, m, b, bounds=[(0, u) for u in upper]).fun for c, m, b, upper in zip(*programs, strict=True)]
    np.testing.assert_allclose((cost * found).sum(axis=1), best, atol=1e-4)
