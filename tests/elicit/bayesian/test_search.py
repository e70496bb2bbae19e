"""The site of the decision boundary near the recommendation."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import array, jit, split

from hare_jax.base import Recourse
from hare_jax.elicit import Bayes, bayesian
from hare_jax.elicit.bayesian import belief as beliefs
from hare_jax.elicit.bayesian import search
from hare_jax.models.blackbox import black_box
from hare_jax.space import action_space

HP = Bayes(num_pool=8, num_local=4, num_cheap=2, max_questions=4, reaches=(0.1, 1.0))
SPACE = action_space([True, True, False], np.zeros(3), np.ones(3))
X, BASE = array([0.1, 0.1, 0.5]), Recourse(array([0.4, 0.3, 0.5]), np.array(True))
NORMAL = array([1.0, 2.0, 0.0]) / np.sqrt(5)
at_boundary = jit(search.at_boundary)


def linear(x):
    return x[0] + 2 * x[1] + 3 * x[2] - 2.5


def without_gradient(x):
    """The same, with a gradient that is NaN."""
    return linear(x) + jnp.sqrt(0 * jnp.sum(x))


def of_probability(rows):
    return 1 / (1 + np.exp(2.5 - rows @ np.array([1, 2, 3])))


@pytest.fixture(scope="module")
def state():
    """A session whose recommendation is the base, on the boundary, which the posterior knows."""
    return at_boundary(HP, jit(bayesian.elicitor(HP).start)(split(0, 1)[0], Partial(linear), X, BASE, SPACE))


def test_ideals_that_are_not_near_are_supposed_to_be_on_it(state):
    start = state._replace(belief=beliefs.init(*prior_of(state)))
    found = at_boundary(HP, start).belief
    near, far, weights = 0, 1, 2
    for other in (near, weights):
        np.testing.assert_array_equal(found.mean[other], start.belief.mean[other])
        np.testing.assert_array_equal(found.cov[other], start.belief.cov[other])
    before, after = (np.asarray(NORMAL @ belief.cov[far] @ NORMAL) for belief in (start.belief, found))
    assert after < 0.95 * before
    along = array([2.0, -1.0, 0.0]) / np.sqrt(5)
    np.testing.assert_allclose(along @ found.cov[far] @ along, along @ start.belief.cov[far] @ along, rtol=0.1)
    distance = [abs(NORMAL @ (belief.mean[far] - BASE.x)) for belief in (start.belief, found)]
    assert distance[1] < distance[0]


def prior_of(state):
    belief = state.belief
    return belief.kinds, state.belief.prior, jnp.zeros(len(belief.mean)), belief.grid, len(belief.tied)


def test_the_same_boundary_again_changes_nothing(state):
    once = at_boundary(HP, state)
    again = at_boundary(HP, at_boundary(HP, once))
    np.testing.assert_allclose(again.belief.mean, once.belief.mean, atol=1e-4)
    np.testing.assert_allclose(again.belief.cov, once.belief.cov, atol=1e-4)
    np.testing.assert_allclose(again.slack, np.sqrt(5) * HP.thickness, rtol=1e-5)


def test_a_boundary_without_a_gradient_has_no_site(state):
    start = state._replace(belief=beliefs.init(*prior_of(state)), slack=array(np.inf))
    found = at_boundary(HP, start._replace(logit_fn=Partial(without_gradient)))
    np.testing.assert_array_equal(found.belief.mean, start.belief.mean)
    np.testing.assert_array_equal(found.belief.cov, start.belief.cov)
    assert np.isinf(found.slack)
    on_host = start._replace(logit_fn=black_box(of_probability))
    assert search.at_boundary(HP, on_host) is on_host
    assert search.at_boundary(replace(HP, boundary_gradient=False), start) is start


def test_a_recourse_that_is_not_valid_is_not_on_the_boundary(state):
    start = state._replace(belief=beliefs.init(*prior_of(state)))
    refused = start._replace(pool=start.pool._replace(best=BASE._replace(valid=np.array(False))))
    found = at_boundary(HP, refused)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found.belief.mean, found.belief.cov)))
    np.testing.assert_array_equal(found.belief.cov, start.belief.cov)
    assert np.isinf(found.slack)


def test_what_replaces_a_harmful_recourse_is_the_best_known_one_that_is_not(state, monkeypatch):
    """Of somebody who is known to want the recourse of the pool that is farthest from the base."""
    drawn = state.pool.drawn
    away = np.where(drawn.valid, np.linalg.norm(np.asarray(drawn.x) - BASE.x, axis=1), 0)
    wanted = np.asarray(drawn.x)[np.argmax(away)]
    belief = state.belief
    sure = belief._replace(
        mean=jnp.broadcast_to(wanted, belief.mean.shape),
        cov=1e-6 * belief.cov,
        log_weight=array([0.0, 0.0, -50.0]),
    )
    harmful = Recourse(2 * array(BASE.x) - wanted, np.array(True))
    monkeypatch.setattr(search, "local_search", lambda *_: jax.tree.map(jnp.asarray, harmful))
    found = jit(partial(search.search, HP))(state._replace(belief=sure), split(3, 1)[0])
    np.testing.assert_array_equal(found.best.x, wanted)
    assert found.best.valid


def test_the_base_is_recommended_where_answers_are_coin_tosses(state):
    """Of somebody who is known to want another recourse of the pool, if the answers say anything."""
    drawn = state.pool.drawn
    wanted = np.asarray(drawn.x)[np.argmax(drawn.valid & np.any(drawn.x != BASE.x[None], axis=1))]
    belief = state.belief
    sure = belief._replace(mean=jnp.broadcast_to(wanted, belief.mean.shape), cov=1e-6 * belief.cov)
    found = jit(partial(search.search, HP))

    def best(log_odds, base=state.pool.base):
        doubted = sure._replace(log_coins=jax.nn.logsumexp(sure.log_weight) + log_odds)
        pool = state.pool._replace(base=base)
        return found(state._replace(belief=doubted, pool=pool), split(3, 1)[0]).best

    assert np.any(best(-0.1).x != BASE.x)
    np.testing.assert_array_equal(best(0.1).x, BASE.x)
    assert np.any(best(0.1, BASE._replace(valid=np.array(False))).x != BASE.x)


def test_the_value_of_a_known_recourse_is_minus_its_cost(state):
    learner = jit(bayesian.elicitor(HP).tell)
    asked = state._replace(question=state.question._replace(a=BASE.x, b=array([0.2, 0.5, 0.5]), asked=jnp.array(True)))
    after = learner(asked, jnp.array(0))
    known = jit(search.pool.members)(after.pool)
    wanted = jax.tree.map(lambda leaf: leaf[None], jit(search._expected)(after, known))
    value = jit(search._values)(after, wanted, known)
    cost = jit(lambda state, one, points: jax.vmap(partial(search._cost, state, one))(points))
    one = jax.tree.map(lambda leaf: leaf[0], wanted)
    np.testing.assert_allclose(value[0], -cost(after, one, known.x), rtol=1e-4, atol=1e-4)
