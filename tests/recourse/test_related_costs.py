"""The cost of recourse with relations: its derivative, and methods against exact recourse."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from related import WIDTH, contradictions, related_rows, related_space
from spaces import array, jit_fast, split

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.models.network import to_layers
from hare_jax.recourse import ar, exact, growing_spheres
from hare_jax.recourse.cost import recourse_cost
from hare_jax.recourse.exact import branch as exact_branch
from hare_jax.recourse.exact import problem as exact_problem
from hare_jax.recourse.exact import search as exact_search
from hare_jax.solvers.boundary import MARGIN, scale_back
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import Link, action_space, allows, distance, open_levels, relate, rows_from, weighted_cost

SPHERES = growing_spheres.GrowingSpheres(num_samples=32, num_spheres=8, num_attempts=2)
WEIGHTS, SLOPES = np.array([1.0, 2.0, 1.5]), np.array([3.0, 0.5, 1.0])


def tied_space():
    """Three columns, the first at most the second."""
    return action_space([True] * 3, [0.0] * 3, [1.0] * 3,
                        relations=relate(3, coefficients=[[1.0, -1.0, 0.0]], limits=[0.0]))  # fmt: skip


@pytest.mark.slow
def test_the_derivative_of_the_least_cost_with_an_active_inequality():
    """The first two columns rise together: cost = (w_0 + w_1) (t + margin) / (a_0 + a_1)."""

    def cost(slopes, weights, bias):
        logit_fn = models.classifier({"layer_0": {"weight": slopes[None, :], "bias": bias[None]}})
        x, space = jnp.zeros(3), tied_space()
        found = exact.generate(
            exact.Exact(spheres=SPHERES, margin=0.0, weights=jax.lax.stop_gradient(weights)),
            jax.random.key(0),
            logit_fn,
            x,
            space,
        )
        return weighted_cost(space, weights, x, found.x), found

    with jax.enable_x64(True):
        given = jnp.asarray(SLOPES), jnp.asarray(WEIGHTS), jnp.asarray(-1.0)
        (value, found), by = jax.value_and_grad(cost, argnums=(0, 1, 2), has_aux=True)(*given)
    length, slope, price = 1 / 3.5, 3.5, 3.0
    assert found.valid
    np.testing.assert_allclose(found.x, [length, length, 0], atol=1e-6)
    np.testing.assert_allclose(value, price * length, rtol=1e-6)
    np.testing.assert_allclose(by[0][:2], -price * length / slope * np.ones(2), rtol=1e-6)
    np.testing.assert_allclose(by[1], [length, length, 0], atol=1e-6)
    np.testing.assert_allclose(by[2], -price / slope, rtol=1e-6)


def exact_cost(space, slopes, bias, weights, x):
    """The recourse (d,) of least cost for a linear classifier, and its cost, by a search of its own."""
    layers = to_layers(models.from_layers([(slopes[None], [bias])]))
    given, rows = jax.device_get((space._replace(upper=open_levels(space, x)), rows_from(space, x)))
    numbers = (np.asarray(number) for number in (MARGIN, 20.0, 1e-9))
    layers = jax.tree.map(np.asarray, layers)
    problem = exact_problem.Problem(layers, x, given, weights, x, np.asarray(False), *numbers, rows)
    answer = exact_search.solve(problem)
    return answer.x, exact_problem.cost(problem, answer.x)


def scaled_cost(space, x, x_cf, slopes, bias, weights):
    logit_fn = jax.tree_util.Partial(lambda slopes, bias, x: jnp.sum(slopes * x) + bias, slopes, bias)
    found = scale_back(logit_fn, x, Recourse(x_cf, jnp.array(True)), space, num_steps=40)
    return weighted_cost(space, weights, x, found.x)


@pytest.mark.slow
def test_the_derivative_of_the_least_cost_is_that_of_repeated_exact_searches(monkeypatch):
    """With a ratio, inequalities without slack and bounds: the envelope theorem."""
    monkeypatch.setattr(exact_branch, "_GAP", 1e-8)
    rng, step, column = np.random.default_rng(5), 1e-5, 1
    slopes, weights = rng.normal(size=WIDTH), rng.uniform(0.5, 2, WIDTH)
    slopes[7:] /= 5
    with jax.enable_x64(True):
        space, rows = related_space(max_changes=None), related_rows(0, 100)
        bias = -np.quantile(rows @ slopes, 0.7)
        derive = jax.jit(jax.grad(partial(scaled_cost, space), argnums=(2, 3, 4)))
        for x in rows[rows @ slopes + bias < 0][:6]:
            x_cf, _ = exact_cost(space, slopes, bias, weights, x)
            by = derive(x, x_cf, slopes, bias, weights)
            move = step * np.eye(WIDTH)[column]
            ends = [(slopes + sign * move, bias, weights) for sign in (1, -1)]
            ends += [(slopes, bias + sign * step, weights) for sign in (1, -1)]
            ends += [(slopes, bias, weights + sign * move) for sign in (1, -1)]
            costs = np.array([exact_cost(space, *end, x)[1] for end in ends])
            expected = (costs[::2] - costs[1::2]) / (2 * step)
            np.testing.assert_allclose([by[0][column], by[1], by[2][column]], expected, rtol=1e-4, atol=1e-5)


SEARCH = LocalSearch(num_first=16, num_starts=2, num_rounds=4, num_rays=8)
NUM = 12


@pytest.mark.slow
def test_a_local_search_on_the_host_keeps_the_relations_and_finds_nothing_cheaper_than_exact_recourse():
    rng, space, rows = np.random.default_rng(4), related_space(), related_rows(0, 3 * NUM)
    slopes = rng.normal(size=WIDTH)
    bias = -np.quantile(rows @ slopes, 0.7)
    given, rows = (array(slopes), array(bias)), rows[rows @ slopes + bias < 0][:NUM]

    def on_the_host(x):
        return jax.pure_callback(lambda x: x @ given[0] + given[1], x[0], x, vmap_method="broadcast_all")

    def one(key, x):
        nothing = Recourse(x, jnp.array(False))
        cost_fn = partial(distance, space, x)
        found = local_search(SEARCH, key, cost_fn, on_the_host, x, nothing, space)
        return found, allows(space, x, found.x), cost_fn(found.x)

    found, allowed, cost = jax.device_get(jit_fast(jax.vmap(one))(split(0, len(rows)), rows))
    assert found.valid.mean() > 0.5
    assert allowed[found.valid].all()
    assert not any(broken.any() for broken in contradictions(rows[found.valid], found.x[found.valid]).values())
    for index in np.flatnonzero(found.valid):
        _, least = exact_cost(space, *given, np.ones(WIDTH, rows.dtype), rows[index])
        assert least <= cost[index] * (1 + 2e-4) + 1e-5


@pytest.mark.slow
def test_actionable_recourse_counts_what_follows_and_the_costs_of_the_space():
    """The second column follows half of the first, and costs nothing then."""
    relations = relate(2, links=[Link(1, ("*", ("number", 0.5), ("column", 0)))], max_changes=1)
    for cost, end in (([1.0, 1.0], [0.4, 0.2]), ([3.0, 1.0], [0.0, 0.6])):
        space = action_space([True, True], [0.0] * 2, [1.0] * 2, cost=cost, relations=relations)
        found = ar.generate(ar.Ar(), jax.random.key(0), lambda x: x[0] + x[1] - 0.6, jnp.zeros(2), space)
        assert found.valid
        np.testing.assert_allclose(found.x, end, atol=2e-3)


def test_the_cost_of_recourse_charges_own_changes_alone():
    link = Link(1, ("*", ("number", 0.5), ("column", 0)))
    space = action_space([True, True], [0.0, 0.0], [1.0, 1.0], relations=relate(2, links=[link]))
    x, moved = array([[0.1, 0.2]]), array([0.6, 0.45])  # the second column only follows

    def cost(space, *hidden):
        found = Partial(lambda key, logit_fn, x, space: Recourse(moved, jnp.array(True)))
        return recourse_cost(found, jax.random.key(0), lambda x: x[0] - 0.5, x, space, *hidden)[0]

    np.testing.assert_allclose(cost(space), 0.5, rtol=1e-6)
    np.testing.assert_allclose(cost(space, array([[2.0, 3.0]])), 1.0, rtol=1e-6)
    np.testing.assert_allclose(cost(space._replace(relations=None)), 0.75, rtol=1e-6)
