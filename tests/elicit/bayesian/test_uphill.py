"""Recourses along the classifier's gradient."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_relations
from jax.tree_util import Partial
from spaces import array, jit, random_problems, split

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.elicit import Bayes, Range, bayesian, pool
from hare_jax.elicit.bayesian import search, uphill
from hare_jax.elicit.bayesian.learn import learn
from hare_jax.evaluate import metrics
from hare_jax.models.blackbox import black_box
from hare_jax.space import action_space, follow, is_category, own_values, project

NUM, NUM_TARGETS, MARGIN = 40, 8, 1e-3
SPACE = action_space([True] * 4, np.zeros(4), np.ones(4), group=[-1, -1, 0, 0], step=[0, 0, 1, 1])
X = array([0.1, 0.1, 1.0, 0.0])
BASE = Recourse(array([0.9, 0.9, 0.0, 1.0]), np.array(True))
HP = Bayes(num_pool=12, num_local=6, num_cheap=2, max_questions=4, reaches=(0.5, 1.5))


def affine(weight, offset, x):
    return jnp.sum(weight * x) + offset


linear = Partial(affine, array([1.0, 2.0, 0.0, 3.0]), array(-2.0))


def flat(x):
    return jnp.floor(linear(x)) - 1.0


def without_gradient(x):
    """The same as `linear`, with a gradient that is NaN."""
    return linear(x) + jnp.sqrt(0 * jnp.sum(x))


@partial(jit, static_argnums=0)
def climb(logit_fn, targets, space=SPACE):
    return uphill.recourses(logit_fn, X, targets, space, MARGIN)


@jit
@jax.vmap
def of_problem(key, problem):
    space, x, params = problem
    wild = jax.random.uniform(key, (NUM_TARGETS, len(x)), x.dtype, -0.5, 1.5)
    targets = jax.vmap(lambda z: project(space, x, follow(space, x, z)))(wild)
    logit_fn = models.classifier(params)
    found = uphill.recourses(logit_fn, x, targets, space, MARGIN)
    allowed = jax.vmap(lambda z: metrics.feasible(x, z, space).all)(found.x)
    kept = jax.vmap(lambda a, b: own_values(space, x, a) - own_values(space, x, b))(found.x, targets)
    kept = jnp.all(jnp.where(is_category(space), kept, 0) == 0, axis=1)
    return found, targets, jax.vmap(logit_fn)(found.x), jax.vmap(logit_fn)(targets), allowed, kept


@pytest.mark.parametrize("draw", [random_problems, random_relations.random_problems])
def test_they_are_accepted_allowed_and_of_the_target_s_categories(draw):
    found, targets, logits, before, allowed, kept = jax.device_get(of_problem(split(0, NUM), draw(3, NUM)))
    assert np.isfinite(found.x).all()
    assert found.valid[before < MARGIN].mean() > 0.1
    assert (logits[found.valid] >= 0).all()
    assert allowed[found.valid].all()
    assert found.valid[before >= MARGIN].all()
    np.testing.assert_array_equal(found.x[before >= MARGIN], targets[before >= MARGIN])
    if draw is random_problems:  # a limit on the number of changes may undo one of a category
        assert kept.all()


def test_of_a_plane_they_are_the_projection_onto_it():
    target = array([[0.3, 0.2, 1.0, 0.0]])
    found = climb(linear, target)
    want = target[0] + (2.0 + MARGIN - 0.7) / 5 * array([1.0, 2.0, 0.0, 0.0])
    assert found.valid.all()
    np.testing.assert_allclose(found.x[0], want, atol=2e-3)


def test_a_column_at_its_bound_shortens_no_step():
    closed = SPACE._replace(upper=array([1.0, 0.2, 1.0, 1.0]))
    found = climb(lambda x: linear(x) + 0.7, array([[0.7, 0.2, 1.0, 0.0]]), closed)
    assert found.valid.all()
    np.testing.assert_allclose(found.x[0], [0.901, 0.2, 1, 0], atol=2e-3)


def test_an_accepted_target_stays():
    target = array([[0.9, 1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(climb(linear, target).x, target)


@pytest.mark.parametrize("logit_fn", [flat, without_gradient, lambda x: linear(x) - 9, lambda x: jnp.nan * x[0]])
def test_where_nothing_rises_there_is_none(logit_fn):
    found = climb(logit_fn, array([[0.3, 0.2, 1.0, 0.0]]))
    assert not found.valid.any()
    assert np.isfinite(found.x).all()


def test_infinite_bounds_and_a_small_slope_stay_finite():
    free = action_space([True] * 2, [-np.inf] * 2, [np.inf] * 2)
    found = jit(uphill.recourses, static_argnums=0)(
        lambda x: 1e-5 * x[0] - 1, array([0, 0]) * 1.0, array([[0.5, 0.5]]), free, 0.0
    )
    assert np.isfinite(found.x).all()


def test_the_nearer_one_that_is_valid():
    targets = np.zeros((4, 2))
    one = Recourse(array([[1.0, 0], [1.0, 0], [3.0, 0], [3.0, 0]]), np.array([True, False, True, False]))
    other = Recourse(array([[2.0, 0]] * 4), np.array([True, True, True, False]))
    found = uphill.nearer(targets, one, other)
    np.testing.assert_array_equal(found.x[:3, 0], [1, 2, 2])
    np.testing.assert_array_equal(found.valid, [True, True, True, False])


@cache
def started(hp):
    return jit(bayesian.elicitor(hp).start)


@cache
def searched(hp):
    return jit(partial(search.search, hp))


@pytest.fixture(scope="module")
def sessions():
    """The first state, and the same after a search, with and without the gradient."""

    def both(hp, logit_fn):
        state = started(hp)(split(1, 1)[0], logit_fn, X, BASE, SPACE)
        return jax.device_get((state, searched(hp)(state, split(2, 1)[0])))

    on_host = black_box(lambda rows: 1 / (1 + np.exp(-(rows @ np.array([1, 2, 0, 3]) - 2))))
    blind = replace(HP, boundary_gradient=False)
    cases = {"gradient": (HP, linear), "none": (blind, linear), "host": (HP, on_host)}
    return {name: both(*case) for name, case in cases.items()}


def test_the_pool_has_recourses_with_the_category_of_their_target(sessions):
    """The base has the other category, and no accepted point is known with that of the factual."""

    def near(state):
        parts = [state.pool.drawn, state.pool.local]
        return [np.any(part.valid & (part.x[:, 2] == 1) & (part.x[:, :2] < 0.999).all(axis=1)) for part in parts]

    start, later = sessions["gradient"]
    assert all(near(later))
    assert near(start)[0]


def test_without_a_gradient_the_pool_is_that_of_anchors(sessions):
    key_pool = jax.random.split(split(1, 1)[0])[0]
    distance = pool.distances(HP.num_pool, HP.reaches)
    for name in ("none", "host"):
        start, later = sessions[name]
        drawn = jit(pool.draw)(key_pool, start.logit_fn, X, BASE, SPACE, distance, HP.margin)
        np.testing.assert_allclose(start.pool.drawn.x, drawn.x, atol=1e-5)
        assert np.isfinite(later.pool.local.x).all()


def test_the_targets_are_those_that_the_pool_draws():
    """Where all are accepted, both parts are the target points themselves."""
    key = split(5, 1)[0]
    anything = Partial(lambda x: 1.0 + 0 * x[0])
    distance = pool.distances(HP.num_pool, HP.reaches)
    ours = jit(search.draw)(HP, key, anything, X, BASE, SPACE)
    theirs = jit(pool.draw)(key, anything, X, BASE, SPACE, distance, HP.margin)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-6)
    some = jit(search.draw)(HP, key, linear, X, BASE, SPACE)
    accepted = np.asarray(jax.vmap(linear)(array(theirs.x)) >= HP.margin)
    np.testing.assert_allclose(some.x[accepted], theirs.x[accepted], atol=1e-6)


def test_those_out_of_the_ranges_replace_none_within():
    """A range of a level is no bound of the space, so that target points have it, and climb."""
    logit_fn = Partial(affine, array([1.0, 2.0, 0.0, 0.2]), array(-1.5))
    closed = Range(array([-np.inf] * 4), array([np.inf, np.inf, np.inf, 0.5]))
    state = started(HP)(split(1, 1)[0], logit_fn, X, BASE, SPACE)
    restricted = jit(partial(learn, HP))(state, closed)
    for given in (state, restricted):
        local = jax.device_get(searched(HP)(given, split(7, 1)[0])).pool.local
        assert local.valid.any()
        assert (local.x[local.valid][:, 3] == 1).any() != (given is restricted)
