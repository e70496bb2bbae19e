from typing import NamedTuple

import jax
import numpy as np
import pytest
from spaces import (
    GROUP,
    STEP,
    WIDTH,
    Problems,
    array,
    concatenate,
    full_space,
    jit,
    random_problems,
    random_rows,
    row,
    split,
    stack,
)

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.recourse import METHODS
from hare_jax.recourse.nnce import Nnce

NUM_OPEN, NUM_RANDOM, NUM_ROWS = 40, 40, 60
OPEN, RANDOM = slice(0, NUM_OPEN), slice(NUM_OPEN, NUM_OPEN + NUM_RANDOM)
MARGIN = Nnce().margin


class Solved(NamedTuple):
    problems: Problems
    recourse: Recourse
    present: np.ndarray  # (n,) logits of the factuals


def on_grid(rows):
    """Rows whose ordered columns all lie on one grid, and whose numbers lie within [0, 1]."""
    rows = np.clip(rows, 0, 1)
    ordered = (STEP > 0) & (STEP < 1)
    rows[:, ordered] = np.round(rows[:, ordered] / STEP[ordered]) * STEP[ordered]
    return array(rows)


@pytest.fixture(scope="module")
def rows():
    return on_grid(random_rows(3, NUM_ROWS))


@pytest.fixture(scope="module")
def solved(rows):
    """People whom any value of a training row suits, then some with bounds, directions and closed levels."""
    free = random_problems(0, NUM_OPEN)
    free = free._replace(space=stack([full_space()] * NUM_OPEN), x=on_grid(free.x))
    problems = concatenate([free, random_problems(1, NUM_RANDOM)])
    method, hp = METHODS["nnce"], Nnce(block_size=7)  # many blocks, the last of them not full

    @jit
    def solve(keys, problems):
        def one(key, problem):
            logit_fn = models.classifier(problem.params)
            fitted = method.fit(hp, key, logit_fn, rows, problem.space)
            return method.generate(fitted, key, logit_fn, problem.x, problem.space), logit_fn(problem.x)

        return jax.vmap(one)(keys, problems)

    return Solved(problems, *jax.device_get(solve(split(4, len(problems.x)), problems)))


def logit(params, x):
    first, last = models.to_layers(params)
    return np.maximum(x @ first.weight.T + first.bias, 0) @ last.weight[0] + last.bias[0]


def nearest(problem, rows):
    """The nearest accepted row's values on `x` (d,), or None, and how far away (): all rows one after the other."""
    space, x, params = problem
    best, least = None, np.inf
    for values in rows[logit(params, rows) >= MARGIN]:
        point, distance = x.copy(), 0.0
        for column in np.flatnonzero(space.mutable & (GROUP < 0)):
            low = min(space.lower[column], x[column]) if space.direction[column] <= 0 else x[column]
            high = max(space.upper[column], x[column]) if space.direction[column] >= 0 else x[column]
            value, step = np.clip(values[column], low, high), STEP[column]
            distance += abs(value - x[column])
            if step > 0:
                fewest, most = np.ceil((low - x[column]) / step - 1e-3), np.floor((high - x[column]) / step + 1e-3)
                value = x[column] + step * np.clip(np.round((value - x[column]) / step), fewest, most)
            point[column] = value
        level = np.argmax(values[6:9])
        if space.mutable[6] and x[6 + level] == 0 and space.upper[6 + level] > 0.5:
            point[6:9] = np.eye(3)[level]
            distance += 2
        if distance < least and logit(params, point) >= MARGIN:
            best, least = point, distance
    return best, least


@pytest.mark.parametrize("kind", [OPEN, RANDOM], ids=["open", "random"])
def test_it_is_the_nearest_accepted_row_put_on_the_factual(solved, rows, kind):
    problems, recourse, present = row(solved, kind)
    refused = np.flatnonzero(present < 0)
    expected = {index: nearest(row(problems, index), rows)[0] for index in refused}
    solvable = [index for index in refused if expected[index] is not None]
    assert len(solvable) > 6
    np.testing.assert_array_equal(recourse.valid[refused], [expected[index] is not None for index in refused])
    for index in solvable:
        np.testing.assert_allclose(recourse.x[index], expected[index], atol=1e-5)


def test_values_are_those_of_one_training_row(solved, rows):
    problems, recourse, present = row(solved, OPEN)
    mutable = problems.space.mutable[0]
    moved = np.flatnonzero(recourse.valid & (present < 0))
    for x, x_cf in zip(problems.x[moved], recourse.x[moved], strict=True):
        assert np.abs(rows - x_cf)[:, mutable].max(axis=1).min() < 1e-5
        np.testing.assert_array_equal(x_cf[~mutable], x[~mutable])


def test_an_accepted_factual_stays(solved):
    accepted = solved.present >= MARGIN
    assert accepted.sum() > 6
    assert solved.recourse.valid[accepted].all()
    np.testing.assert_array_equal(solved.recourse.x[accepted], solved.problems.x[accepted])


def test_rows_beyond_the_last_block_count_as_too_far(rows):
    """Only rows with x_0 >= 0.9 are accepted on the factual's immutable column, and they are the farthest."""
    method, key = METHODS["nnce"], jax.random.key(0)
    x = np.zeros(WIDTH, "float32")
    x[[6, 10]] = 1
    data = np.repeat(x[None, :], 16, axis=0)
    data[:, 0] = np.linspace(0.1, 1, 16)
    data[:, 9] = 1  # whoever has it is accepted in any case

    def logit_fn(point):
        return point[0] + point[9] - 0.9

    found = {}
    for num_blocks in (2, 4):
        fitted = method.fit(Nnce(block_size=4, num_blocks=num_blocks), key, jax.tree_util.Partial(logit_fn), data, None)
        found[num_blocks] = jit(method.generate)(fitted, key, jax.tree_util.Partial(logit_fn), x, full_space())
    assert not found[2].valid
    assert found[4].valid
    np.testing.assert_allclose(found[4].x[0], data[14, 0], atol=1e-6)
    np.testing.assert_allclose(found[2].x[0], data[7, 0], atol=1e-6)  # the likeliest of those looked at
