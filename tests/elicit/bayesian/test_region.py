import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from priors import gaussian, grid
from scipy.special import ndtr
from spaces import array, jit, split

from hare_jax.elicit.bayesian import belief as beliefs
from hare_jax.elicit.bayesian import posterior, region
from hare_jax.elicit.bayesian.belief import Kinds
from hare_jax.elicit.bayesian.manner import Axis
from hare_jax.solvers import linalg
from hare_jax.space import action_space, allows

X = array([0.2, 0.7])
COV = array([[0.3, 0.1], [0.1, 0.2]])
NOISE, LAPSES, WIDTH, REACHES = 0.2, (0.01, 0.3), 0.1, array([0.3, 1.0])
PAIRS = array(np.random.default_rng(0).uniform(0, 1, (3, 2, 2)))
FREE = action_space([True, True], np.full(2, -9.0), np.full(2, 9.0))
ANYWHERE = array(np.inf)  # the slack where the boundary is unknown
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
    hp = region.MonteCarlo(num_draws=1500, num_temperatures=6, num_moves=2)
    return region.draw_ideals(hp, key, target(belief, x, space, slack))


def target(belief, x, space, slack=ANYWHERE):
    return region.Target(region.answers_of(belief, 1.0), REACHES, slack, Partial(linear), x, space)


def exact(belief, pairs, tied, slack):
    """Mean and covariance by weighing draws of the prior, with the error rates integrated out."""
    rng = np.random.default_rng(1)
    theta = X + rng.choice(REACHES, (400_000, 1)) / np.sqrt(2) * rng.normal(size=(400_000, 2))
    likelihood = np.zeros(len(theta))
    widths = np.asarray(belief.manner.width[1] * belief.slope[1])
    for lapse in LAPSES:
        p = np.ones(len(theta))
        for (a, b), width in zip(np.asarray(pairs), widths, strict=False):
            gap = ((b - theta) ** 2).sum(1) - ((a - theta) ** 2).sum(1)
            above, below = ndtr((gap - width) / NOISE), ndtr((-gap - width) / NOISE)
            p = p * (lapse + (1 - 2 * lapse) * (1 - above - below if tied else above))
        likelihood += p
    weight = likelihood / (1 + (linear(theta.T) / slack) ** 2)
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


def test_a_slice_shrinks_towards_the_particle():
    """A refused angle becomes the bound on its own side, so that the bracket still holds the particle, at angle 0."""
    low, high, angle = array([-4.0, -4.0]), array([2.0, 2.0]), array([-1.0, 1.0])
    particles = region.Particles(np.zeros((2, 3), X.dtype), np.zeros(2, X.dtype))
    bracket = region.Bracket(low, high, angle, np.zeros(2, bool), particles)
    share = array([0.0, 1.0])
    shrink = jit(region._shrink)
    after = jax.device_get(shrink(bracket, particles, np.zeros(2, bool), share))
    np.testing.assert_array_equal(after.low, [-1, -4])
    np.testing.assert_array_equal(after.high, [2, 1])
    np.testing.assert_array_equal(after.angle, [-1, 1])
    assert not after.accepted.any()


def test_draws_are_allowed():
    space = action_space([True, False], np.zeros(2), np.ones(2), step=[0.25, 0])
    found = draws(split(2, 1)[0], learnt(PAIRS), X, space, array(0.1))
    assert np.all(jit(jax.vmap(lambda point: allows(space, X, point)))(found))
    assert len(np.unique(np.asarray(found)[:, 0])) <= 6


def held_by(points, mutable, level, others):
    """The region that holds a share of the points, and which of the others (n, d) are in it."""
    ellipsoid = region.credible_region(points, mutable, level)
    return ellipsoid, jax.vmap(lambda point: region.inside(ellipsoid, point))(others)


share_inside = jit(held_by)


def test_the_region_holds_its_share():
    points = array(np.random.default_rng(3).multivariate_normal([1, 2], COV, 2000))
    ellipsoid, held = share_inside(points, np.array([True, True]), 0.9, points)
    assert np.mean(held) == pytest.approx(0.9, abs=0.005)
    assert float(ellipsoid.radius) == pytest.approx(4.61, abs=0.4)  # the 90 % quantile of a chi-squared law


def test_the_region_of_a_few_draws_holds_its_share_of_others():
    """Measured by the mean and the covariance of all, draws would be nearer than others are."""
    few, many = np.random.default_rng(4).normal(size=(2, 20, 128, 20)).astype(X.dtype)
    held = jit(jax.vmap(lambda points, others: held_by(points, np.ones(20, bool), 0.9, others)[1]))(few, many)
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_a_level_in_percent_is_an_error():
    with pytest.raises(ValueError, match="level: must be above 0 and below 1; got 90"):
        region.credible_region(np.zeros((4, 2)), np.ones(2, bool), 90)


def test_what_cannot_change_is_left_out_of_the_region():
    points = array(np.random.default_rng(3).multivariate_normal([1, 2], COV, 2000))
    others = np.resize(array([[1.0, 77.0], [1 + 2 * np.sqrt(0.3), 2.0]]), points.shape)
    _, held = share_inside(points, np.array([True, False]), 0.9, others)
    assert held[:2].tolist() == [True, False]


def test_whitening():
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(5, 5))
    cov, mutable = array(raw @ raw.T), np.array([True, False, True, True, True])
    whiten = jit(linalg.whitening)(cov, mutable)
    part = np.where(np.asarray(mutable)[:, None] & np.asarray(mutable)[None, :], cov, 0)
    np.testing.assert_allclose(whiten @ part @ whiten.T, np.diag(np.asarray(mutable, float)), atol=1e-4)


def test_the_prior_of_error_rates_is_flatter_by_its_power():
    belief = beliefs.init(Kinds(("ideal",)), gaussian([[0.0]], [[[1.0]]]), jnp.zeros(1), UNEQUAL, 2)
    for power in (0.0, 0.5, 1.0):
        found = np.exp(region.answers_of(belief, power).log_prior)
        expected = np.array([0.9, 0.1]) ** power
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)
