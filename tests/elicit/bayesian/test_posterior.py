from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from spaces import array, jit

from hare_jax.elicit.bayesian import posterior as beliefs
from hare_jax.elicit.bayesian.posterior import Gaussian, Kinds
from hare_jax.solvers import linalg

IDEAL, WEIGHTS = 0, 1
KINDS = Kinds(("ideal", "weights"))
X = array([0.2, 0.7])
MEAN, COV = np.array([0.5, 0.3]), np.array([[0.3, 0.1], [0.1, 0.2]])
NOISE = 0.2


def start(lapses=(0.01,), num=8):
    mean, cov = array(np.tile(MEAN, (2, 1))), array(np.tile(COV, (2, 1, 1)))
    return jax.device_get(init(mean, cov, lapses, num))


@partial(jit, static_argnums=(2, 3))
def init(mean, cov, lapses, num):
    return beliefs.init(KINDS, Gaussian(mean, cov), jnp.log(jnp.array([0.5, 0.5])), lapses, num)


@partial(jit, static_argnums=5)
def update(belief, a, b, noise, tied, num_sweeps):
    return beliefs.update(belief, X, a, b, noise, num_sweeps, tied)


@jit
def _learn(belief, pairs):
    def step(belief, pair):
        return beliefs.update(belief, X, pair[0], pair[1], jnp.full(2, NOISE), 10), None

    return jax.lax.scan(step, belief, pairs)[0]


def learn(belief, pairs):
    return jax.device_get(_learn(belief, pairs))


def exact(pairs, person, lapse):
    """Mean, covariance and log marginal likelihood on a fine grid."""
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
        density = density * (lapse + (1 - 2 * lapse) * ndtr(gap / NOISE))
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
    np.testing.assert_allclose(got.log_weight[person] - np.log(0.5), evidence, atol=2e-4)


@pytest.mark.parametrize("person", [IDEAL, WEIGHTS])
def test_several_answers_have_nearly_the_exact_moments(person):
    got = learn(start(), PAIRS)
    mean, cov, evidence = exact(PAIRS, person, 0.01)
    np.testing.assert_allclose(got.mean[person], mean, atol=0.03)
    np.testing.assert_allclose(got.cov[person], cov, atol=0.02)
    np.testing.assert_allclose(got.log_weight[person] - np.log(0.5), evidence, atol=0.15)


def test_contradictions_make_a_high_lapse_rate_likelier_and_break_nothing():
    pair = PAIRS[:1]
    both = np.concatenate([pair, pair[:, ::-1]] * 4)
    before, after = start((0.01, 0.3)), learn(start((0.01, 0.3)), both)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    prior, after = (np.asarray(jit(beliefs.weight)(belief))[:2] for belief in (before, after))
    assert after[1] / after[0] > 2 * prior[1] / prior[0]


def test_a_tie_is_a_measurement_of_the_difference():
    a, b = PAIRS[0]
    got = update(start(), a, b, array([NOISE] * 2), True, 2)
    plane = 2 * (a - b)
    gain = COV @ plane / (plane @ COV @ plane + NOISE**2)
    gap = plane @ MEAN - a @ a + b @ b
    np.testing.assert_allclose(got.mean[IDEAL], MEAN - gain * gap, atol=1e-5)
    np.testing.assert_allclose(got.cov[IDEAL], COV - np.outer(gain, plane @ COV), atol=1e-5)
    assert int(got.num_told) == 1


def test_ties_and_comparisons_come_in_any_order():
    def learnt(order):
        belief = start()
        for at in order:
            a, b = PAIRS[at]
            belief = update(belief, a, b, array([NOISE] * 2), at == 0, 10)
        return belief

    once, again = learnt((0, 1, 2)), learnt((2, 0, 1))
    np.testing.assert_allclose(once.mean, again.mean, atol=1e-3)
    np.testing.assert_allclose(once.cov, again.cov, atol=1e-3)


def test_answers_beyond_the_room_are_ignored():
    full = learn(start(num=3), PAIRS)
    more = learn(full, PAIRS)
    assert int(full.num_told) == 3
    jax.tree.map(np.testing.assert_array_equal, more, full)


def test_roots():
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(5, 5))
    cov, mutable = array(raw @ raw.T), np.array([True, False, True, True, True])
    lower = np.asarray(jit(linalg.root)(cov, mutable))
    part = np.where(np.asarray(mutable)[:, None] & np.asarray(mutable)[None, :], cov, 0)
    np.testing.assert_allclose(lower @ lower.T, part, atol=1e-4)
    assert np.all(np.triu(lower, 1) == 0)
