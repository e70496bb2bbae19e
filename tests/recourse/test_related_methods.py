"""Every method on random spaces with relations: nothing that it returns contradicts them, valid or not.

The derivative of a recourse is compared with differences, with its own changes or their direction held.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods import fit_all, small
from random_relations import DTI, RESERVE, SAVINGS, after_own_change, broken_rules, random_problems
from related import WIDTH, related_rows
from spaces import Problems, array, jit, split, widen

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.recourse import METHODS
from hare_jax.recourse.derivative import constant, on_boundary
from hare_jax.recourse.wachter import Wachter
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import allows, bounds, is_category, own_change, project

NUM, NUM_WISHES = 40, 60
QUICK, OTHERS = ("nnce",), ("ar", "exact", "least_cost")  # the others search by programs, and have their own tests
FOLLOWERS = (DTI, SAVINGS, RESERVE)
STEP, NUM_NEWTON = 1e-6, 4  # of the central differences, and of the way back to the level of the logit
SLACK, NEAR_MARGIN, AT_BOUND = 1e-4, 1e-4, 1e-12


class Case(NamedTuple):
    """A method's answers to all problems."""

    name: str
    problems: Problems
    recourse: Recourse
    judged: Any  # logits (n,) and whether the move is allowed (n,)


@jit
def judge(problems, x_cf):
    def one(space, x, params, x_cf):
        return models.logit(params, x_cf), allows(space, x, x_cf)

    return jax.vmap(one)(*problems, x_cf)


@partial(jit, static_argnums=0)
def generate_all(name, fitted, keys, problems):
    def one(fitted, key, space, x, params):
        return METHODS[name].generate(fitted, key, models.classifier(params), x, space)

    return jax.vmap(one)(fitted, keys, *problems)


@pytest.fixture(scope="module")
def problems():
    return random_problems(1, NUM)


@pytest.fixture(scope="module")
def easy(problems):
    """Which of the problems a random search solves with more than one in ten of its guesses."""
    wishes = array(np.random.default_rng(17).uniform(-0.3, 1.3, (NUM_WISHES, WIDTH)))

    def share(space, x, params):
        points = jax.vmap(partial(project, space, x))(wishes)
        return jnp.mean(jax.vmap(partial(models.logit, params))(points) >= 0.05)

    return jit(jax.vmap(share))(*problems) > 0.1


@pytest.fixture(
    scope="module",
    params=[
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in METHODS if name not in OTHERS
    ],
)
def case(request, problems):
    fitted = fit_all(request.param, split(14, NUM), problems, related_rows(9, 64), small)
    recourse = jax.device_get(generate_all(request.param, fitted, split(15, NUM), problems))
    return Case(request.param, problems, recourse, jax.device_get(judge(problems, recourse.x)))


def test_nothing_contradicts_the_relations(case):
    found = {rule: broken.sum() for rule, broken in broken_rules(case.problems, case.recourse.x).items()}
    assert set(found.values()) == {0}, found
    assert case.judged[1].all()


def test_valid_is_truthful(case):
    logits, valid = case.judged[0], case.recourse.valid
    assert np.all(logits[valid] >= 0)
    assert np.all(logits[~valid] < 0.01)


def test_easy_problems_are_solved(case, easy):
    assert easy.sum() > NUM / 3
    assert case.recourse.valid[easy].mean() >= 0.8  # with a small budget


class Found(NamedTuple):
    """The result of a search, as a fitted method that returns it."""

    recourse: Recourse
    hp: Wachter = Wachter()


def found_already(found, key, logit_fn, x, space):
    return found.recourse


DECORATED = {decorate: decorate(found_already) for decorate in (on_boundary, constant)}


@partial(jit, static_argnums=0)
def derivatives(decorate, problems, recourses, directions):
    """The decorated recourses (n, d), and their derivatives (n, d) in the directions of (params, x)."""

    def one(space, x, params, recourse, direction):
        def point(params, x):
            return DECORATED[decorate](Found(recourse), None, models.classifier(params), x, space).x

        return jax.jvp(point, (params, x), direction)

    return jax.vmap(one)(*problems, recourses, directions)


@partial(jit, static_argnums=0)
def differences(decorate, problems, recourses, directions):
    """Central differences (n, d), and whether they are those of a smooth function: no inequality is active, ()."""

    def one(space, x, params, recourse, direction):
        ends = [move(decorate, space, x, params, recourse, direction, step) for step in (STEP, -STEP)]
        relations = space.relations
        slack = jnp.maximum(relations.limits, relations.coefficients @ x) - relations.coefficients @ recourse.x
        within = jnp.minimum(recourse.x - space.lower, space.upper - recourse.x)[jnp.array(FOLLOWERS)]
        return (ends[0] - ends[1]) / (2 * STEP), jnp.all(slack > SLACK) & jnp.all(within > SLACK)

    return jax.vmap(one)(*problems, recourses, directions)


def move(decorate, space, x, params, recourse, direction, step):
    """The recourse (d,) after a `step` () in the direction of (params, x), by Newton's method on the logit."""
    own, (lower, upper) = own_change(space, x, recourse.x), bounds(space, x)
    keeps = is_category(space) | (recourse.x <= lower + AT_BOUND) | (recourse.x >= upper - AT_BOUND)
    if decorate is constant:  # columns that follow others keep their own change
        keeps = (keeps | (space.step == 0)) & ~np.isin(np.arange(WIDTH), FOLLOWERS)
    fixed = recourse.valid & (own != 0) & keeps
    scaled = recourse.valid & (own != 0) & ~keeps & (space.step == 0)
    level = models.logit(params, recourse.x)
    moves = jnp.any(scaled) & (jnp.abs(level - MARGIN) < NEAR_MARGIN)
    new_params, new_x = jax.tree.map(lambda leaf, tangent: leaf + step * tangent, (params, x), direction)

    def at(t):
        change = jnp.where(fixed, x + own - new_x, jnp.where(scaled, t * own, own))
        return after_own_change(space, new_x, change)

    def newton(_, t):
        excess, slope = jax.value_and_grad(lambda t: models.logit(new_params, at(t)) - level)(t)
        return jnp.where(moves, t - excess / jnp.where(slope == 0, 1, slope), t)

    return at(jax.lax.fori_loop(0, NUM_NEWTON, newton, jnp.ones((), x.dtype)))


def compare(decorate, case):
    """The share of rows with the same derivative as by differences, of those that have no active inequality."""
    problems, recourse = widen((case.problems, case.recourse))
    rng = np.random.default_rng(16)
    directions = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), (problems.params, problems.x))
    with jax.enable_x64(True):
        points, slopes = jax.device_get(derivatives(decorate, problems, recourse, directions))
        recourse = Recourse(points, recourse.valid)
        expected, smooth = jax.device_get(differences(decorate, problems, recourse, directions))
    assert np.isfinite(slopes).all()
    assert smooth.sum() >= NUM / 8
    return (np.abs(slopes - expected) <= 1e-4 * (1 + np.abs(expected))).all(axis=1)[smooth].mean()


def test_derivative_of_rows(case):
    if case.name != "nnce":
        pytest.skip("its recourses are not training rows")
    assert compare(constant, case) == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", ["growing_spheres", "wachter"], indirect=True)
def test_derivative_at_the_boundary(case):
    assert compare(on_boundary, case) == 1
