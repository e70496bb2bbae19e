import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import xlogy
from scipy.stats import norm
from spaces import array, jit

from hare_jax.base import Recourse
from hare_jax.elicit.bayesian import posterior as beliefs
from hare_jax.elicit.bayesian.acquisition import ACQUISITIONS, best_pair, utility_scales
from hare_jax.elicit.bayesian.posterior import Gaussian, Kinds

KINDS = Kinds(("ideal", "weights"))
X = array([0.2, 0.7])
NOISE, LAPSES, NUM_DRAWS = 0.1, (0.01, 0.2), 200_000
RNG = np.random.default_rng(1)
POOL = Recourse(array(RNG.uniform(0, 1, (6, 2))), jnp.array([True, True, False, True, True, True]))
PRIOR_COV = array(np.tile([[0.3, 0.1], [0.1, 0.2]], (2, 1, 1)))


def learnt():
    mean, log_prior = array([[0.5, 0.3], [1.0, 2.0]]), jnp.log(array([0.4, 0.6]))
    belief = beliefs.init(KINDS, Gaussian(mean, PRIOR_COV), log_prior, LAPSES, 4)
    for a, b in RNG.uniform(0, 1, (2, 2, 2)):
        belief = jit(beliefs.update)(belief, X, array(a), array(b), jnp.full(2, 0.05))
    return jax.device_get(belief)


def utilities_of_people(belief):
    """For each hypothesis, utilities (h, draws, m) of the pool to people drawn from it."""
    phi, c = jax.device_get(jax.vmap(lambda z: beliefs.features(KINDS, X, z))(POOL.x))
    phi, c = np.repeat(phi, len(LAPSES), axis=1), np.repeat(c, len(LAPSES), axis=1)
    normal = RNG.normal(size=(NUM_DRAWS, 2))
    drawn = [mean + normal @ np.linalg.cholesky(cov).T for mean, cov in zip(belief.mean, belief.cov, strict=True)]
    return np.stack([theta @ phi[:, at].T + c[:, at] for at, theta in enumerate(drawn)])


def feature(at):
    return beliefs.features(KINDS, X, POOL.x[at])[0]


def entropy(chance):
    return -xlogy(chance, chance) - xlogy(1 - chance, 1 - chance)


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_the_pair_brings_most_by_simulation(acquisition):
    belief = learnt()
    a, b, gain = best_pair(acquisition, 6, NOISE, belief, PRIOR_COV, X, POOL)
    weight, valid = np.asarray(beliefs.weight(belief)), np.asarray(POOL.valid)
    scale = np.repeat(utility_scales(KINDS, PRIOR_COV, X, POOL), len(LAPSES))
    utility = utilities_of_people(belief)
    brings = {}
    for i in np.flatnonzero(valid):
        for j in np.flatnonzero(valid[:i]):
            if acquisition == "utility":
                better = np.mean(np.maximum(utility[..., i], utility[..., j]), axis=1) / scale
                brings[i, j] = weight @ better - np.max(weight @ (np.mean(utility, axis=1) / scale[:, None])[:, valid])
            else:
                change = jax.device_get(feature(i) - feature(j))
                prior_sd = np.sqrt(np.einsum("pd,pde,pe->p", change, PRIOR_COV, change))
                doubt = NOISE * np.repeat(prior_sd, len(LAPSES))[:, None]
                lapse = belief.lapse[:, None]
                says = lapse + (1 - 2 * lapse) * norm.cdf((utility[..., i] - utility[..., j]) / doubt)
                brings[i, j] = entropy(weight @ np.mean(says, axis=1)) - weight @ np.mean(entropy(says), axis=1)
    best = max(brings.values())
    np.testing.assert_allclose(gain, best, atol=0.01)
    shown = {tuple(np.asarray(point).tolist()) for point in (a, b)}
    near = [pair for pair, brought in brings.items() if brought > best - 0.01]
    assert shown in [{tuple(np.asarray(POOL.x[at]).tolist()) for at in pair} for pair in near]
