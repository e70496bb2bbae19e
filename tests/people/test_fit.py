from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from spaces import array, jit, split

from hare_jax.people import choice, objective
from hare_jax.people.fit import Comparisons, Prior, Ratings, answers, fit_preferences
from hare_jax.people.objective import Objective
from hare_jax.solvers.argmin import argmin

WIDTH, NUM_ANSWERS, NUM_PEOPLE = 5, 30, 200


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(("kind", "slack"), [("l1", 0.011), ("squared", 1e-6), ("percentile", 0.02)])
def test_costs_are_those_of_the_published_kinds(kind, slack):
    rng = np.random.default_rng(0)
    rows = rng.uniform(size=(500, WIDTH)) ** 2
    x, x_cf = (array(rng.uniform(0.2, 0.8, WIDTH)) for _ in range(2))
    hp = Objective(kind=kind, knots=objective.quantile_knots(array(rows)), bandwidth=0.005)
    found = jit(objective.column_costs)(hp, x, x_cf)
    share = [np.mean(rows < point, axis=0) for point in (x, x_cf)]
    expected = {"l1": np.abs(x_cf - x), "squared": (x_cf - x) ** 2, "percentile": np.abs(share[1] - share[0])}
    np.testing.assert_allclose(found, expected[kind], rtol=0, atol=slack)
    assert np.all(jit(objective.column_costs)(hp, x, x) == 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", objective.KINDS)
def test_the_objective_has_two_derivatives(x64, kind):
    rng = np.random.default_rng(1)
    hp = Objective(kind=kind, margin=0.5, smoothing=0.1, bandwidth=0.1, knots=jnp.asarray(rng.uniform(size=(9, WIDTH))))
    weights, x, x_cf, plane = (jnp.asarray(rng.uniform(size=WIDTH)) for _ in range(4))

    def cost(weights, plane, x, x_cf):
        return objective.objective(hp, weights, 3.0, lambda z: jnp.tanh(plane @ z) - 1, x, x_cf)

    check_grads(jax.jit(cost), (weights, plane, x, x_cf), order=2, modes=["fwd", "rev"])


def cheapest(weights, params, x):
    """The minimum of the objective in the unit box, with a perceptron for a classifier."""

    def logit_fn(z):
        first, last = params
        return last @ jnp.tanh(first @ z)

    charge = partial(objective.objective, Objective(smoothing=0.05, margin=0.5), weights, 50.0, logit_fn, x)
    return argmin(charge, x, jnp.zeros(WIDTH), jnp.ones(WIDTH))


def test_the_cheapest_recourse_moves_as_finite_differences_say(x64):
    rng = np.random.default_rng(12)
    shapes = (20, WIDTH), ((20, 6, WIDTH), (20, 6)), (20, WIDTH)
    draw = partial(jax.tree.map, is_leaf=lambda shape: isinstance(shape[0], int))
    args = draw(lambda shape: rng.uniform(0.1, 1, shape), shapes)
    args = args[0], jax.tree.map(lambda leaf: 3 * (leaf - 0.6), args[1]), args[2]
    way = draw(lambda shape: rng.normal(size=shape), shapes)
    solve = jit(jax.vmap(cheapest))
    slope = np.asarray(jit(lambda args, way: jax.jvp(jax.vmap(cheapest), args, way)[1])(args, way))
    ends = [solve(*jax.tree.map(lambda leaf, way, eps=eps: leaf + eps * way, args, way)) for eps in (-1e-6, 1e-6)]
    ends = jax.device_get(ends)
    at_bound = (ends[0] == 0) | (ends[0] == 1)
    assert 0.02 < at_bound.mean() < 0.5
    assert np.all(slope[at_bound] == 0)
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-6, rtol=1e-5, atol=1e-6)


def test_a_kind_that_is_not_there_and_knots_that_are_missing():
    with pytest.raises(ValueError, match="kind: must be one of l1, squared, percentile; got 'l2'"):
        objective.column_costs(Objective(kind="l2"), jnp.zeros(2), jnp.ones(2))
    with pytest.raises(ValueError, match="smoothing: must be above 0 except for squared; got 0"):
        objective.column_costs(Objective(smoothing=0.0), jnp.zeros(2), jnp.ones(2))
    with pytest.raises(ValueError, match="knots: must be given for percentile"):
        objective.column_costs(Objective(kind="percentile"), jnp.zeros(2), jnp.ones(2))


PAIR = np.ones((1, 2))


def person(key, sharpness=10.0, num=NUM_ANSWERS):
    """Hidden weights, and the answers that Bradley and Terry draw for them."""
    key_weights, key_a, key_b, key_answer = jax.random.split(key, 4)
    x = jnp.zeros(WIDTH)
    weights = jnp.exp(Prior().centre + Prior().spread * jax.random.normal(key_weights, x.shape))
    a, b = (jax.random.uniform(key, (num, WIDTH)) for key in (key_a, key_b))
    chance = jax.nn.sigmoid(sharpness * (b - a) @ weights)
    return weights, x, a, b, jax.random.bernoulli(key_answer, chance).astype(x.dtype)


@jit
def learn(keys, trust):
    def one(key, trust):
        weights, x, a, b, chose_a = person(key)
        return weights, fit_preferences(
            Prior(), answers(Objective(smoothing=1e-3), x, Comparisons(a, b, chose_a, trust))
        )

    return jax.vmap(one, in_axes=(0, None))(keys, trust)


def correlation(a, b):
    """Of the ranks, for each row."""
    ranks = [np.argsort(np.argsort(rows, axis=1), axis=1) for rows in (a, b)]
    return np.array([np.corrcoef(one, two)[0, 1] for one, two in zip(*ranks, strict=True)])


def test_answers_recover_the_order_of_the_weights():
    hidden, learnt = jax.device_get(learn(split(0, NUM_PEOPLE), array(np.ones(NUM_ANSWERS))))
    _, little = jax.device_get(learn(split(0, NUM_PEOPLE), array((np.arange(NUM_ANSWERS) < 5) * 1.0)))
    _, nothing = jax.device_get(learn(split(0, NUM_PEOPLE), array(np.zeros(NUM_ANSWERS))))
    assert correlation(hidden, learnt.log_weights).mean() > 0.75
    assert correlation(hidden, little.log_weights).mean() < correlation(hidden, learnt.log_weights).mean() - 0.1
    np.testing.assert_allclose(nothing.log_weights, Prior().centre, atol=1e-6)
    np.testing.assert_allclose(
        nothing.covariance, np.broadcast_to(np.eye(WIDTH), (NUM_PEOPLE, WIDTH, WIDTH)), atol=1e-6
    )
    variance = [np.diagonal(known.covariance, axis1=1, axis2=2).mean() for known in (nothing, little, learnt)]
    assert variance[0] > variance[1] > variance[2]


def test_the_covariance_is_as_wide_as_the_errors():
    hidden, learnt = jax.device_get(learn(split(1, NUM_PEOPLE), array(np.ones(NUM_ANSWERS))))
    error = np.log(hidden) - learnt.log_weights
    far = error / np.sqrt(np.diagonal(learnt.covariance, axis1=1, axis2=2))
    assert 0.8 < np.sqrt(np.mean(far**2)) < 1.25


def test_ratings_tell_the_weights_whatever_their_zero():
    @jit
    def fit(key):
        weights, x, a, *_ = person(key)
        said = answers(Objective(smoothing=1e-4), x, rated=Ratings(a, 7.0 - a @ weights))
        return weights, fit_preferences(Prior(rating_sd=0.01), said)

    weights, found = fit(jax.random.key(3))
    np.testing.assert_allclose(found.weights, weights, rtol=0.05, atol=0.03)


def test_a_single_rating_says_nothing_whatever_its_trust():
    @jit
    def fit(rated, rating, trust):
        said = answers(Objective(), jnp.zeros(2), rated=Ratings(rated, rating, trust))
        return fit_preferences(Prior(), said).log_weights

    np.testing.assert_allclose(fit(array([[1.0, 1.0]]), array([7.0]), array([0.5])), Prior().centre, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"compared": Comparisons(PAIR, np.ones((2, 2)), np.ones(1))}, r"b: must have shape \(1, 2\); got \(2, 2\)"),
        ({"compared": Comparisons(PAIR, PAIR, np.ones(2))}, r"chose_a: must have shape \(1,\); got \(2,\)"),
        ({"compared": Comparisons(PAIR, PAIR, 2 * np.ones(1))}, "chose_a: must be from 0 to 1"),
        ({"compared": Comparisons(np.ones((1, 3)), PAIR, np.ones(1))}, r"a: must have shape \(1, 2\); got \(1, 3\)"),
        ({"rated": Ratings(PAIR, np.ones(3))}, r"value: must have shape \(1,\); got \(3,\)"),
        ({"vetoed": np.ones(3, bool)}, r"vetoed: must have shape \(2,\); got \(3,\)"),
    ],
)
def test_answers_that_do_not_fit_together_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        answers(Objective(), jnp.zeros(2), **given)


def test_a_vetoed_column_has_the_largest_weight():
    @jit
    def fit(key, vetoed):
        _, x, a, b, chose_a = person(key)
        return fit_preferences(Prior(), answers(Objective(), x, Comparisons(a, b, chose_a), vetoed=vetoed))

    found = jax.device_get(fit(jax.random.key(4), np.arange(WIDTH) == 2))
    assert np.isclose(found.weights[2], 1e3)
    assert np.all(np.delete(found.weights, 2) < 100)
    assert not found.covariance[2].any()
    assert not found.covariance[:, 2].any()
    assert np.all(np.isfinite(found.covariance))


def learnt_weights(a, chose_a, rating, centre, sharpness):
    x = jnp.zeros(WIDTH)
    b = jnp.flip(a, axis=0) ** 2
    hp = Prior(centre=centre, sharpness=sharpness)
    vetoed = jnp.arange(WIDTH) == 1
    said = answers(Objective(smoothing=0.1), x, Comparisons(a, b, chose_a), Ratings(b, rating), vetoed)
    found = fit_preferences(hp, said)
    return found.log_weights, found.covariance


def example():
    rng = np.random.default_rng(5)
    a, chose_a, rating = rng.uniform(size=(7, WIDTH)), rng.integers(2, size=7) * 1.0, rng.normal(size=7)
    return tuple(np.asarray(value) for value in (a, chose_a, rating, 0.5, 4.0))


def test_the_derivative_through_the_fit_is_that_of_finite_differences(x64):
    args, rng = example(), np.random.default_rng(6)
    way = jax.tree.map(lambda leaf: rng.normal(size=np.shape(leaf)), args)
    fit = jit(learnt_weights)
    slope = jit(lambda args, way: jax.jvp(learnt_weights, args, way)[1])(args, way)
    low, high = (fit(*jax.tree.map(lambda leaf, way, eps=eps: leaf + eps * way, args, way)) for eps in (-1e-5, 1e-5))
    for one, below, above in zip(slope, low, high, strict=True):
        np.testing.assert_allclose(one, (above - below) / 2e-5, rtol=1e-5, atol=1e-7)
    assert slope[0][1] == 0


@pytest.mark.slow
def test_the_fit_has_two_derivatives(x64):
    fit = jax.jit(lambda *args: learnt_weights(*args)[0])
    check_grads(fit, example(), order=2, modes=["fwd", "rev"], eps=1e-6, rtol=1e-5)


def chances(seed, num):
    """Any chances, not those of costs."""
    beats = np.random.default_rng(seed).uniform(size=(num, num))
    return np.triu(beats, 1) + np.tril(1 - beats.T, -1) + np.eye(num) / 2


def enumerated(beats):
    """The same by all sequences of outcomes."""
    num, total = len(beats), np.zeros(len(beats))
    for outcomes in product((False, True), repeat=num - 1):
        best, chance = 0, 1.0
        for challenger, won in enumerate(outcomes, start=1):
            chance *= beats[challenger, best] if won else 1 - beats[challenger, best]
            best = challenger if won else best
        total[best] += chance
    return total


@pytest.mark.parametrize("num", [1, 2, 7])
def test_the_expected_choice_is_that_of_all_outcomes(num):
    beats = chances(7, num)
    found = jit(choice.expected_choice)(array(beats))
    np.testing.assert_allclose(found, enumerated(beats), rtol=0, atol=1e-6)


def test_the_expected_choice_is_that_of_simulated_sessions():
    num, sessions = 12, 40_000
    beats, rng = chances(8, num), np.random.default_rng(9)
    best = np.zeros(sessions, int)
    for challenger in range(1, num):
        best = np.where(rng.random(sessions) < beats[challenger, best], challenger, best)
    found = jit(choice.expected_choice)(array(beats))
    np.testing.assert_allclose(found, np.bincount(best, minlength=num) / sessions, rtol=0, atol=0.012)


def regret(cost, sharpness, points, valid):
    chosen = choice.expected_choice(choice.beats_matrix(cost, sharpness, valid))
    return choice.expected_recourse(chosen, points), choice.expected_regret(chosen, cost, valid)


@pytest.mark.slow
@pytest.mark.parametrize("valid", [None, np.array([False, True, False, True, True, True])])
def test_the_expected_choice_has_two_derivatives(x64, valid):
    rng = np.random.default_rng(10)
    args = tuple(jnp.asarray(value) for value in (rng.uniform(size=6), 3.0, rng.normal(size=(6, 3))))
    check_grads(jax.jit(partial(regret, valid=valid)), args, order=2, modes=["fwd", "rev"])


def test_the_sharper_the_less_regret_and_the_invalid_is_not_chosen():
    cost, valid = array([0.1, 0.5, 0.9, 0.3]), np.array([False, True, True, True])
    run = jit(lambda sharpness: regret(cost, sharpness, jnp.eye(4), valid))
    regrets = [run(sharpness) for sharpness in (0.0, 5.0, 1e3)]
    assert all(chosen[0] == 0 for chosen, _ in regrets)
    assert regrets[0][1] > regrets[1][1] > regrets[2][1]
    np.testing.assert_allclose(regrets[2][1], 0, atol=1e-6)


def test_a_sampled_choice_has_the_gradient_of_its_chances():
    chosen = array([0.2, 0.0, 0.5, 0.3])
    draw = jit(jax.vmap(choice.sampled_choice, in_axes=(0, None)))
    drawn = np.asarray(draw(split(11, 500), chosen))
    np.testing.assert_allclose(np.sort(drawn, axis=1), np.broadcast_to([0, 0, 0, 1], drawn.shape), atol=1e-6)
    np.testing.assert_allclose(drawn.mean(axis=0), chosen, atol=0.07)
    value = array([1.0, 2.0, 3.0, 4.0])
    slope = jit(jax.grad(lambda chosen: choice.sampled_choice(jax.random.key(0), chosen) @ value))(chosen)
    np.testing.assert_allclose(slope, value, rtol=1e-6)
