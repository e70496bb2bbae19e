"""Expected losses against draws, and differences of losses as those of utilities where the losses are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array

from hare_jax.elicit.bayesian.losses import SQUARED, Gauge, Pair, from_middle, gauge_of, in_utilities
from hare_jax.people import PERSONS

A, B = np.array([0.3, 0.1, 0.9]), np.array([0.5, 0.4, 0.2])
APART = np.linalg.norm(A - B)
X, Z = array([0.2, 0.7, 0.5]), array([0.6, 0.7, 0.1])
MEAN = array([0.9, 0.1, 0.4])


@pytest.mark.parametrize("kind", [kind for kind, person in PERSONS.items() if person.features is not None])
def test_the_expected_loss_follows_from_the_expected_utility(kind):
    person, rng = PERSONS[kind], np.random.default_rng(0)
    root = 0.3 * rng.normal(size=(3, 3))
    drawn = array(MEAN + rng.normal(size=(200_000, 3)) @ root.T)
    loss, (phi, c) = np.asarray(jax.vmap(lambda hidden: person.loss(hidden, X, Z))(drawn)), person.features(X, Z)
    utility = phi @ MEAN + c
    if kind in SQUARED:
        np.testing.assert_allclose(np.mean(loss**2), SQUARED[kind](MEAN, array(root @ root.T), utility), rtol=0.01)
    else:
        np.testing.assert_allclose(np.mean(loss), -utility, rtol=0.01)


def nearer(ideals, difference):
    """Whether each of the `ideals` (n, d) is nearer to A than to B by more than the `difference`, by its utilities."""
    gap = np.sum((ideals - B) ** 2, axis=1) - np.sum((ideals - A) ** 2, axis=1)
    middle = np.sum((ideals - (A + B) / 2) ** 2, axis=1)
    gauge = from_middle(array(np.full(len(ideals), APART**2 / 4)), array(middle), array(gap**2))
    return gap > np.asarray(in_utilities(gauge, array(difference)))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.95, 1.2])
def test_utilities_differ_by_more_exactly_where_losses_do(share):
    """Also where no losses differ so much, as recourses are nearer than that."""
    ideals, difference = np.random.default_rng(0).normal(0.5, 1, (2000, 3)), share * APART
    lead = np.linalg.norm(ideals - B, axis=1) - np.linalg.norm(ideals - A, axis=1)
    clear = np.abs(lead - difference) > 1e-4
    np.testing.assert_array_equal(nearer(ideals, difference)[clear], (lead > difference)[clear])
    assert np.any(lead > difference) == (share < 1)


def test_the_gauge_is_that_of_draws_of_the_ideal():
    """The second hypothesis has the first one's ideals, twice as far from their mean."""
    mean, root = np.array([0.2, 0.8, 0.4]), np.random.default_rng(1).normal(0, 0.4, (3, 3))
    means, covs = np.stack([mean] * 2), np.stack([root @ root.T, 4 * root @ root.T])
    one, other = (2 * means @ point - point @ point for point in (A, B))
    variance = 4 * np.einsum("d,nde,e->n", A - B, covs, A - B)
    pair = Pair(*map(array, (one, other, variance, 4 * APART**2)))
    got = gauge_of("ideal", array(means), array(covs), pair)
    np.testing.assert_allclose(got.half, APART**2 / 4, rtol=1e-5)
    along = (A - B) / APART
    for at, scale in enumerate((1, 2)):
        ideals = mean + scale * np.random.default_rng(2).normal(size=(200_000, 3)) @ root.T
        away = ideals - A - ((ideals - A) @ along)[:, None] * along
        np.testing.assert_allclose(got.across[at], np.mean(np.sum(away**2, axis=1)), rtol=0.01)


def test_utilities_that_are_minus_the_loss_differ_as_losses_do():
    utility = jnp.zeros((2, 4))
    pair = Pair(utility, utility + 1, utility + 0.1, jnp.ones(4))
    got = gauge_of("weights", jnp.zeros((2, 3)), jnp.zeros((2, 3, 3)), pair)
    np.testing.assert_allclose(in_utilities(got, array(0.7)), np.full((2, 4), 0.7), rtol=1e-6)


def test_a_recourse_and_itself_are_tied_and_nothing_is_nan():
    nothing = Gauge(jnp.zeros(()), jnp.ones(()))
    assert float(in_utilities(nothing, jnp.zeros(()))) == 0
    assert 1 < float(in_utilities(nothing, array(0.1))) < np.inf
    assert float(from_middle(jnp.zeros(()), jnp.ones(()), jnp.zeros(())).across) == 1
