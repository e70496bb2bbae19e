"""The way along the boundary to a nearer recourse, and how near the methods that take it come to the optimum."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import CHANGEABLE, array, column, full_space, jit, one_unit, random_problems, split

from hare_jax import models
from hare_jax.recourse import METHODS
from hare_jax.recourse.sparsify import sparsify
from hare_jax.space import action_space, allows, project

NUM = 60
MARGIN = 1e-3


@pytest.fixture(scope="module")
def problems():
    return random_problems(50, NUM)


@pytest.fixture(scope="module")
def points(problems):
    """Random allowed points, of which about half are accepted."""
    targets = array(np.random.default_rng(51).uniform(0, 1, problems.x.shape))
    return jax.device_get(jit(jax.vmap(project))(problems.space, problems.x, targets))


@pytest.fixture(scope="module")
def solve(problems, points):
    """The recourses from the `points` with a number of restored features, their logits, and which are allowed."""

    @jit
    def one_program(num_restored, problems, points):
        def one(space, x, params, point):
            logit_fn = models.classifier(params)
            found = sparsify(logit_fn, x, point, space, margin=MARGIN, num_restored=num_restored)
            return found, logit_fn(found.x), allows(space, x, found.x)

        return jax.vmap(one)(*problems, points)

    return lambda num_restored: jax.device_get(one_program(num_restored, problems, points))


def distances(problems, points):
    return np.abs(points - problems.x).sum(axis=1)


def test_the_recourse_is_valid_nearer_and_changes_no_other_feature(problems, points, solve):
    found, logits, allowed = solve(20)
    accepted = np.asarray(jit(jax.vmap(models.logit))(problems.params, points)) >= MARGIN
    assert NUM / 4 < accepted.sum() < NUM
    assert found.valid[accepted].all()
    assert allowed.all()
    assert np.all(logits[found.valid] >= 0)
    assert np.all(logits[~found.valid] < MARGIN)
    assert not np.any((found.x != problems.x) & (points == problems.x))
    plain = solve(0)[0]
    before, after = (distances(problems, each.x)[accepted] for each in (plain, found))
    assert np.all(after <= before + 1e-6)
    assert after.mean() < 0.6 * before.mean()
    num_before, num_after = (np.sum((each.x != problems.x)[accepted]) for each in (plain, found))
    assert num_after < 0.5 * num_before


def test_the_number_of_restored_features_is_a_limit(problems, points, solve):
    changed = [np.sum(solve(number)[0].x != problems.x) for number in (0, 1, 20)]
    assert changed[0] > changed[1] > changed[2]


def nearest_by_enumeration(x, weights, offset):
    """L1 of the nearest accepted point on a grid of three ordered columns and a two-level category."""
    grid = [np.arange(0, 1.01, 0.125)] * 3 + [[0, 1]]
    points = np.array(list(product(*grid)))
    return np.abs(points - np.asarray(x))[points @ weights + offset >= MARGIN].sum(axis=1).min()


@pytest.mark.parametrize("category_weight", [0.1, 3.0])
def test_ordered_columns_and_a_category_end_within_a_step_of_the_optimum(category_weight):
    """The category is restored where it is not needed, and kept where it replaces the others."""
    space = action_space([True] * 4, [0] * 4, [1] * 4, step=[0.125, 0.125, 0.125, 1])
    weights, offset = np.array([1, 2, 0.5, category_weight]), -2.51
    x, point = jnp.zeros(4), jnp.array([1, 0.875, 0.75, 1])
    logit_fn = jax.tree_util.Partial(lambda z: jnp.dot(weights, z) + offset)
    found = jit(partial(sparsify, logit_fn, space=space, margin=MARGIN))(x, point)
    assert found.valid
    assert 0 <= float(found.x.sum()) - nearest_by_enumeration(x, weights, offset) <= 0.125


@pytest.mark.parametrize("name", ["wachter", "growing_spheres", pytest.param("dice", marks=pytest.mark.slow)])
def test_the_cheapest_column_alone_changes(name):
    """The optimum of a linear classifier, far from the bounds, moves the column of the greatest weight."""
    continuous = np.flatnonzero(CHANGEABLE)[:2]
    weights = column(continuous[0]) + 0.6 * column(continuous[1])
    x = array(np.full((8, len(weights)), 0.2))
    x[:, 5:] = np.eye(len(weights))[[6, 10], 5:].sum(axis=0)
    space, params = full_space(), one_unit(weights, 0, 1, -0.6)
    generate = partial(METHODS[name].generate, METHODS[name].hyperparams())
    found = jit(jax.vmap(lambda key, x: generate(key, models.classifier(params), x, space)))(split(2, 8), x)
    assert found.valid.all()
    expected = (0.6 + MARGIN - weights @ x[0]) / weights.max()
    np.testing.assert_allclose(np.abs(found.x - x).sum(axis=1), expected, rtol=0.02)
