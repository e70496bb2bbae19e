"""Projections, paths and tests of allowed points keep all relations of a space."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from related import OFFSET, RESERVED, SAVED, SCALE, STEP, WIDTH, contradictions, related_rows, related_space
from spaces import array, jit

from hare_jax.base import Recourse
from hare_jax.solvers.boundary import scale_back
from hare_jax.space import (
    Link,
    action_space,
    allows,
    along,
    between,
    own_change,
    project,
    relate,
    relax,
    settle,
    with_own_change,
)

NUM = 500
FRACTIONS = jnp.linspace(0, 1, 9)
is_allowed = jit(allows)


def answers_row(space, x, wish):
    point = project(space, x, wish)
    path = jax.vmap(partial(along, space, x, point))(FRACTIONS)
    other = project(space, x, wish[::-1])
    bridge = jax.vmap(partial(between, space, x, point, other))(FRACTIONS)
    return {
        "point": point,
        "again": project(space, x, point),
        "settled": settle(space, x, point),
        "relaxed": relax(space, x, wish),
        "path": path,
        "allowed": jax.vmap(partial(allows, space, x))(path),
        "ends": jnp.stack([point, other]),
        "bridge": bridge,
        "bridge allowed": jax.vmap(partial(allows, space, x))(bridge),
        "inverse": with_own_change(space, x, own_change(space, x, point)),
        "of_x": project(space, x, x),
    }


@pytest.fixture(scope="module")
def rows():
    return related_rows(0, NUM)


@pytest.fixture(scope="module")
def answers(rows):
    wishes = np.random.default_rng(1).uniform(-0.5, 1.5, (NUM, WIDTH))
    wishes[:50][np.random.default_rng(2).random((50, WIDTH)) < 0.3] = np.nan
    run = jax.jit(jax.vmap(partial(answers_row, related_space())))
    return jax.device_get(run(rows, array(wishes)))


def test_points_contradict_no_relation(rows, answers):
    for name in ("point", "again", "settled", "inverse"):
        found = {rule: broken.sum() for rule, broken in contradictions(rows, answers[name]).items()}
        assert set(found.values()) == {0}, (name, found)
    assert (np.abs(answers["point"] - rows).sum(axis=1) > 0).mean() > 0.95


def test_every_point_of_a_path_is_allowed_and_contradicts_nothing(rows, answers):
    assert answers["allowed"].mean() > 0.98  # the way to a point that keeps the bounds of a ratio may leave them
    for index in range(len(FRACTIONS)):
        broken = contradictions(rows, answers["path"][:, index])
        assert all(rule[answers["allowed"][:, index]].sum() == 0 for rule in broken.values())


def test_allowed_points_between_two_allowed_points_contradict_nothing(rows, answers):
    assert answers["bridge allowed"].mean() > 0.95
    for index in range(len(FRACTIONS)):
        broken = contradictions(rows, answers["bridge"][:, index])
        assert not any(rule[answers["bridge allowed"][:, index]].any() for rule in broken.values())
    np.testing.assert_allclose(answers["bridge"][:, [0, -1]], answers["ends"], atol=2e-6)


def test_projection_is_idempotent_and_leaves_the_factual(rows, answers):
    np.testing.assert_allclose(answers["again"], answers["point"], atol=2e-6)
    np.testing.assert_allclose(answers["inverse"], answers["point"], atol=2e-6)
    np.testing.assert_array_equal(answers["of_x"], rows)
    assert np.isfinite(answers["relaxed"]).all()


def test_contradictions_are_not_allowed(rows):
    """Each relation broken on its own, from a row in which it holds."""
    space, x = related_space(), rows[(rows[:, 0] * SCALE[0] < rows[:, 1] * SCALE[1]) & (rows[:, 9] == 1)][0]
    income = OFFSET[2] + SCALE[2] * x[2]
    rise = -10 if x[2] > 0.5 else 10  # of the income, after which the savings stay, and the reserve moves with them
    ratio = (OFFSET[1] + SCALE[1] * x[1]) / (income + rise) / SCALE[3]
    reserve = x[6] + RESERVED * SAVED * rise / SCALE[6]
    moves = {
        "derived": {3: x[3] + 0.01},
        "follows": {6: x[6] + 0.01},
        "unmoved cause": {1: x[1] / 2},  # the ratio stays as it was
        "inequality": {0: (x[1] * SCALE[1] + 1) / SCALE[0]},
        "education": {8: 1.0, 9: 0.0},
        "unmoved child": {2: x[2] + rise * STEP[2], 3: ratio, 6: reserve},
    }
    for name, move in moves.items():
        point = x.copy()
        for column, value in move.items():
            point[column] = value
        assert not bool(is_allowed(space, x, point)), name


def test_the_gradient_of_a_relaxed_point_includes_what_follows(rows):
    space, x = related_space(max_changes=None), jnp.asarray(rows[0])

    def ratio(total):
        return relax(space, x, x.at[1].set(total))[3]

    income = OFFSET[2] + SCALE[2] * rows[0, 2]
    expected = SCALE[1] / SCALE[3] / income
    np.testing.assert_allclose(jit(jax.grad(ratio))(x[1] * 0.99 + 0.005), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"links": [(5, ("column", 0))]}, "links: must name columns from 0 to 1; got"),
        (
            {"links": [(0, ("column", 1)), (1, ("column", 0))]},
            r"links: must not follow each other in a circle; got \[0, 1\]",
        ),
        ({"links": [(0, ("column", 1)), (0, ("column", 1))]}, "links: must hold one link for a column; got 0"),
        ({"coefficients": [[1.0]], "limits": [0.0]}, r"coefficients: must have shape \(m, 2\); got \(1, 1\)"),
        ({"coefficients": [[1.0, 2.0]]}, "limits: must have one entry for each row of coefficients; got"),
        ({"max_changes": 0}, "max_changes: must be a whole number from 1; got 0"),
        ({"forbidden": [[1, 0], [0, 1]]}, "forbidden: must be boolean of shape"),
    ],
)
def test_wrong_relations(wrong, message):
    if "links" in wrong:
        wrong = {"links": [Link(*link) for link in wrong["links"]]}
    with pytest.raises(ValueError, match=message):
        relate(2, **wrong)


@pytest.mark.parametrize("max_changes", [None, 1])
def test_a_space_with_forbidden_levels_alone(max_changes):
    """Without links and inequalities there are no rows to repair."""
    forbidden = np.zeros((3, 3), bool)
    forbidden[1, 0] = forbidden[2, 0] = forbidden[2, 1] = True
    space = action_space(
        [True] * 4,
        [0] * 4,
        [1] * 4,
        group=[-1, 0, 0, 0],
        relations=relate(4, forbidden=np.pad(forbidden, ((1, 0), (1, 0))), max_changes=max_changes),
    )
    x, wish, recourse = array([0.2, 0.0, 1.0, 0.0]), array([0.9, 1.0, 0.0, 0.5]), array([0.9, 0.0, 0.0, 1.0])
    expected = [x[0] if max_changes else 0.9, 0.0, 0.0, 1.0]
    np.testing.assert_allclose(jit(project)(space, x, wish), expected, atol=1e-6)

    @jit
    def scaled_back(x, recourse):
        return scale_back(lambda z: z[0] + z[3] - 1.1, x, Recourse(recourse, jnp.array(True)), space)

    assert bool(scaled_back(x, recourse).valid)


def test_a_point_with_an_unmoved_child_but_for_rounding_is_not_allowed(rows):
    space, x = related_space(), rows[np.argmax((rows[:, 2] < 0.5) & (rows[:, 4] > 0.3))]
    change = np.zeros(WIDTH, x.dtype)
    change[2], change[4] = 10 * STEP[2], -3 * STEP[4]  # savings follow by 3 steps, less 3
    point = jit(with_own_change)(space, x, change)
    np.testing.assert_allclose(point[4], x[4], atol=1e-6)
    assert not bool(is_allowed(space, x, point))
