"""Sites of one-hot groups: moments against sums over the levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array

from hare_jax.elicit.bayesian import categories
from hare_jax.elicit.bayesian.propagation import Plane, add_site
from hare_jax.people import levels
from hare_jax.people.levels import Levels

GROUP = np.array([0, 0, 0, -1, 1, 1])  # two categories, and a column with a variance of 1 between them
LOG_MASS = np.log([0.5, 0.3, 0.2, 1.0, 1.0, 3.0]).astype(np.float32)
LEVELS = Levels(jnp.asarray(GROUP), jnp.asarray(LOG_MASS))
OF_FIRST, OF_SECOND = np.eye(3), np.eye(2)
ONE_VIEW = np.array([1.0, -1.0, 0.0, 0.0, 0.0, 0.0])  # the first level against the second
BOTH_VIEWS = np.array([1.0, 0.0, -1.0, 0.5, 1.0, 0.0])


def prior():
    mean, cov = levels.moments(LEVELS)
    return mean, cov + jnp.diag(jnp.asarray(GROUP < 0, cov.dtype))


@jax.jit
def fitted(plane, precision, level, num_sweeps):
    """Moments after a Gaussian site of `plane . theta`."""
    mean, cov = add_site(*prior(), Plane(plane, precision, precision * level))
    first = mean, cov, categories.prior_sites(LEVELS)
    return jax.lax.fori_loop(0, num_sweeps, lambda _, at: categories.sweep(at[0], at[1], LEVELS, at[2]), first)[:2]


def exact(plane, precision, level):
    """Mean (6,) of the same, by sums over the levels of both groups and in closed form for the other column."""
    total, mean = 0.0, np.zeros(6)
    shares = np.exp(LOG_MASS)
    for i, first in enumerate(OF_FIRST):
        for j, second in enumerate(OF_SECOND):
            at = np.concatenate([first, [0.0], second])
            variance = plane[3] ** 2 + 1 / precision
            gap = level - plane @ at
            weight = shares[i] * shares[4 + j] * np.exp(-(gap**2) / (2 * variance)) / np.sqrt(variance)
            at[3] = plane[3] * gap / variance
            total, mean = total + weight, mean + weight * at
    return mean / total


def test_the_prior_has_the_moments_of_the_levels():
    mean, cov = levels.moments(LEVELS)
    np.testing.assert_allclose(mean, [0.5, 0.3, 0.2, 0.0, 0.25, 0.75], atol=1e-6)
    np.testing.assert_allclose(cov[0], [0.25, -0.15, -0.1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(cov[3:, 3:], [[0, 0, 0], [0, 0.1875, -0.1875], [0, -0.1875, 0.1875]], atol=1e-6)


def with_least(mean):
    """Each level has a probability of at least 0.01."""
    size = np.array([3, 3, 3, 0, 2, 2])
    return np.where(size > 0, 0.01 + (1 - 0.01 * size) * mean, mean)


def test_without_evidence_the_prior_stays():
    mean, _ = fitted(array(ONE_VIEW), array(0.0), array(0.0), 3)
    np.testing.assert_allclose(mean, with_least(prior()[0]), atol=1e-4)


@pytest.mark.parametrize(("precision", "level"), [(1.0, 1.0), (10.0, -1.0), (10.0, 0.0)])
def test_evidence_on_one_group_gives_the_exact_probabilities(precision, level):
    mean, _ = fitted(array(ONE_VIEW), array(precision), array(level), 1)
    np.testing.assert_allclose(mean, with_least(exact(ONE_VIEW, precision, level)), atol=2e-3)


@pytest.mark.parametrize("level", [-0.5, 0.5, 1.5])
def test_evidence_on_both_groups_is_near_the_exact_mean(level):
    mean, cov = fitted(array(BOTH_VIEWS), array(4.0), array(level), 8)
    np.testing.assert_allclose(mean, exact(BOTH_VIEWS, 4.0, level), atol=0.06)
    assert np.linalg.eigvalsh(np.asarray(cov)).min() > -1e-4
    for group in (0, 1):
        member = group == GROUP
        np.testing.assert_allclose(mean[member].sum(), 1, atol=1e-4)
        np.testing.assert_allclose(cov[member].sum(axis=0), 0, atol=1e-3)


def test_a_category_of_many_levels_has_a_finite_posterior():
    num = 150  # more than have the least probability together
    many = Levels(jnp.zeros(num, jnp.int32), jnp.zeros(num).at[0].set(5.0))
    mean, cov, _ = jax.jit(categories.sweep)(*levels.moments(many), many, categories.prior_sites(many))
    assert bool(jnp.isfinite(cov).all())
    assert float(mean.min()) > 0
    assert float(mean.sum()) == pytest.approx(1.0, abs=1e-3)


def test_answers_that_say_less_after_all_leave_a_proper_posterior():
    """A level is all but certain by an answer, its category is fitted, and then the answer is taken back."""
    precision, level = 3000.0, 1.0
    view = array(ONE_VIEW)
    mean, cov = add_site(*prior(), Plane(view, array(precision), array(precision * level)))
    mean, cov, sites = jax.jit(categories.sweep)(mean, cov, LEVELS, categories.prior_sites(LEVELS))
    mean, cov = add_site(mean, cov, Plane(view, array(-0.99 * precision), array(-0.99 * precision * level)))
    variance = np.diag(cov)[GROUP >= 0]
    assert variance.min() > 0
    assert variance.max() < 0.26  # of a level, at most 1/4
    assert np.linalg.eigvalsh(np.asarray(sites.precision)).min() > -1e-2
