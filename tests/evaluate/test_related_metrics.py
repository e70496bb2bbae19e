"""Metrics in a space with relations: own changes are counted and cost, and every contradiction is found."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from related import OFFSET, SCALE, STEP, WIDTH, contradictions, related_rows, related_space
from spaces import array, jit

from hare_jax import people
from hare_jax.base import Recourse
from hare_jax.evaluate import metrics
from hare_jax.space import project, with_own_change

NUM = 200
SPACE = related_space()
TOTAL, INCOME, RATIO, SAVINGS, RESERVE = 1, 2, 3, 4, 6
WEIGHTS = array(np.arange(1, WIDTH + 1))


def logit_fn(z):
    return z[TOTAL] - 2


def figures(x, x_cf):
    cost = people.loss("weights", WEIGHTS, SPACE)(x, x_cf)
    measures = metrics.measure(logit_fn, x, recourse(x_cf), SPACE, ideal=x, weights=WEIGHTS)
    return measures, metrics.feasible(x, x_cf, SPACE), cost, metrics.violations(x, x_cf, SPACE)


def recourse(x_cf):
    return Recourse(x_cf, jnp.array(True))


run = jit(jax.vmap(figures))


@pytest.fixture(scope="module")
def rows():
    return related_rows(0, NUM)


def test_what_follows_is_neither_counted_nor_costs(rows):
    """Income rises by ten steps: the ratio, the savings and the reserve follow."""
    change = np.zeros(WIDTH)
    change[INCOME] = 10 * STEP[INCOME]
    moved = jax.device_get(jit(jax.vmap(partial(with_own_change, SPACE), in_axes=(0, None)))(rows, change))
    measures, kept, cost, violations = jax.device_get(run(rows, moved))
    assert np.all(moved[:, [RATIO, SAVINGS, RESERVE]] != rows[:, [RATIO, SAVINGS, RESERVE]])
    assert np.all(measures.l0 == 1)
    assert np.all(violations == 0)
    assert kept.immutable.all()
    assert kept.relations.all()
    np.testing.assert_allclose(measures.weighted_cost, (INCOME + 1) * change[INCOME], rtol=1e-4)
    np.testing.assert_allclose(cost, measures.weighted_cost, rtol=1e-6)
    np.testing.assert_allclose(measures.l1, np.abs(moved - rows).sum(axis=1), rtol=1e-5)
    assert np.all(measures.redundancy == 0)


def test_feasible_agrees_with_the_contradictions_of_projected_and_other_points(rows):
    rng = np.random.default_rng(1)
    points = jax.device_get(jit(jax.vmap(partial(project, SPACE)))(rows, array(rng.uniform(-0.5, 1.5, rows.shape))))
    _, kept, _, _ = jax.device_get(run(rows, points))
    assert all(rule.all() for rule in kept)
    broken = points + array(np.where(rng.random(points.shape) < 0.1, 0.05, 0))
    _, kept, _, _ = jax.device_get(run(rows, broken))
    feasible = np.all(np.stack(list(kept)), axis=0)
    contradicts = np.any(np.stack(list(contradictions(rows, broken).values())), axis=0)
    assert 0.1 < feasible.mean() < 0.6
    assert not (feasible & contradicts).any()


def test_each_relation_is_named(rows):
    original = OFFSET + SCALE * rows
    x = rows[(original[:, 0] < original[:, 1] - 2) & (original[:, 1] > 5) & (rows[:, 9] == 1)][:1]
    moves = {"derived": {3: 0.01}, "follows": {6: 0.01}, "inequality": {0: 1.0}, "forbidden": {8: 1.0, 9: -1.0}}
    points = np.repeat(x, len(moves), axis=0)
    for row, move in zip(points, moves.values(), strict=True):
        for column, value in move.items():
            row[column] += value
    points[2, 0] = ((OFFSET + SCALE * x)[0, 1] + 1) / SCALE[0]
    _, kept, _, _ = jax.device_get(run(np.repeat(x, NUM, axis=0), np.resize(points, (NUM, WIDTH))))
    assert not kept.relations[: len(moves)].any(), dict(zip(moves, kept.relations, strict=False))
