import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm
from spaces import array, jit

from hare_jax import belief as beliefs

IDEAL, WEIGHTS = 0, 1
X = array([0.2, 0.7])
MEAN, COV = np.array([0.5, 0.3]), np.array([[0.3, 0.1], [0.1, 0.2]])
NOISE = 0.2


def start(lapses=(0.01,), num=8):
    mean, cov = array(np.tile(MEAN, (2, 1))), array(np.tile(COV, (2, 1, 1)))
    return beliefs.init(mean, cov, jnp.log(array([0.5, 0.5])), lapses, num)


@jit
def learn(belief, pairs):
    def step(belief, pair):
        return beliefs.update(belief, X, pair[0], pair[1], jnp.full(2, NOISE), 10), None

    return jax.lax.scan(step, belief, pairs)[0]


def exact(pairs, person, lapse):
    """Mean, covariance and evidence on a fine grid."""
    axes = [np.linspace(m - 6 * s, m + 6 * s, 601) for m, s in zip(MEAN, np.sqrt(np.diag(COV)), strict=True)]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    away = theta - MEAN
    density = np.exp(-0.5 * np.einsum("nd,de,ne->n", away, np.linalg.inv(COV), away))
    density /= density.sum()
    for a, b in pairs:
        if person == IDEAL:
            gap = ((b - theta) ** 2).sum(1) - ((a - theta) ** 2).sum(1)
        else:
            gap = theta @ (np.abs(b - X) - np.abs(a - X))
        density = density * (lapse + (1 - 2 * lapse) * norm.cdf(gap / NOISE))
    total = density.sum()
    mean = density @ theta / total
    return mean, np.einsum("n,nd,ne->de", density / total, theta - mean, theta - mean), np.log(total)


PAIRS = array(np.random.default_rng(0).uniform(0, 1, (3, 2, 2)))


@pytest.mark.parametrize("person", [IDEAL, WEIGHTS])
def test_one_answer_has_the_exact_moments(person):
    got = learn(start(), PAIRS[:1])
    mean, cov, evidence = exact(PAIRS[:1], person, 0.01)
    np.testing.assert_allclose(got.mean[person], mean, atol=2e-4)
    np.testing.assert_allclose(got.cov[person], cov, atol=2e-4)
    np.testing.assert_allclose(got.evidence[person] - np.log(0.5), evidence, atol=2e-4)


@pytest.mark.parametrize("person", [IDEAL, WEIGHTS])
def test_several_answers_have_nearly_the_exact_moments(person):
    got = learn(start(), PAIRS)
    mean, cov, evidence = exact(PAIRS, person, 0.01)
    np.testing.assert_allclose(got.mean[person], mean, atol=0.03)
    np.testing.assert_allclose(got.cov[person], cov, atol=0.02)
    np.testing.assert_allclose(got.evidence[person] - np.log(0.5), evidence, atol=0.15)


def test_contradictions_make_a_careless_person_likelier_and_break_nothing():
    pair = PAIRS[:1]
    both = np.concatenate([pair, pair[:, ::-1]] * 4)
    before, after = start((0.01, 0.3)), learn(start((0.01, 0.3)), both)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in after)
    careful, careless = beliefs.weight(before)[:2], beliefs.weight(after)[:2]
    assert careless[1] / careless[0] > 2 * careful[1] / careful[0]


def test_a_tie_is_a_measurement_of_the_difference():
    a, b = PAIRS[0]
    got = beliefs.update_tie(start(), X, a, b, jnp.full(2, NOISE))
    plane = 2 * (a - b)
    gain = COV @ plane / (plane @ COV @ plane + NOISE**2)
    gap = plane @ MEAN - a @ a + b @ b
    np.testing.assert_allclose(got.mean[IDEAL], MEAN - gain * gap, atol=1e-5)
    np.testing.assert_allclose(got.cov[IDEAL], COV - np.outer(gain, plane @ COV), atol=1e-5)


def test_answers_beyond_the_room_are_ignored():
    full = learn(start(num=3), PAIRS)
    more = learn(full, PAIRS)
    assert int(more.num_told) == 3
    np.testing.assert_array_equal(more.plane, full.plane)


@pytest.mark.parametrize("num_answers", [0, 3])
def test_the_credible_region_holds_its_share_of_the_exact_posterior(num_answers):
    pairs, mutable = PAIRS[:num_answers], jnp.array([True, True])
    belief = learn(start(), pairs) if num_answers else start()
    prior = array(MEAN), array(COV)
    region = jit(beliefs.credible_region)(jax.random.key(0), belief, IDEAL, prior, mutable, 0.8)
    draws = array(np.random.default_rng(1).multivariate_normal(MEAN, COV, 20000))
    gaps = [((b - draws) ** 2).sum(1) - ((a - draws) ** 2).sum(1) for a, b in pairs]
    weight = np.prod([0.01 + 0.98 * norm.cdf(gap / NOISE) for gap in gaps], axis=0) * np.ones(len(draws))
    held = np.asarray(jax.vmap(lambda theta: beliefs.inside(region, theta))(draws))
    assert weight @ held / weight.sum() == pytest.approx(0.8, abs=0.04)


def test_what_cannot_change_is_left_out_of_the_region():
    mutable = jnp.array([True, False])
    prior = array(MEAN), array(COV)
    region = beliefs.credible_region(jax.random.key(0), start(), IDEAL, prior, mutable, 0.9)
    assert float(region.radius) == pytest.approx(2.71, abs=0.3)  # the 90 % quantile of a chi-squared law
    assert bool(beliefs.inside(region, array([MEAN[0], 77.0])))
    assert not bool(beliefs.inside(region, array([MEAN[0] + 2 * np.sqrt(COV[0, 0]), MEAN[1]])))


def test_roots_and_whitening_of_what_varies():
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(5, 5))
    cov, mutable = array(raw @ raw.T), jnp.array([True, False, True, True, True])
    lower, whiten = jit(beliefs.root)(cov, mutable), jit(beliefs.whitening)(cov, mutable)
    part = np.where(np.asarray(mutable)[:, None] & np.asarray(mutable)[None, :], cov, 0)
    np.testing.assert_allclose(lower @ lower.T, part, atol=1e-4)
    np.testing.assert_allclose(whiten @ part @ whiten.T, np.diag(np.asarray(mutable, float)), atol=1e-4)
    assert np.all(np.triu(lower, 1) == 0)
