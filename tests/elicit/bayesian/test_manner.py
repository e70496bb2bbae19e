"""The posterior of the manner of answering against a loop over its grid."""

import itertools

import numpy as np
import pytest
from priors import grid
from scipy.special import ndtr
from spaces import array, jit

from hare_jax.elicit.bayesian import manner
from hare_jax.elicit.bayesian.losses import Foci
from hare_jax.elicit.bayesian.manner import Answered
from hare_jax.elicit.bayesian.propagation import Normal

LAPSES, WIDTHS, MEMORIES = (0.002, 0.1, 0.4), (0.0, 0.2), (1.0, 0.8)
NUM = 6
fit = jit(manner.fit)


def answered(seed, tied):
    rng = np.random.default_rng(seed)
    gap = Normal(array(rng.normal(0.2, 1, NUM)), array(rng.uniform(0.01, 0.5, NUM)))
    told = np.arange(NUM) < NUM - 1
    foci = Foci(*(array(rng.uniform(0.1, 1, NUM)) for _ in range(2)))
    return Answered(gap, foci, np.array(tied), told, array(np.arange(NUM)[::-1]))


def likelihood(of, lapse, width, memory):
    p = 1.0
    for gap, variance, half, across, tied, told, age in zip(*of.gap, *of.foci, *of[2:], strict=True):
        rate = 1e-3 if tied else 0.5 - (0.5 - lapse) * memory**age
        least = 2 * width * np.sqrt(half + across / (1 - width**2 / (4 * half)))
        above, below = (ndtr((sign * gap - least) / np.sqrt(variance)) for sign in (1, -1))
        right = 1 - above - below if tied else above
        p *= (rate + (1 - 2 * rate) * right) if told else 1
    return p


def by_loop(of):
    """The width given the prior means of the errors, and the errors given that width."""
    weight = np.array([likelihood(of, np.mean(LAPSES), width, np.mean(MEMORIES)) for width in WIDTHS])
    any_tied = any(one and told for one, told in zip(of.tied, of.told, strict=True))
    width = weight @ WIDTHS / weight.sum() if any_tied else 0
    errors = np.array(list(itertools.product(LAPSES, MEMORIES)))
    weight = np.array([likelihood(of, lapse, width, memory) for lapse, memory in errors])
    lapse, memory = weight @ errors / weight.sum()
    return lapse, width, memory


@pytest.mark.parametrize("tied", [[False] * NUM, [True, False, False, True, False, False], [True] * NUM])
def test_the_fit_is_that_of_a_loop_over_the_grid(tied):
    for seed in range(3):
        of = answered(seed, tied)
        np.testing.assert_allclose(fit(grid(LAPSES, WIDTHS, MEMORIES), of), by_loop(of), rtol=1e-4, atol=1e-5)


def test_the_prior_has_no_width_until_there_is_a_tie():
    found = manner.prior_mean(grid((0.1, 0.3), (0.2,), (0.5, 1.0)))
    assert [float(value) for value in found] == pytest.approx([0.2, 0, 0.75])


@pytest.mark.parametrize("extra", [0, 7])
def test_blocks_of_answers_change_nothing(extra):
    rng, num = np.random.default_rng(5), 2 * manner._BLOCK + extra
    rates, probability = array(rng.uniform(0.001, 0.4, (num, 1, 3))), array(rng.uniform(0, 1, (num, 2, 1)))
    told = rng.uniform(size=num) < 0.8
    expected = np.sum(np.log(rates + (1 - 2 * rates) * probability)[told], axis=0)
    np.testing.assert_allclose(jit(manner.log_likelihood)(rates, probability, told), expected, rtol=1e-5)


def test_old_answers_say_less_with_a_short_memory():
    age, rate = array([0.0, 1.0, 50.0]), jit(manner.error_rate)
    np.testing.assert_allclose(rate(0.1, 0.9, age, False), [0.1, 0.14, 0.5 - 0.4 * 0.9**50], rtol=1e-5)
    np.testing.assert_allclose(rate(0.1, 1.0, age, False), [0.1] * 3, rtol=1e-6)


def test_errors_make_no_ties():
    """However often a person errs, and long ago; but one mistaken tie may not rule everything out."""
    np.testing.assert_allclose(jit(manner.error_rate)(0.4, 0.9, array([0.0, 50.0]), True), 1e-3, rtol=1e-5)
