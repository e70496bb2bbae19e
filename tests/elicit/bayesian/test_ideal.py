import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from priors import gaussian, grid
from scipy.special import ndtr
from scipy.stats import multivariate_normal
from spaces import array, jit, split

from hare_jax.elicit.bayesian import belief as beliefs
from hare_jax.elicit.bayesian import ideal, posterior
from hare_jax.elicit.bayesian.belief import Kinds
from hare_jax.elicit.bayesian.manner import Axis
from hare_jax.space import Link, action_space, allows, relate

X = array([0.2, 0.7])
COV = array([[0.3, 0.1], [0.1, 0.2]])
NOISE, LAPSES, WIDTH, REACHES = 0.2, (0.01, 0.3), 0.1, array([0.3, 1.0])
PAIRS = array(np.random.default_rng(0).uniform(0, 1, (3, 2, 2)))
FREE = action_space([True, True], np.full(2, -9.0), np.full(2, 9.0))
ANYWHERE = array(np.inf)  # the slack where the boundary is unknown
LINKS = [Link(1, ("column", 0))]  # the second column moves as much as the first
UNEQUAL = grid((0.01, 0.3))._replace(lapse=Axis(array([0.01, 0.3]), jnp.log(array([0.9, 0.1]))))


def linear(x):
    """The logit of a classifier."""
    return x[0] + x[1] - 1.2


def learnt(pairs, tied=False):
    belief = init()
    for a, b in pairs:
        belief = update(belief, a, b, tied)
    return belief


@jit
def init():
    prior = gaussian(np.stack([X] * 2), np.stack([COV] * 2))
    return beliefs.init(Kinds(("weights", "ideal")), prior, jnp.zeros(2), grid(LAPSES, (WIDTH,)), 8)  # in any order


@jit
def update(belief, a, b, tied):
    return posterior.update(belief, X, a, b, jnp.full(2, NOISE), 1, tied)


@jit
def draws(key, belief, x, space, slack):
    hp = ideal.MonteCarlo(num_draws=1500, num_temperatures=6, num_moves=2)
    target = ideal.target_of(belief, REACHES, slack, Partial(linear), x, space, 1.0)
    return ideal.draw_ideals(hp, key, target)


def exact(belief, pairs, tied, slack):
    """Mean and covariance by weighing draws of the prior, with the error rates integrated out."""
    rng = np.random.default_rng(1)
    theta = X + rng.choice(REACHES, (400_000, 1)) / np.sqrt(2) * rng.normal(size=(400_000, 2))
    likelihood = np.zeros(len(theta))
    for lapse in LAPSES:
        p = np.ones(len(theta))
        for a, b in np.asarray(pairs):
            gap = ((b - theta) ** 2).sum(1) - ((a - theta) ** 2).sum(1)
            half, middle = ((a - b) ** 2).sum() / 4, ((theta - (a + b) / 2) ** 2).sum(1)
            width = 2 * WIDTH * np.sqrt(half + (middle - gap**2 / (16 * half)) / (1 - WIDTH**2 / (4 * half)))
            width = width if tied else 0
            above, below = ndtr((gap - width) / NOISE), ndtr((-gap - width) / NOISE)
            rate = 1e-3 if tied else lapse
            p = p * (rate + (1 - 2 * rate) * (1 - above - below if tied else above))
        likelihood += p
    depth = linear(theta.T) / slack
    weight = likelihood / (1 + np.where(depth < 0, 10 * depth, depth) ** 2)
    weight /= weight.sum()
    mean = weight @ theta
    return mean, np.einsum("n,nd,ne->de", weight, theta - mean, theta - mean)


@pytest.mark.parametrize(
    ("num", "tied", "slack"),
    [(0, False, np.inf), (3, False, np.inf), (1, True, np.inf), (0, False, 0.1), (2, False, 0.1)],
)
def test_draws_follow_the_exact_posterior(num, tied, slack):
    belief = learnt(PAIRS[:num], tied)
    found = np.asarray(draws(split(0, 1)[0], belief, X, FREE, array(slack)))
    mean, cov = exact(belief, PAIRS[:num], tied, slack)
    np.testing.assert_allclose(found.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(found.T), cov, atol=0.04)


def test_a_wrong_answer_leaves_two_places_to_look_in():
    left, right = array([0.0, 0.5]), array([1.0, 0.5])
    answers = [(left, right)] * 2 + [(right, left)] * 2
    found = np.asarray(draws(split(1, 1)[0], learnt(answers), array([0.5, 0.5]), FREE, ANYWHERE))
    assert 0.35 < np.mean(found[:, 0] < 0.5) < 0.65


def test_draws_are_allowed():
    space = action_space([True, False], np.zeros(2), np.ones(2), step=[0.25, 0])
    found = draws(split(2, 1)[0], learnt(PAIRS), X, space, array(0.1))
    assert np.all(jit(jax.vmap(lambda point: allows(space, X, point)))(found))
    assert len(np.unique(np.asarray(found)[:, 0])) <= 6


def test_few_draws_are_refused():
    """The factual is, and with it half of the prior."""
    found = np.asarray(draws(split(5, 1)[0], learnt(()), X, FREE, array(0.01)))
    assert np.mean(linear(found.T) < -0.01) < 0.1


def test_a_column_ruled_out_moves_nothing_that_follows_it():
    """The elicitor's Gaussians may still have another mean in it than the factual's value."""
    space = action_space([False, True], np.full(2, -9.0), np.full(2, 9.0), relations=relate(2, links=LINKS))
    belief = learnt(())
    belief = belief._replace(mean=belief.mean.at[:, 0].add(1.0))
    found = np.asarray(draws(split(3, 1)[0], belief, X, space, ANYWHERE))
    np.testing.assert_array_equal(found[:, 0], X[0])
    assert np.mean(found[:, 1]) == pytest.approx(X[1], abs=0.1)


def test_draws_start_at_own_values():
    """What follows is added by the ideal, and must not be in the mean of its start."""
    space = action_space([True, True], np.full(2, -9.0), np.full(2, 9.0), relations=relate(2, links=LINKS))
    belief = learnt(())
    belief = belief._replace(mean=jnp.broadcast_to(array([0.7, 1.0]), belief.mean.shape))
    target = jit(lambda belief: ideal.target_of(belief, REACHES, ANYWHERE, Partial(linear), X, space, 1.0))(belief)
    np.testing.assert_allclose(target.near.mean[0], [0.7, 0.5], atol=1e-6)


def test_a_classifier_without_bounds_leaves_draws_finite():
    """Where the boundary is unknown, no logit counts."""
    hp = ideal.MonteCarlo(num_draws=16, num_temperatures=2, num_moves=1)
    logit_fn = Partial(lambda x: x[0] * jnp.inf)
    target = ideal.target_of(learnt(PAIRS), REACHES, ANYWHERE, logit_fn, X, FREE, 1.0)
    found = np.asarray(jit(ideal.draw_ideals)(hp, split(4, 1)[0], target))
    assert np.all(np.isfinite(found))
    assert len(np.unique(found[:, 0])) > 8


def test_the_prior_of_error_rates_is_flatter_by_its_power():
    belief = beliefs.init(Kinds(("ideal",)), gaussian([[0.0]], [[[1.0]]]), jnp.zeros(1), UNEQUAL, 2)
    for power in (0.0, 0.5, 1.0):
        found = np.exp(jit(ideal.answers_of)(belief, power).log_prior)
        expected = np.array([0.9, 0.1]) ** power
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)


@jit
def start_density(belief, space, points):
    target = ideal.target_of(belief, REACHES, ANYWHERE, Partial(linear), X, space, 1.0)
    return ideal._log_start(target, points), target.near


@pytest.mark.parametrize("mutable", [[True, True], [True, False]])
def test_the_density_of_the_start_is_half_the_prior_and_half_the_gaussians(mutable):
    space = action_space(mutable, np.full(2, -9.0), np.full(2, 9.0))
    free = np.flatnonzero(mutable)
    points = np.where(mutable, np.random.default_rng(2).uniform(-0.5, 1.5, (20, 2)), X).astype(np.float32)
    found, near = start_density(learnt(PAIRS), space, points)
    prior = [(1 / 2, X[free], reach**2 / len(free) * np.eye(len(free))) for reach in REACHES]
    root = [np.asarray(each)[np.ix_(free, free)] for each in near.root]
    gaussians = [
        (np.exp(share), mean[free], each @ each.T)
        for share, mean, each in zip(near.log_share, near.mean, root, strict=True)
    ]
    density = sum(
        share / 2 * multivariate_normal(mean, cov).pdf(points[:, free]) for share, mean, cov in (*prior, *gaussians)
    )
    np.testing.assert_allclose(np.diff(found), np.diff(np.log(density)), atol=2e-3)
