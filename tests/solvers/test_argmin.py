from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from spaces import jit

from hare_jax.solvers.argmin import argmin

NUM, WIDTH = 8, 5


def objective(problem, z):
    """Strictly convex, with curvature that changes from place to place."""
    matrix, offset, pull = problem
    return jnp.sum(jax.nn.softplus(matrix @ z + offset)) + jnp.sum((z - pull) ** 2) / 4 + jnp.sum(z**4) / 20


def problems(seed, reach):
    """Problems whose bounds lie `reach` away from 0, and their bounds."""
    rng = np.random.default_rng(seed)
    problem = rng.normal(size=(NUM, 7, WIDTH)), rng.normal(size=(NUM, 7)), 3 * rng.normal(size=(NUM, WIDTH))
    bounds = -reach * rng.uniform(1, 2, (NUM, WIDTH)), reach * rng.uniform(1, 2, (NUM, WIDTH))
    return problem, bounds


def solve(problem, bounds, num_steps=20):
    def one(problem, bounds):
        return argmin(partial(objective, problem), jnp.zeros(WIDTH), *bounds, num_steps=num_steps)

    return jax.vmap(one)(problem, bounds)


def unrolled(problem, bounds, num_steps=3000):
    """Plain projected gradient steps, differentiated one by one."""

    def one(problem, bounds):
        def step(z, _):
            return jnp.clip(z - 0.05 * jax.grad(partial(objective, problem))(z), *bounds), None

        return jax.lax.scan(step, jnp.zeros(WIDTH), length=num_steps)[0]

    return jax.vmap(one)(problem, bounds)


@partial(jit, static_argnums=0)
def mixed(fn, problem, bounds):
    """The points, and the derivatives of a combination of all of their columns."""
    mixture = jnp.sin(jnp.arange(1.0, NUM * WIDTH + 1)).reshape(NUM, WIDTH)

    def total(problem, bounds):
        found = fn(problem, bounds)
        return jnp.sum(mixture * found), found

    slope, found = jax.grad(total, argnums=(0, 1), has_aux=True)(problem, bounds)
    return found, slope


@jit
def moved(args, way):
    """The derivative of the points along a way."""
    return jax.jvp(solve, args, way)[1]


solved = jit(solve)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@jit
@jax.vmap
def gradient(problem, z):
    return jax.grad(partial(objective, problem))(z)


def active(problem, bounds, z):
    slope, z = np.asarray(gradient(problem, z)), np.asarray(z)
    at_bound = (z == bounds[0]) | (z == bounds[1])
    assert np.all(np.abs(slope)[~at_bound] < 1e-9)
    assert np.all(slope[z == bounds[0]] > 1e-3)
    assert np.all(slope[z == bounds[1]] < -1e-3)
    return at_bound


@pytest.mark.parametrize(("reach", "low", "high"), [(9.0, 0, 0), (0.4, 0.3, 0.9)])
def test_the_minimum_and_its_derivative_are_those_of_plain_descent(x64, reach, low, high):
    problem, bounds = problems(0, reach)
    found, ours = mixed(solve, problem, bounds)
    assert low <= active(problem, bounds, found).mean() <= high
    descended, plain = mixed(unrolled, problem, bounds)
    np.testing.assert_allclose(found, descended, rtol=0, atol=1e-8)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("reach", [9.0, 0.4])
def test_derivatives_are_finite_differences(x64, reach):
    problem, bounds = problems(1, reach)
    rng = np.random.default_rng(2)
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), (problem, bounds))
    slope = moved((problem, bounds), direction)
    ends = [
        np.asarray(solved(*jax.tree.map(lambda leaf, way, eps=eps: leaf + eps * way, (problem, bounds), direction)))
        for eps in (-1e-5, 1e-5)
    ]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-5, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("reach", [9.0, 0.4])
def test_derivatives_to_second_order(x64, reach):
    problem, bounds = jax.tree.map(jnp.asarray, problems(3, reach))
    active(problem, jax.device_get(bounds), solved(problem, bounds))
    check_grads(jax.jit(solve), (problem, bounds), order=2, modes=["fwd", "rev"], eps=1e-6, rtol=1e-5)


def test_an_active_column_moves_with_its_bound_alone(x64):
    problem, bounds = problems(4, 0.4)
    found = solved(problem, bounds)
    at_bound = np.asarray(active(problem, bounds, found))
    by_offset = jit(jax.vmap(jax.jacrev(lambda *args: solve(*jax.tree.map(lambda leaf: leaf[None], args))[0])))
    _, by_problem, _ = by_offset(problem, bounds)
    assert np.all(np.asarray(by_problem)[at_bound] == 0)
    assert np.all(np.any(np.asarray(by_problem)[~at_bound] != 0, axis=-1))


@pytest.mark.parametrize("upper", [1.0, np.inf])
def test_a_column_that_nothing_depends_on_stays_and_has_no_derivative(upper):
    def best(centre):
        return argmin(lambda z: (z[0] - centre) ** 2, jnp.array([0.5, 0.25]), jnp.zeros(2), jnp.full(2, upper))

    value, slope = jit(lambda centre: (best(centre), jax.jacrev(best)(centre)))(jnp.array(0.75))
    np.testing.assert_allclose(value, [0.75, 0.25], atol=1e-6)
    np.testing.assert_allclose(slope, [1.0, 0.0], atol=1e-6)


def test_a_slope_without_curvature_leads_to_the_bound():
    found = jit(lambda c: argmin(lambda z: jnp.sum(c * z), jnp.zeros(2), jnp.full(2, -1.0), jnp.ones(2)))
    np.testing.assert_array_equal(found(jnp.array([1.0, -2.0])), [-1.0, 1.0])


def test_it_leaves_a_saddle_and_keeps_the_dtype():
    def best(tilt):
        start, bound = jnp.array([0.0, 0.1], tilt.dtype), jnp.full(2, 5.0, tilt.dtype)
        return argmin(lambda z: z[0] ** 2 + (z[1] ** 2 - 1) ** 2 + tilt * z[0], start, -bound, bound)

    np.testing.assert_allclose(jit(best)(jnp.array(0.2)), [-0.1, 1.0], atol=1e-5)
    with jax.enable_x64(True):
        assert jax.eval_shape(best, jax.ShapeDtypeStruct((), "float64")).dtype == "float64"
        assert jax.eval_shape(best, jax.ShapeDtypeStruct((), "float32")).dtype == "float32"
