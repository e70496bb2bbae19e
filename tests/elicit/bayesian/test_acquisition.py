from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr, xlogy
from spaces import array, jit

from hare_jax.base import Recourse
from hare_jax.elicit.bayesian import posterior as beliefs
from hare_jax.elicit.bayesian.acquisition import ACQUISITIONS, best_pair, utility_scales
from hare_jax.elicit.bayesian.posterior import Gaussian, Kinds

KINDS = Kinds(("ideal", "weights"))
X = array([0.2, 0.7])
NOISE, LAPSES, NUM_DRAWS = 0.1, (0.01, 0.2), 200_000
POOL = Recourse(array(np.random.default_rng(1).uniform(0, 1, (6, 2))), np.array([True, True, False, True, True, True]))
PRIOR_COV = array(np.tile([[0.3, 0.1], [0.1, 0.2]], (2, 1, 1)))


TOLD = {  # pairs (2, 2, d): the first of each was preferred
    "utility": [[[0.33, 0.79], [0.3, 0.45]], [[0.13, 0.4], [0.2, 0.26]]],
    "information": [[[0.86, 0.99], [0.8, 0.3]], [[0.22, 0.06], [0.74, 0.9]]],
}


class Learnt(NamedTuple):
    """What is believed after two answers, and what follows from it; leaves of the pool (m, ...)."""

    belief: beliefs.Belief
    weight: np.ndarray  # (h,)
    scale: np.ndarray  # (h,)
    phi: np.ndarray  # (m, 2, d)
    c: np.ndarray  # (m, 2)


@jit
def learn(pairs):
    log_prior = jnp.log(jnp.array([0.4, 0.6]))
    prior = Gaussian(jnp.array([[0.5, 0.3], [1.0, 2.0]]), PRIOR_COV)
    belief = beliefs.init(KINDS, prior, log_prior, LAPSES, 4)

    def step(belief, pair):
        return beliefs.update(belief, X, *pair, jnp.full(2, 0.05)), None

    belief = jax.lax.scan(step, belief, pairs)[0]
    scale = jnp.repeat(utility_scales(KINDS, PRIOR_COV, X, POOL), len(LAPSES))
    return Learnt(belief, beliefs.weight(belief), scale, *jax.vmap(partial(beliefs.features, KINDS, X))(POOL.x))


def utilities_of_people(learnt):
    """For each hypothesis, utilities (h, draws, m) of the pool to people drawn from it."""
    belief = learnt.belief
    phi, c = np.repeat(learnt.phi, len(LAPSES), axis=1), np.repeat(learnt.c, len(LAPSES), axis=1)
    normal = np.random.default_rng(2).normal(size=(NUM_DRAWS, 2))
    drawn = [mean + normal @ np.linalg.cholesky(cov).T for mean, cov in zip(belief.mean, belief.cov, strict=True)]
    return np.stack([theta @ phi[:, at].T + c[:, at] for at, theta in enumerate(drawn)])


def entropy(chance):
    return -xlogy(chance, chance) - xlogy(1 - chance, 1 - chance)


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_the_pair_brings_most_by_simulation(acquisition):
    learnt = jax.device_get(learn(array(TOLD[acquisition])))
    (belief, weight, scale, phi, _), valid = learnt, POOL.valid
    a, b, gain = jit(partial(best_pair, acquisition, 6))(NOISE, belief, PRIOR_COV, X, POOL)
    utility = utilities_of_people(learnt)
    brings = {}
    for i in np.flatnonzero(valid):
        for j in np.flatnonzero(valid[:i]):
            if acquisition == "utility":
                better = np.mean(np.maximum(utility[..., i], utility[..., j]), axis=1) / scale
                brings[i, j] = weight @ better - np.max(weight @ (np.mean(utility, axis=1) / scale[:, None])[:, valid])
            else:
                change = phi[i] - phi[j]
                prior_sd = np.sqrt(np.einsum("pd,pde,pe->p", change, PRIOR_COV, change))
                doubt = NOISE * np.repeat(prior_sd, len(LAPSES))[:, None]
                lapse = belief.lapse[:, None]
                says = lapse + (1 - 2 * lapse) * ndtr((utility[..., i] - utility[..., j]) / doubt)
                brings[i, j] = entropy(weight @ np.mean(says, axis=1)) - weight @ np.mean(entropy(says), axis=1)
    best = max(brings.values())
    np.testing.assert_allclose(gain, best, atol=0.01)
    shown = {tuple(np.asarray(point).tolist()) for point in (a, b)}
    near = [pair for pair, brought in brings.items() if brought > best - 0.01]
    assert shown in [{tuple(np.asarray(POOL.x[at]).tolist()) for at in pair} for pair in near]
