from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from priors import gaussian, grid
from scipy.special import ndtr, ndtri, xlogy
from scipy.stats import qmc
from spaces import array, jit

from hare_jax.base import Recourse
from hare_jax.elicit.base import is_compared
from hare_jax.elicit.bayesian import acquisition, posterior
from hare_jax.elicit.bayesian import belief as beliefs
from hare_jax.elicit.bayesian.acquisition import ACQUISITIONS, best_pair, utility_scales
from hare_jax.elicit.bayesian.belief import Kinds

KINDS = Kinds(("ideal", "ideal", "weights"))
NUM_HYPOTHESES, NUM_ANSWERS = len(KINDS.names), 4
X = array([0.2, 0.7])
NOISE, LOG_NUM_DRAWS = 0.1, 14
HALF_CELL = 0.5 ** (LOG_NUM_DRAWS + 1)
NUM_FAVOURITES = 6  # all
POOL = Recourse(array(np.random.default_rng(1).uniform(0, 1, (6, 2))), np.array([True, True, False, True, True, True]))
PRIOR_COV = array(np.array([0.2, 1, 1])[:, None, None] * [[0.3, 0.1], [0.1, 0.2]])
NOTHING = np.zeros((NUM_ANSWERS, 2, 2), X.dtype)


TOLD = {  # pairs (2, 2, d): the first of each was preferred
    "mixed": [[[0.33, 0.79], [0.3, 0.45]], [[0.13, 0.4], [0.2, 0.26]]],
    "utility": [[[0.33, 0.79], [0.3, 0.45]], [[0.13, 0.4], [0.2, 0.26]]],
    "information": [[[0.86, 0.99], [0.8, 0.3]], [[0.22, 0.06], [0.74, 0.9]]],
}


class Learnt(NamedTuple):
    """What is believed after two answers, and what follows from it; leaves of the pool (m, ...)."""

    belief: beliefs.Belief
    weight: np.ndarray  # (h,)
    scale: np.ndarray  # (h,)
    phi: np.ndarray  # (m, h, d)
    c: np.ndarray  # (m, h)


@jit
def learn(pairs):
    log_prior = jnp.log(jnp.array([0.2, 0.2, 0.6]))
    prior = gaussian([[0.5, 0.3], [0.5, 0.3], [1.0, 2.0]], PRIOR_COV)
    belief = beliefs.init(KINDS, prior, log_prior, grid((0.01, 0.2)), NUM_ANSWERS)

    def step(belief, pair):
        return posterior.update(belief, X, *pair, jnp.full(NUM_HYPOTHESES, 0.05)), None

    belief = jax.lax.scan(step, belief, pairs)[0]
    scale = utility_scales(belief, X, POOL)
    return Learnt(belief, beliefs.weight(belief), scale, *jax.vmap(partial(beliefs.features, KINDS, X))(POOL.x))


def people_drawn(learnt):
    """For each hypothesis, people (draws, d) drawn from it, by a sequence that fills the plane evenly."""
    belief, normal = learnt.belief, ndtri(qmc.Sobol(2, scramble=False).random_base2(LOG_NUM_DRAWS) + HALF_CELL)
    return [mean + normal @ np.linalg.cholesky(cov).T for mean, cov in zip(belief.mean, belief.cov, strict=True)]


def utilities_of(learnt, people):
    """Utilities (h, draws, m) of the pool to people drawn from each hypothesis."""
    return np.stack([theta @ learnt.phi[:, at].T + learnt.c[:, at] for at, theta in enumerate(people)])


def widths_of(learnt, people):
    """The width of ties (h, m, m) of all pairs of the pool, as a difference of utilities."""
    width = learnt.belief.manner.width[:, None, None]
    apart = POOL.x[:, None] - POOL.x[None]
    half = np.sum(apart**2, axis=2) / 4 + 1e-12
    across = [np.mean(squares_across(theta, apart), axis=0) for theta in people]
    room = np.maximum(1 - width**2 / (4 * half), 1e-9)
    of_ideal = 2 * width * np.sqrt(half + across / room)
    return np.where(np.array(KINDS.names)[:, None, None] == "ideal", of_ideal, width)


def squares_across(theta, apart):
    """The squared distance (draws, m, m) of each ideal from the line through each pair of the pool."""
    away = theta[:, None, None] - POOL.x[None, :, None]
    along = np.sum(away * apart, axis=3) ** 2 / (np.sum(apart**2, axis=2) + 1e-12)
    return np.sum(away**2, axis=3) - along


def entropy(*chances):
    """In bits."""
    return -sum(xlogy(chance, chance) for chance in chances) / np.log(2)


class Gains(NamedTuple):
    """What each pair brings."""

    utility: dict
    information: dict
    hypothesis: dict


def simulated(learnt, valid):
    """The gains of all pairs of valid members."""
    (belief, weight, scale, phi, _), people = learnt, people_drawn(learnt)
    utility, widths = utilities_of(learnt, people), widths_of(learnt, people)
    gains, best_one = Gains({}, {}, {}), np.max((weight @ (np.mean(utility, axis=1) / scale[:, None]))[valid])
    for i in np.flatnonzero(valid):
        for j in np.flatnonzero(valid[:i]):
            gap, width = utility[..., i] - utility[..., j], widths[:, i, j][:, None]
            wins = np.where(np.abs(gap) < width, weight @ (np.mean(gap, axis=1) / scale), gap) > 0
            better = np.mean(np.where(wins, utility[..., i], utility[..., j]), axis=1) / scale
            gains.utility[i, j] = weight @ better - best_one
            says = answers(belief, gap, width, phi[i] - phi[j])
            known = weight @ np.mean(entropy(*says), axis=1)
            answer = entropy(*(weight @ np.mean(each, axis=1) for each in says))
            gains.information[i, j] = answer - known
            gains.hypothesis[i, j] = answer - weight @ entropy(*(np.mean(each, axis=1) for each in says))
    return gains


def answers(belief, gap, width, change):
    """The probabilities (h, draws) of the answers: the one, the other, a tie."""
    doubt = NOISE * np.sqrt(np.einsum("pd,pde,pe->p", change, PRIOR_COV, change))[:, None]
    lapse = belief.manner.lapse[:, None]
    above, below = ndtr((gap - width) / doubt), ndtr((-gap - width) / doubt)
    told = above + below
    return lapse * told + (1 - 2 * lapse) * above, lapse * told + (1 - 2 * lapse) * below, np.maximum(1 - told, 0)


def brings(name, gains):
    if name != "mixed":
        return getattr(gains, name)
    most = [max(gain.values()) for gain in gains]
    shares = list(zip((1, 1, 0.25), gains, most, strict=True))
    return {pair: sum(share * max(gain[pair], 0) / top for share, gain, top in shares) for pair in gains.utility}


def with_ties(learnt, width):
    manner = learnt.belief.manner._replace(width=np.full(NUM_HYPOTHESES, width, X.dtype))
    return learnt._replace(belief=learnt.belief._replace(manner=manner))


@cache
def best_pair_by(name):
    return jit(partial(best_pair, name, NUM_FAVOURITES))


def choose(name, belief, pool, compared=NOTHING):
    return best_pair_by(name)(NOISE, belief._replace(pair=compared), X, pool)


@jit
def pairs_of(belief):
    return acquisition._pairs(NUM_FAVOURITES, NOISE, belief, X, jax.tree.map(jnp.asarray, POOL), None)


@jit
def gains_of(pairs):
    """What each pair brings, by each acquisition."""
    return {name: gain(pairs) for name, gain in ACQUISITIONS.items()}


def shown_of(pair):
    return {tuple(np.asarray(POOL.x[at]).tolist()) for at in pair}


@pytest.mark.parametrize("name", ACQUISITIONS)
@pytest.mark.parametrize("width", [0.0, 0.003, 0.02, 0.15])
def test_the_pair_brings_most_by_simulation(name, width):
    learnt = with_ties(jax.device_get(learn(array(TOLD[name]))), width)
    valid = POOL.valid if name != "mixed" else np.ones(6, bool)  # gains are relative to those of all members
    gains = brings(name, simulated(learnt, valid))
    a, b, gain = choose(name, learnt.belief, POOL._replace(valid=valid))
    best, tolerance = max(gains.values()), 0.05 if name == "mixed" else 0.015
    np.testing.assert_allclose(gain, best, atol=tolerance)
    shown = {tuple(np.asarray(point).tolist()) for point in (a, b)}
    assert shown in [shown_of(pair) for pair, brought in gains.items() if brought > best - tolerance]


@pytest.mark.parametrize("width", [0.0, 0.15])
def test_information_on_the_hypothesis_is_that_of_simulation(width):
    learnt = with_ties(jax.device_get(learn(array(TOLD["information"]))), width)
    pairs, favourites = pairs_of(learnt.belief)
    found = np.asarray(jit(acquisition.hypothesis_information)(pairs))
    expected = simulated(learnt, np.ones(6, bool)).hypothesis
    assert max(expected.values()) > 0.02
    for (i, j), information in expected.items():
        assert found[list(favourites).index(i), j] == pytest.approx(information, abs=2e-3)


def test_rounding_is_no_information_on_the_hypothesis():
    """Where it is settled, only utility and information count."""
    belief = jax.device_get(learn(array(TOLD["information"]))).belief
    settled = belief._replace(log_weight=array(np.where(np.arange(NUM_HYPOTHESES) == 0, 0.0, -60.0)))
    pairs, _ = pairs_of(settled)
    assert np.all(jit(acquisition.hypothesis_information)(pairs) >= 0)
    gains, allowed = gains_of(pairs), pairs.allowed
    utility, information = np.maximum(gains["utility"], 0), np.asarray(gains["information"])
    most = [np.max(np.where(allowed, gain, 0)) for gain in (utility, information)]
    found = gains["mixed"] - utility / most[0] - information / most[1]
    np.testing.assert_allclose(np.where(allowed, found, 0), 0, atol=0.01)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_certain_ties_tell_nothing(name):
    learnt = jax.device_get(learn(array(TOLD["information"])))
    pairs = [pairs_of(with_ties(learnt, width).belief)[0] for width in (0, 50)]
    kind = "information" if name == "mixed" else name
    informed, blind = (np.max(np.where(each.allowed, gains_of(each)[kind], 0)) for each in pairs)
    assert blind < 0.01 * informed


def test_no_certain_tie_is_asked_about():
    """Though nothing else gains utility: the favourites are two recourses nearer to each other than the width."""
    learnt = with_ties(jax.device_get(learn(array(TOLD["information"]))), 0.15)
    utility = np.einsum("mhd,hd->hm", learnt.phi, learnt.belief.mean) + learnt.c.T
    best = POOL.x[np.argmax(learnt.weight @ (utility / learnt.scale[:, None]))]
    pool = Recourse(np.concatenate([POOL.x, best[None] + array([[0.001, 0.0]])]), np.ones(7, bool))
    a, b, _ = choose("mixed", learnt.belief, pool)
    assert np.linalg.norm(np.asarray(a) - np.asarray(b)) > 0.15


def test_wide_ties_are_no_nan():
    """Both of the other answers are in a tail."""
    learnt = jax.device_get(learn(array(TOLD["information"])))
    for width in np.geomspace(0.01, 100, 20):
        gains = gains_of(pairs_of(with_ties(learnt, width).belief)[0])
        assert all(np.all(np.isfinite(gain)) for gain in gains.values())


def test_a_pair_is_chosen_once_in_either_order():
    belief = jax.device_get(learn(array(TOLD["utility"]))).belief
    first = choose("utility", belief, POOL)
    compared = NOTHING.copy()
    for at, (one, other) in enumerate(((0, 1), (1, 0))):  # answers tell which of both is preferred
        compared[at] = first[one], first[other]
        told = belief._replace(num_told=np.array(at + 1))
        second = choose("utility", told, POOL, compared)
        pairs = [{tuple(np.asarray(point).tolist()) for point in pair[:2]} for pair in (first, second)]
        assert pairs[0] != pairs[1]
        assert float(second[2]) < float(first[2])
        compared[at] = 0
    unanswered = np.broadcast_to(first[0], NOTHING.shape)  # rows without an answer hold one point twice
    again = choose("utility", belief, POOL, unanswered)
    np.testing.assert_array_equal(np.stack(again[:2]), np.stack(first[:2]))


def test_nothing_is_left_to_ask_about_two_recourses_that_were_compared():
    belief = jax.device_get(learn(array(TOLD["utility"]))).belief
    pool = POOL._replace(valid=np.arange(6) < 2)
    compared = NOTHING.copy()
    assert np.isfinite(choose("mixed", belief, pool, compared)[2])
    for apart, left in ((0.0, False), (5e-5, False), (1e-3, True)):  # a person sees no difference of 5e-5
        compared[1] = pool.x[[1, 0]] + apart
        assert np.isfinite(choose("mixed", belief, pool, compared)[2]) == left


def test_two_recourses_that_look_the_same_are_no_question():
    belief = jax.device_get(learn(array(TOLD["utility"]))).belief
    pool = POOL._replace(valid=np.arange(6) < 2)
    for apart, asked in ((5e-5, False), (1e-3, True)):
        near = pool._replace(x=np.concatenate([pool.x[:1], pool.x[:1] + np.float32(apart), pool.x[2:]]))
        assert np.isfinite(choose("mixed", belief, near)[2]) == asked


def test_pairs_that_may_be_shown_are_valid_different_and_not_compared():
    learnt = learn(array(TOLD["mixed"]))
    pair = np.asarray(learnt.belief.pair).copy()
    pair[0] = POOL.x[:2]
    pair[1] = POOL.x[[4, 0]]
    favourites = jnp.array([0, 4, 5])
    found = jit(acquisition._allowed)(learnt.belief._replace(pair=pair), POOL, favourites)
    compared = jit(is_compared)(pair, POOL.x[favourites], POOL.x)
    differ = np.asarray(favourites)[:, None] != np.arange(len(POOL.x))[None]
    np.testing.assert_array_equal(found, POOL.valid[None] & differ & ~np.asarray(compared))
    assert np.sum(compared & differ) == 3
