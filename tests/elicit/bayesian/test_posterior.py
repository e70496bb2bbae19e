from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from priors import gaussian, grid
from scipy.special import ndtr
from spaces import array, jit

from hare_jax.elicit.bayesian import belief as beliefs
from hare_jax.elicit.bayesian import posterior
from hare_jax.elicit.bayesian.belief import Kinds
from hare_jax.elicit.bayesian.losses import in_utilities
from hare_jax.solvers import linalg

IDEAL, WEIGHTS = 0, 1
KINDS = Kinds(("ideal", "weights"))
X = array([0.2, 0.7])
MEAN, COV = np.array([0.5, 0.3]), np.array([[0.3, 0.1], [0.1, 0.2]])
NOISE, NUM_LATER = 0.2, 8
NUM_LAPSES, NUM_WIDTHS = 2, 6  # of each grid: values are repeated, so that all grids are for one program


def start(lapses=(0.01,), widths=(0.0,), memories=(1.0,), num=NUM_LATER, coins=0.0):
    return jax.device_get(
        init(grid(np.resize(lapses, NUM_LAPSES), np.resize(widths, NUM_WIDTHS), memories), num, coins)
    )


@partial(jit, static_argnums=1)
def init(grid, num, coins):
    prior = gaussian(np.tile(MEAN, (2, 1)), np.tile(COV, (2, 1, 1)))
    return beliefs.init(KINDS, prior, jnp.log(jnp.array([0.5, 0.5])), grid, num, coins)


@jit
def _learn(belief, num, pairs, tied):
    def step(at, belief):
        return posterior.update(belief, X, *pairs[at], jnp.full(2, NOISE), 10, tied[at])

    return jax.lax.fori_loop(0, num, step, belief)


def learn(belief, pairs, tied=()):
    """The belief after answers about up to NUM_LATER pairs; the last of the `tied` may be left out."""
    all_pairs, all_tied = np.zeros((NUM_LATER, 2, 2), X.dtype), np.zeros(NUM_LATER, bool)
    all_pairs[: len(pairs)], all_tied[: len(tied)] = pairs, tied
    return jax.device_get(_learn(belief, len(pairs), all_pairs, all_tied))


def exact(pairs, person, lapse, tied=None, widths=None):
    """Mean, covariance and log marginal likelihood on a fine grid; error rates, ties and widths (n,) of each answer."""
    axes = [np.linspace(m - 6 * s, m + 6 * s, 601) for m, s in zip(MEAN, np.sqrt(np.diag(COV)), strict=True)]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    away = theta - MEAN
    density = np.exp(-0.5 * np.einsum("nd,de,ne->n", away, np.linalg.inv(COV), away))
    density /= density.sum()
    zeros = np.zeros(len(pairs))
    lapses, ties, widths = lapse + zeros, zeros if tied is None else tied, zeros if widths is None else widths
    for (a, b), rate, is_tie, width in zip(pairs, lapses, ties, widths, strict=True):
        if person == IDEAL:
            gap = ((b - theta) ** 2).sum(1) - ((a - theta) ** 2).sum(1)
        else:
            gap = theta @ (np.abs(b - X) - np.abs(a - X))
        above, below = ndtr((gap - width) / NOISE), ndtr((-gap - width) / NOISE)
        density = density * (rate + (1 - 2 * rate) * (1 - above - below if is_tie else above))
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


def test_contradictions_raise_the_error_rate_and_break_nothing():
    pair = PAIRS[:1]
    both = np.concatenate([pair, pair[:, ::-1]] * 4)
    before, after = start((0.01, 0.3)), learn(start((0.01, 0.3)), both)
    finite = after._replace(prior=None, log_coins=None)  # bounds of columns, and the log of no coins
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(finite))
    share = (after.manner.lapse - 0.01) / 0.29  # posterior probability of the higher rate; 1/2 a priori
    np.testing.assert_allclose(before.manner.lapse, 0.155, atol=1e-6)
    assert np.all(share > 0.5)
    assert share[IDEAL] / (1 - share[IDEAL]) > 2


@pytest.mark.parametrize("person", [IDEAL, WEIGHTS])
def test_a_tie_says_that_the_difference_is_within_the_width(person):
    """The width is in units of the loss; comparisons say that the difference is above it."""
    pairs = PAIRS[[0, 2]]
    got = learn(start(widths=(0.1,)), pairs, [True, False])
    np.testing.assert_allclose(got.manner.width, 0.1, atol=1e-6)
    widths = np.asarray(in_utilities(jax.tree.map(lambda leaf: leaf[person, :2], got.foci), 0.1))
    mean, cov, _ = exact(pairs, person, np.array([1e-3, 0.01]), [True, False], widths)
    np.testing.assert_allclose(got.mean[person], mean, atol=1e-3)
    np.testing.assert_allclose(got.cov[person], cov, atol=1e-3)
    assert int(got.num_told) == 2


def test_foci_of_earlier_answers_follow_the_posterior():
    once, often = learn(start(), PAIRS[:1]), learn(start(), PAIRS)
    first, later = once.foci, often.foci
    assert not np.allclose(first.across_square[IDEAL, 0], later.across_square[IDEAL, 0], rtol=0.01)
    np.testing.assert_array_equal(first.half_square[:, 0], later.half_square[:, 0])


def test_older_answers_of_a_short_memory_are_noisier():
    got = learn(start(memories=(0.5,)), PAIRS[:2])
    rates = 0.5 - (0.5 - 0.01) * 0.5 ** np.array([1, 0])
    mean, cov, _ = exact(PAIRS[:2], WEIGHTS, rates)
    np.testing.assert_allclose(got.mean[WEIGHTS], mean, atol=0.01)
    np.testing.assert_allclose(got.cov[WEIGHTS], cov, atol=0.01)


def test_ties_and_comparisons_come_in_any_order():
    def learnt(order):
        belief = learn(start(widths=(0.1,)), PAIRS[list(order)], np.array(order) == 0)
        again = learn(belief, np.tile(PAIRS[:1], (NUM_LATER, 1, 1)))  # answers about the same pair
        return again._replace(mean=again.mean[WEIGHTS], cov=again.cov[WEIGHTS])

    once, again = learnt((0, 1, 2)), learnt((2, 0, 1))
    np.testing.assert_allclose(once.mean, again.mean, atol=1e-3)
    np.testing.assert_allclose(once.cov, again.cov, atol=1e-3)


def test_answers_beyond_the_room_are_ignored():
    full = learn(start(num=3), PAIRS)
    more = learn(full, PAIRS)
    assert int(full.num_told) == 3
    jax.tree.map(np.testing.assert_array_equal, more, full)


on_boundary = jit(posterior.on_boundary)
NORMAL, APPLIES = array([0.6, 0.8]), np.array([True, False])


def test_the_boundary_is_a_measurement_where_it_applies():
    before = learn(start(), PAIRS)
    got = jax.device_get(on_boundary(before, NORMAL, array(0.9), array(0.04), APPLIES))
    mean, cov = before.mean[IDEAL], before.cov[IDEAL]
    gain = cov @ NORMAL / (NORMAL @ cov @ NORMAL + 0.04)
    np.testing.assert_allclose(got.mean[IDEAL], mean + gain * (0.9 - NORMAL @ mean), atol=1e-5)
    np.testing.assert_allclose(got.cov[IDEAL], cov - np.outer(gain, NORMAL @ cov), atol=1e-5)
    np.testing.assert_array_equal(got.mean[WEIGHTS], before.mean[WEIGHTS])
    np.testing.assert_array_equal(got.cov[WEIGHTS], before.cov[WEIGHTS])


def test_another_boundary_replaces_the_one_before():
    before = learn(start(), PAIRS)
    first = on_boundary(before, NORMAL, array(0.9), array(0.04), APPLIES)
    other = on_boundary(before, NORMAL[::-1], array(0.2), array(0.01), APPLIES)
    for later in (first, other):
        again = on_boundary(later, NORMAL, array(0.9), array(0.04), APPLIES)
        jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), again, first)
    none = on_boundary(first, NORMAL, array(0.9), array(0.04), np.zeros(2, bool))
    np.testing.assert_allclose(none.mean, before.mean, atol=2e-5)
    np.testing.assert_allclose(none.cov, before.cov, atol=2e-5)


@pytest.mark.parametrize("tied", [[False] * 3, [False, True, False]])
def test_the_probability_of_being_no_better_is_that_of_draws(tied):
    belief = learn(start(widths=(0.0, 0.1)), PAIRS[:3], tied)
    z, base = PAIRS[1]
    rng, weight = np.random.default_rng(4), np.asarray(jit(beliefs.weight)(belief))
    theta = [rng.multivariate_normal(mean, cov, 100_000) for mean, cov in zip(belief.mean, belief.cov, strict=True)]
    gain = [
        np.sum((theta[IDEAL] - base) ** 2, axis=1) - np.sum((theta[IDEAL] - z) ** 2, axis=1),
        theta[WEIGHTS] @ (np.abs(base - X) - np.abs(z - X)),
    ]
    half, middle = np.sum((z - base) ** 2) / 4, np.mean(np.sum((theta[IDEAL] - (z + base) / 2) ** 2, axis=1))
    across = middle - np.mean(gain[0] ** 2) / (16 * half)
    lead = belief.manner.width / 2
    width = lead * np.array([2 * np.sqrt(half + across / (1 - lead[IDEAL] ** 2 / (4 * half))), 1])  # in utilities
    assert np.all(width > 0) == any(tied)
    not_better = [np.mean(each < least) for each, least in zip(gain, width, strict=True)]
    found = jit(posterior.not_better)
    of_z, of_base = found(belief, X, np.stack([z, base]), base)
    assert of_z == pytest.approx(weight @ not_better, abs=0.01)
    assert of_base == 0


def test_the_probability_of_coin_tosses_is_that_of_the_marginal_likelihoods():
    for num in range(4):
        pairs = PAIRS[:num]
        belief = learn(start(coins=0.3), pairs) if num else start(coins=0.3)
        others = np.mean([np.exp(exact(pairs, person, 0.01)[2]) for person in (IDEAL, WEIGHTS)]) if num else 1
        expected = 0.3 * 0.5**num / (0.3 * 0.5**num + 0.7 * others)
        assert float(jit(beliefs.by_coins)(belief)) == pytest.approx(expected, abs=0.02)


def test_ties_are_neither_for_coin_tosses_nor_against_them():
    start_with = partial(start, widths=(0.0, 0.1), coins=0.3)
    by_coins = jit(beliefs.by_coins)
    assert float(by_coins(learn(start_with(), PAIRS[:2], [True, True]))) == pytest.approx(0.3, abs=1e-5)
    never = start(coins=0.0)
    assert float(by_coins(learn(never, PAIRS[:2]))) == 0


def test_an_answer_after_a_tie_is_compared_with_a_toss_between_the_two():
    """Over both answers, the odds against coin tosses are expected to stay, given that a tie was possible."""
    start_with = partial(start, widths=(0.0, 0.1, 0.3), coins=0.3)
    before = learn(start_with(), PAIRS[:2], [False, True])
    odds = []
    for belief in (before, learn(before, PAIRS[2:]), learn(before, PAIRS[2:, ::-1])):
        coins = float(jit(beliefs.by_coins)(belief))
        odds.append((1 - coins) / coins)
    assert np.mean(odds[1:]) == pytest.approx(odds[0], rel=1e-3)
    assert abs(odds[1] - odds[2]) > 0.5


def test_contradictions_make_coin_tosses_more_probable():
    consistent, contrary = np.repeat(PAIRS[:1], 8, axis=0), np.concatenate([PAIRS[:1], PAIRS[:1, ::-1]] * 4)
    given = [float(jit(beliefs.by_coins)(learn(start(coins=0.1), pairs))) for pairs in (consistent, contrary)]
    assert given[0] < 0.01
    assert given[1] > 0.2


def test_roots():
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(5, 5))
    cov, mutable = array(raw @ raw.T), np.array([True, False, True, True, True])
    lower = np.asarray(jit(linalg.root)(cov, mutable))
    part = np.where(np.asarray(mutable)[:, None] & np.asarray(mutable)[None, :], cov, 0)
    np.testing.assert_allclose(lower @ lower.T, part, atol=1e-4)
    assert np.all(np.triu(lower, 1) == 0)
