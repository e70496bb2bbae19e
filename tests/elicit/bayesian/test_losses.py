"""Expected losses against draws."""

import jax
import numpy as np
import pytest
from spaces import array

from hare_jax.elicit.bayesian.losses import SQUARED
from hare_jax.people import PERSONS

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
