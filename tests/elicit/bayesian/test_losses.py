"""Expected losses against draws, and differences of losses as those of utilities where the losses are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array

from hare_jax.elicit.bayesian.losses import SQUARED, Compared, foci_of, from_middle, in_utilities
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


def nearer(ideals, difference, a=A, b=B):
    """Whether each of the `ideals` (n, d) is nearer to `a` than to `b` by more than the `difference`, by utilities."""
    gap = np.sum((ideals - b) ** 2, axis=1) - np.sum((ideals - a) ** 2, axis=1)
    middle = np.sum((ideals - (a + b) / 2) ** 2, axis=1)
    foci = from_middle(array(np.full(len(ideals), 4 * np.sum((a - b) ** 2))), array(middle), array(gap**2))
    return gap > np.asarray(in_utilities(foci, array(difference)))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.95, 1.2])
def test_utilities_differ_by_more_exactly_where_losses_do(share):
    """Also where no losses differ so much, as recourses are nearer than that."""
    ideals, difference = np.random.default_rng(0).normal(0.5, 1, (2000, 3)), share * APART
    lead = np.linalg.norm(ideals - B, axis=1) - np.linalg.norm(ideals - A, axis=1)
    clear = np.abs(lead - difference) > 1e-4
    np.testing.assert_array_equal(nearer(ideals, difference)[clear], (lead > difference)[clear])
    assert np.any(lead > difference) == (share < 1)


@pytest.mark.parametrize("apart", [1e-4, 1e-3, 0.1])
@pytest.mark.parametrize("width", [1, 20])
def test_recourses_nearer_than_the_difference_are_tied_wherever_the_ideal_is(apart, width):
    """In float32, and with one column, where all three are on a line."""
    a = np.random.default_rng(3).uniform(0, 1, width)
    ideals = a + np.random.default_rng(4).normal(0, 1, (500, width))
    assert not np.any(nearer(ideals, 1.2 * apart + 0.05, a, a + apart / np.sqrt(width)))


def test_foci_are_those_of_draws_of_the_ideal():
    """The second hypothesis has the first one's ideals, twice as far from their mean."""
    mean, root = np.array([0.2, 0.8, 0.4]), np.random.default_rng(1).normal(0, 0.4, (3, 3))
    means, covs = np.stack([mean] * 2), np.stack([root @ root.T, 4 * root @ root.T])
    one, other = (2 * means @ point - point @ point for point in (A, B))
    variance = 4 * np.einsum("d,nde,e->n", A - B, covs, A - B)
    compared = Compared(*map(array, (one, other, variance, 4 * APART**2)))
    got = foci_of("ideal", array(means), array(covs), compared)
    np.testing.assert_allclose(got.half_square, APART**2 / 4, rtol=1e-5)
    along = (A - B) / APART
    for at, scale in enumerate((1, 2)):
        ideals = mean + scale * np.random.default_rng(2).normal(size=(200_000, 3)) @ root.T
        away = ideals - A - ((ideals - A) @ along)[:, None] * along
        np.testing.assert_allclose(got.across_square[at], np.mean(np.sum(away**2, axis=1)), rtol=0.01)


@pytest.mark.parametrize("difference", [0.0, 0.7, 3.0])
def test_utilities_that_are_minus_the_loss_differ_as_losses_do(difference):
    utility = jnp.zeros((2, 4))
    compared = Compared(utility, utility + 1, utility + 0.1, jnp.ones(4))
    got = foci_of("weights", jnp.zeros((2, 3)), jnp.zeros((2, 3, 3)), compared)
    np.testing.assert_allclose(in_utilities(got, array(difference)), np.full((2, 4), difference), rtol=1e-6)


def test_a_recourse_and_itself_are_tied_and_nothing_is_nan():
    same = from_middle(jnp.zeros(()), jnp.ones(()), jnp.zeros(()))
    assert float(same.across_square) == 1
    assert float(in_utilities(same, jnp.zeros(()))) == 0
    assert 1 < float(in_utilities(same, array(0.1))) < np.inf
