from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import numpy as np
import pytest
from spaces import array, jit, row, split, stack

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.evaluate import metrics
from hare_jax.recourse import METHODS
from hare_jax.recourse.ar import Ar
from hare_jax.recourse.knapsack import Items, knapsack
from hare_jax.space import ActionSpace, action_space

# columns: 0-2 ordered, 3 binary, 4-6 a group, 7 immutable; in the mixed problems columns 0 and 1 are continuous
STEP = np.array([0.25, 0.2, 1 / 15, 1, 1, 1, 1, 0])
GROUP = np.array([-1, -1, -1, -1, 0, 0, 0, -1])
WIDTH, NUM = len(STEP), 20
GRID, MIXED = slice(0, NUM), slice(NUM, 2 * NUM)
MARGIN, GAP = Ar().margin, Ar().gap


class Solved(NamedTuple):
    space: ActionSpace
    x: np.ndarray
    params: models.Params
    recourse: Recourse
    logits: np.ndarray  # of the recourses
    allowed: np.ndarray  # by `metrics`


def draw(rng, continuous):
    step = np.where(np.arange(WIDTH) < 2, 0, STEP) if continuous else STEP
    direction = np.where(GROUP < 0, rng.choice([-1, 0, 0, 0, 1], WIDTH), 0)
    upper = np.where(GROUP < 0, 1, rng.random(WIDTH) < 0.8)
    space = action_space(np.arange(WIDTH) < 7, np.zeros(WIDTH), upper, direction, GROUP, step)
    x = rng.random(WIDTH)
    x[0], x[3], x[4:7] = rng.integers(5) / 4, rng.integers(2), np.eye(3)[rng.integers(3)]
    return space, x


@jit
def draw_params(keys):
    return jax.vmap(lambda key: models.init(key, WIDTH, ()))(keys)


@partial(jit, static_argnums=0)
def generate_all(name, keys, problems):
    def one(key, space, x, params):
        logit_fn = models.classifier(params)
        recourse = METHODS[name].generate(METHODS[name].hyperparams(), key, logit_fn, x, space)
        return recourse, logit_fn(recourse.x), metrics.feasible(x, recourse.x, space).all

    return jax.vmap(one)(keys, *problems)


@pytest.fixture(scope="module")
def problems():
    """Linear classifiers that refuse everyone by a bit, or by more than all changes together may gain."""
    rng = np.random.default_rng(0)
    spaces, rows = zip(*[draw(rng, continuous) for continuous in [False] * NUM + [True] * NUM], strict=True)
    (layer,) = models.to_layers(jax.device_get(draw_params(split(1, 2 * NUM))))
    weight, x = 12 * layer.weight, array(rows)
    bias = -rng.uniform(0.05, 4, (2 * NUM, 1)) - (weight[:, 0] * x).sum(axis=1, keepdims=True)
    return stack(spaces), x, models.from_layers([(weight, array(bias))])


@pytest.fixture(scope="module")
def solved(problems):
    return Solved(*problems, *jax.device_get(generate_all("ar", split(2, 2 * NUM), problems)))


def least_l1(space, x, params, margin):
    """L1 of the cheapest allowed point of logit `margin` or more, infinite if there is none.

    Every combination of the columns that move in steps, and for each the continuous ones, steepest first, as needed.
    """
    (layer,) = models.to_layers(params)
    weight, bias = layer.weight[0].astype(float), layer.bias[0].astype(float)
    space, x = jax.tree.map(lambda leaf: leaf.astype(float), (space, x))
    lower = np.where((space.mutable > 0) & (space.direction <= 0), np.minimum(space.lower, x), x)
    upper = np.where((space.mutable > 0) & (space.direction >= 0), np.maximum(space.upper, x), x)
    choices = []
    for column in range(4):
        step = space.step[column]
        if step > 0:
            fewest, most = (lower[column] - x[column]) / step, (upper[column] - x[column]) / step
            choices.append(x[column] + step * np.arange(np.ceil(fewest - 1e-3), np.floor(most + 1e-3) + 1))
        else:
            choices.append(x[column : column + 1])
    levels = np.eye(3)[upper[4:7] > 0.5]
    points = np.array([[*numbers, *level, x[7]] for *numbers, level in product(*choices, levels)])
    cost, need = np.abs(points - x).sum(axis=1), margin - points @ weight - bias
    for column in sorted(np.flatnonzero(space.step[:2] == 0), key=lambda column: -abs(weight[column])):
        reach = (upper[column] - x[column]) if weight[column] > 0 else (x[column] - lower[column])
        moved = np.clip(need / abs(weight[column]), 0, reach)
        cost, need = cost + moved, need - moved * abs(weight[column])
    return np.min(cost, where=need <= 1e-9, initial=np.inf)


@pytest.mark.parametrize("kind", [GRID, MIXED], ids=["grid", "mixed"])
def test_it_is_the_cheapest_of_all_allowed_points(solved, kind):
    space, x, params, recourse, *_ = row(solved, kind)
    problems = [row((space, x, params), index) for index in range(NUM)]
    least = np.array([least_l1(*problem, MARGIN - 1e-5) for problem in problems])
    enough = np.array([least_l1(*problem, 1.3 * MARGIN) for problem in problems])  # it aims at a bit above the margin
    assert NUM / 2 < np.isfinite(least).sum() < NUM
    np.testing.assert_array_equal(recourse.valid, np.isfinite(least))
    found = np.abs(recourse.x - x).sum(axis=1)[recourse.valid]
    assert np.all(found >= least[recourse.valid] - 1e-5)
    assert np.all(found <= enough[recourse.valid] + GAP + 1e-5)


def test_every_answer_is_allowed_and_truthful(solved):
    assert solved.allowed.all()
    assert np.all(solved.logits[solved.recourse.valid] >= MARGIN - 1e-5)
    assert np.all(solved.logits[~solved.recourse.valid] < MARGIN)


def test_random_search_finds_nothing_cheaper(problems, solved):
    mixed = row(problems, MIXED)
    other, *_ = jax.device_get(generate_all("growing_spheres", split(3, NUM), mixed))
    assert np.all(solved.recourse.valid[MIXED][other.valid])
    ours, theirs = (
        np.abs(points - mixed[1]).sum(axis=1)[other.valid] for points in (solved.recourse.x[MIXED], other.x)
    )
    assert len(theirs) > NUM / 2
    assert np.all(ours <= theirs + GAP + 1e-5)


def test_the_knapsack_is_exact_where_greed_is_not():
    """The item of the best rate overshoots; two of the others are what is needed."""
    items = Items(*array([[1.0, 0.55, 0.5], [1.0, 0.6, 0.6], [1.0, 1.0, 1.0]]), np.ones(3, bool))
    needs = array([0.3, 0.9, 1.02, 1.2, 1.52])
    units = jit(jax.vmap(lambda need: knapsack(items, need, gap=1e-4, num_nodes=100)))(needs)
    np.testing.assert_array_equal(units[:, 0], [0, 1, 0, 1, 1])
    np.testing.assert_allclose(units @ items.cost, [0.6, 1, 1.2, 1.6, 1.6], rtol=1e-5)
