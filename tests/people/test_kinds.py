"""Each kind of person by its closed form, and what its draws promise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array, jit, split

from hare_jax.people import PERSONS, Population, User, cost_weights, loss, utility
from hare_jax.people.changes import changed, first_columns
from hare_jax.people.drift import Drift
from hare_jax.people.few_features import FewFeatures
from hare_jax.people.fixed_l1 import FixedCosts
from hare_jax.people.mahalanobis import Mahalanobis
from hare_jax.people.percentile import Percentile
from hare_jax.people.weighted_ideal import WeightedIdeal
from hare_jax.space import action_space

NUM = 200
GROUP, STEP = np.array([-1, -1, -1, 0, 0, 0, -1]), np.array([0, 0, 1, 1, 1, 1, 0])
SPACE = action_space(np.arange(7) < 6, np.zeros(7), [1, 1, 1, 1, 1, 1, np.inf], group=GROUP, step=STEP)
X, IDEAL = array([0.2, 0.5, 0.0, 1.0, 0.0, 0.0, 0.7]), array([0.9, 0.1, 1.0, 0.0, 1.0, 0.0, 0.7])
Z = array([0.6, 0.5, 1.0, 0.0, 0.0, 1.0, 0.7])  # changes a number, the binary and the group
WEIGHTS, FEATURE = array([1.0, 2.0, 0.5, 0.25, 1.0, 0.75, 3.0]), array([0, 1, 2, 3, 3, 3, 6])
FACTOR = array(np.random.default_rng(0).normal(size=(7, 7)))
MOVE, CHANGE = Z - IDEAL, np.abs(Z - X)
COST = np.sum(WEIGHTS * CHANGE)


def skewed(u):
    return 1 - (1 - u) ** 3


LOSSES = {
    "ideal": (IDEAL, np.linalg.norm(MOVE)),
    "weights": (WEIGHTS, COST),
    "weighted_ideal": (WeightedIdeal(IDEAL, WEIGHTS), np.sqrt(np.sum(WEIGHTS * MOVE**2))),
    "l1_ideal": (IDEAL, np.abs(MOVE).sum()),
    "mahalanobis": (Mahalanobis(IDEAL, FACTOR), np.sqrt(MOVE @ FACTOR.T @ FACTOR @ MOVE)),
    "dont_touch": (WEIGHTS, COST),
    "few_features": (FewFeatures(WEIGHTS, FEATURE), 3 + COST / (1 + COST)),
    "percentile": (
        Percentile(WEIGHTS, np.zeros_like(X), np.full_like(X, 2)),
        np.sum(WEIGHTS * np.abs(skewed(Z / 2) - skewed(X / 2))),
    ),
    "log_cost": (WEIGHTS, np.sum(WEIGHTS * np.log(1 + 10 * CHANGE))),
    "lexicographic": (WEIGHTS, COST),
    "fixed_l1": (FixedCosts(np.arange(7).astype(X.dtype), WEIGHTS, FEATURE), 0 + 2 + 3 + COST),
    "quadratic": (FACTOR, (Z - X) @ FACTOR.T @ FACTOR @ (Z - X)),
    "drift": (Drift(X, IDEAL), np.linalg.norm(MOVE)),
    "fatigue": (IDEAL, np.linalg.norm(MOVE)),
}
SQUARED = ("ideal", "weighted_ideal", "mahalanobis", "drift", "fatigue")  # their utility is the negative squared loss


def draws(kind, key):
    shared = {"ideal": User(IDEAL, jnp.array(True))} if PERSONS[kind].of_ideal else {}
    return PERSONS[kind].draw(Population(), key, None, X, SPACE, **shared).hidden


@pytest.fixture(scope="module")
def hidden():
    """Parameters of every kind but those that need a search, for `NUM` people; the ideals are all the same."""

    def one(key):
        return {kind: draws(kind, key) for kind in PERSONS if kind != "ideal"}

    return jax.device_get(jit(jax.vmap(one))(split(3, NUM)))


@pytest.mark.parametrize("kind", PERSONS)
def test_loss_and_utility_are_the_closed_form(kind):
    hidden, expected = LOSSES[kind]
    np.testing.assert_allclose(loss(kind, hidden)(X, Z), expected, rtol=1e-5)
    negative = -(expected**2) if kind in SQUARED else -expected
    np.testing.assert_allclose(utility(kind, hidden)(X, Z), negative, rtol=1e-5)


def test_the_columns_of_a_group_are_one_feature():
    np.testing.assert_array_equal(first_columns(SPACE), FEATURE)
    assert np.flatnonzero(changed(FEATURE, X, Z)).tolist() == [0, 2, 3]
    assert not changed(FEATURE, X, X + 1e-6).any()


def test_the_matrix_of_the_mahalanobis_distance_is_well_conditioned(hidden):
    singular = np.linalg.svd(hidden["mahalanobis"].factor, compute_uv=False)
    condition = (singular[:, 0] / singular[:, -1]) ** 2
    assert np.median(condition) > 5
    assert condition.max() <= 25 * (1 + 1e-4)


def test_the_matrix_of_quadratic_costs_has_norm_one(hidden):
    np.testing.assert_allclose(np.linalg.norm(hidden["quadratic"], 2, axis=(1, 2)), 1, rtol=1e-5)


def test_some_features_but_not_all_must_not_change(hidden):
    kept = hidden["dont_touch"] == 50
    assert not kept[:, 6].any()  # immutable
    assert np.all(kept[:, 3:6].all(axis=1) == kept[:, 3:6].any(axis=1))
    features = kept[:, [0, 1, 2, 3]].sum(axis=1)
    assert features.min() == 1
    assert features.max() <= 3
    others = hidden["dont_touch"][~kept]
    assert others.min() >= np.float32(0.1)
    assert others.max() <= 5


def test_the_weights_of_an_order_are_powers_of_sixteen(hidden):
    weights = hidden["lexicographic"] * np.where(GROUP < 0, 1, 2)
    assert np.all(weights[:, 3:6] == weights[:, 3:4])
    np.testing.assert_array_equal(weights[:, 6], 16.0**-4)  # an immutable feature is the last
    ordered = np.sort(weights[:, :4], axis=1)
    np.testing.assert_array_equal(ordered, np.broadcast_to(16.0 ** -np.arange(4)[::-1], ordered.shape))
    assert len(np.unique(weights, axis=0)) == 24  # all orders


def test_the_first_feature_that_differs_decides():
    """By more than 1/15 of the most that the later ones can differ."""
    weights = array([1, 1 / 16, 1 / 256])
    prefers_less = partial(utility("lexicographic", weights), np.zeros_like(weights))
    assert prefers_less(array([0.1, 1.0, 1.0])) > prefers_less(array([0.2, 0.0, 0.0]))
    assert prefers_less(array([0.2, 0.1, 1.0])) > prefers_less(array([0.2, 0.2, 0.0]))
    assert prefers_less(array([0.2, 0.2, 0.1])) > prefers_less(array([0.2, 0.2, 0.2]))


def test_quantiles_are_within_bounds_that_contain_the_factual(hidden):
    drawn = jax.tree.map(lambda leaf: leaf[0], hidden["percentile"])
    np.testing.assert_array_equal(drawn.lower, np.zeros(7))
    np.testing.assert_array_equal(drawn.width, np.ones(7))  # 1 in place of an infinite bound
    beyond = PERSONS["percentile"].draw(Population(), jax.random.key(0), None, X + 1, SPACE).hidden
    np.testing.assert_allclose(beyond.lower + beyond.width, X + 1, rtol=1e-6)


def test_weights_are_distributed_as_those_of_the_kind_weights(hidden):
    for kind in ("weighted_ideal", "few_features", "percentile", "log_cost", "fixed_l1"):
        weights = getattr(hidden[kind], "weights", hidden[kind])
        assert weights.min() >= np.float32(0.1)
        assert weights.max() <= 5
    expected = jit(jax.vmap(partial(cost_weights, x=X)))(split(3, NUM))
    np.testing.assert_array_equal(hidden["log_cost"], expected)


def test_the_first_ideal_of_a_drift_is_half_as_far_as_the_factual(hidden):
    first, last = hidden["drift"]
    distance = np.linalg.norm(first - last, axis=1)
    most = np.linalg.norm(X - IDEAL) / 2
    assert distance.max() <= most * (1 + 1e-5)  # less where it is clipped
    assert np.median(distance) > most / 3
    assert first.min() >= 0
    np.testing.assert_array_equal(first[:, 6], last[:, 6])  # immutable
