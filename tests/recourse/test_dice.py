from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import column, concatenate, full_space, jit, one_unit, random_problems, random_rows, split, stack

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.evaluate import metrics
from hare_jax.recourse import METHODS, dice
from hare_jax.recourse.dice import Dice, log_diversity
from hare_jax.space import action_space

NUM_RANDOM, NUM_DEAD = 40, 8


def kernel(points):
    return 1 / (1 + np.abs(points[..., :, None, :] - points[..., None, :, :]).sum(-1))


def pairs(points):
    """L1 distances (..., m * (m - 1) / 2) between the members of each set."""
    return (1 / kernel(points) - 1)[..., *np.triu_indices(points.shape[-2], 1)]


@pytest.fixture(scope="module")
def problems():
    """Random problems, then some whose classifier accepts x_0 >= 0.725 and is flat where x_0 < 0.6."""
    dead = random_problems(1, NUM_DEAD)
    dead = dead._replace(
        space=stack([full_space()] * NUM_DEAD),
        x=random_rows(2, NUM_DEAD, margin=-0.05) * np.where(np.arange(12) == 0, 0.6, 1).astype("float32"),
        params=stack([one_unit(4 * column(0), -2.4, 1, -0.5)] * NUM_DEAD),
    )
    return concatenate([random_problems(0, NUM_RANDOM), dead])


@pytest.fixture(scope="module")
def solve(problems):
    """Sets of all problems, the logits of their members and whether the space allows them, for a diversity weight."""

    @jit
    def one_program(hp, keys, problems):
        def one(key, problem):
            logit_fn = models.classifier(problem.params)
            found = METHODS["dice"].many(hp, key, logit_fn, problem.x, problem.space)
            allowed = jax.vmap(lambda x_cf: metrics.feasible(problem.x, x_cf, problem.space).all)(found.x)
            return found, jax.vmap(logit_fn)(found.x), allowed

        return jax.vmap(one)(keys, problems)

    descent = replace(Dice().descent, num_attempts=6)
    return lambda weight: jax.device_get(
        one_program(Dice(diversity_weight=weight, descent=descent), split(3, len(problems.x)), problems)
    )


@pytest.fixture(scope="module")
def solved(solve):
    return solve(0.2)


def test_log_diversity_has_finite_gradients_that_part_close_points():
    random = np.random.default_rng(0).random((4, 3), "float32")
    close, equal = random[:1] + 1e-3 * random, np.repeat(random[:1], 4, axis=0)
    sets = np.stack([random, close, equal, np.concatenate([random[:2], random[:2]])])
    values, slopes = jit(jax.vmap(jax.value_and_grad(log_diversity)))(sets)
    expected = np.linalg.slogdet(kernel(sets) + 1e-3 * np.eye(4))[1]
    np.testing.assert_allclose(values, expected, rtol=1e-3)
    assert np.isfinite(slopes).all()
    moved = close + 1e-3 * slopes[1] / np.abs(slopes[1]).max()
    assert pairs(moved).mean() > 1.2 * pairs(close).mean()


def test_members_are_truthful(problems, solved):
    found, logits, allowed = solved
    assert found.x.shape == (len(problems.x), 4, problems.x.shape[1])
    assert np.all(logits[found.valid] >= 0)
    assert np.all(logits[~found.valid] < 0.01)
    assert allowed.all()
    assert found.valid[NUM_RANDOM:].all()  # the flat ones


def test_members_differ_where_any_was_found(solved):
    found = solved[0]
    some = found.valid.all(axis=1)
    assert some.sum() > NUM_RANDOM / 2
    assert np.mean(pairs(found.x)[some] > 1e-3) > 0.9


def test_a_larger_diversity_weight_gives_a_more_diverse_set(solve, solved):
    weak, strong = solve(0.02)[0], solve(1.0)[0]
    some = weak.valid.all(axis=1) & strong.valid.all(axis=1)
    sets = [found.x[some] for found in (weak, solved[0], strong)]
    distance = [pairs(points).mean() for points in sets]
    determinant = [np.linalg.det(kernel(points.astype(float))).mean() for points in sets]
    assert 1.5 * distance[0] < distance[1] < distance[2] / 1.5
    assert 1.5 * determinant[0] < determinant[1] < determinant[2] / 1.5


def test_generate_gives_the_member_whose_boundary_is_nearest(monkeypatch):
    members = jnp.array([[0.2, 0.2], [0.7, 0], [0, 0.9]])  # refused, nearest itself, nearest at the boundary
    found = Recourse(members, jnp.array([False, True, True]))
    monkeypatch.setattr(dice, "_find_set", lambda *_: found)
    space = action_space([True, True], [0, 0], [1, 1])
    logit_fn, x = Partial(lambda z: 2 * z[0] + 3 * z[1] - 1.2), jnp.zeros(2)
    for num_steps, expected in (0, members[1]), (20, [0, 0.4]):
        nearest = jit(dice.generate)(Dice(num_boundary_steps=num_steps), None, logit_fn, x, space)
        assert nearest.valid
        np.testing.assert_allclose(nearest.x, expected, atol=1e-3)
