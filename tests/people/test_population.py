from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import WIDTH, array, jit, random_problems, row, split, widen

from hare_jax import models
from hare_jax.evaluate import metrics
from hare_jax.people import (
    DISTANCES,
    PERSONS,
    Population,
    cost_weights,
    draw,
    draw_key,
    flipped,
    logistic_flipped,
    prefers_cheaper,
    prefers_nearer,
    refused_start,
)
from hare_jax.recourse.growing_spheres import GrowingSpheres
from hare_jax.space import action_space

NUM, NUM_ANSWERS = 120, 20_000


@jit
def draw_users(hp, keys, problems):
    def one(key, problem):
        return draw(hp, key, models.classifier(problem.params), problem.x, problem.space)

    return jax.vmap(one)(keys, problems)


@jit
def judge(problems, ideal):
    def one(space, x, params, ideal):
        return models.logit(params, x), models.logit(params, ideal), metrics.feasible(x, ideal, space)

    return jax.vmap(one)(*problems, ideal)


@pytest.fixture(scope="module")
def problems():
    """The first person is accepted, and would be anywhere."""
    problems = random_problems(0, NUM)
    for leaf in jax.tree.leaves(problems.params):
        leaf[0] = 0
    models.to_layers(problems.params)[-1].bias[0] = 1
    return problems


def population(distance):
    """With fewer samples than by default, for time."""
    return Population(distance=distance, spheres=GrowingSpheres(num_samples=32, num_attempts=2))


@pytest.fixture(scope="module")
def populations(problems):
    return {
        name: jax.device_get(draw_users(population(distance), split(1, NUM), problems))
        for name, distance in DISTANCES.items()
    }


def test_the_distances_are_the_paper_s():
    assert DISTANCES == {"near": 0.2, "intermediate": 0.8, "far": 1.5}


@pytest.mark.parametrize("name", DISTANCES)
def test_a_hidden_ideal_is_accepted_and_allowed(name, populations, problems):
    ideal = populations[name]["ideal"]
    _, logits, kept = jax.device_get(judge(problems, ideal.hidden))
    assert np.isfinite(ideal.hidden).all()
    assert ideal.valid.sum() > NUM / 5
    assert np.all(logits[ideal.valid] >= 0)
    for rule, holds in kept._asdict().items():
        assert holds.all(), rule
    assert not ideal.valid[0]  # who can't be refused is nobody to ask


def test_draws_are_those_of_a_table_of_two_kinds(populations):
    """Figures of the time when `PERSONS` had the rows `ideal` and `weights` alone."""
    users = populations["far"]
    ideal = [0.15985126793384552, 0.24743664264678955, 0.07765937596559525, 0.10424226522445679, -1.9262425899505615]
    weights = [2.086275100708008, 0.6085056662559509, 3.8527960777282715, 4.5112504959106445, 0.6917648315429688]
    np.testing.assert_allclose(users["ideal"].hidden[2, :5], ideal, rtol=1e-6)
    np.testing.assert_allclose(users["weights"].hidden[2, :5], weights, rtol=1e-6)
    assert np.flatnonzero(users["ideal"].valid)[:2].tolist() == [1, 2]


def test_the_key_of_a_draw_is_that_of_its_kind():
    key = jax.random.key(0)
    keys = [jax.random.key_data(draw_key(key, kind)) for kind in PERSONS]
    np.testing.assert_array_equal(keys[:2], jax.random.key_data(jax.random.split(key, 2)))
    assert len(np.unique(keys, axis=0)) == len(PERSONS)


def test_users_are_independent(populations, problems):
    """Other keys give others ideals and weights; the same key the same, whoever else is drawn."""
    users = populations["intermediate"]
    others, turned = (
        jax.device_get(draw_users(population(DISTANCES["intermediate"]), keys, these))
        for keys, these in (
            (split(2, NUM), problems),
            (split(1, NUM)[::-1], row(problems, slice(None, None, -1))),
        )
    )
    both = users["ideal"].valid & others["ideal"].valid
    assert both.sum() > NUM / 5
    assert np.mean(np.any(users["ideal"].hidden != others["ideal"].hidden, axis=1)[both]) > 0.9
    assert np.all(
        users["weights"].hidden != others["weights"].hidden,
        where=(users["weights"].hidden > 0.1) & (users["weights"].hidden < 5),
    )
    np.testing.assert_allclose(turned["ideal"].hidden[::-1], users["ideal"].hidden, atol=1e-6)
    np.testing.assert_array_equal(turned["weights"].hidden[::-1], users["weights"].hidden)
    # every draw is a new one: no two people agree
    assert len(np.unique(users["weights"].hidden, axis=0)) == NUM


def test_a_further_population_has_more_distant_ideals(populations, problems):
    near, far = (populations[name]["ideal"] for name in ("near", "far"))
    both = near.valid & far.valid
    moved = [np.minimum(np.linalg.norm(ideal.hidden - problems.x, axis=1)[both], 2) for ideal in (near, far)]
    assert both.sum() > NUM / 5
    assert moved[1].mean() > moved[0].mean() + 0.1


@jit
def draw_starts(hp, keys, space, x, params):
    def one(key, x, params):
        logit_fn = models.classifier(params)
        start, found = refused_start(hp, key, logit_fn, x, space)
        return start, found, logit_fn(start)

    return jax.vmap(one)(keys, x, params)


@pytest.mark.parametrize("distance", DISTANCES.values())
def test_the_perturbation_has_the_population_s_norm(distance, problems):
    """In a space without bounds, over the mutable columns alone."""
    mutable = np.arange(WIDTH) % 3 > 0
    space = action_space(mutable, [-np.inf] * WIDTH, [np.inf] * WIDTH)
    starts = draw_starts(Population(distance=distance), split(5, NUM), space, *problems[1:])
    start, found, logits = jax.device_get(starts)
    moved = start - problems.x
    assert NUM / 3 < found.sum() < NUM
    np.testing.assert_allclose(np.linalg.norm(moved[found], axis=1), distance, rtol=1e-4)
    assert not moved[:, ~mutable].any()
    assert np.all(logits[found] < 0)
    assert not moved[~found].any()  # and where there is no such point, the factual


def test_weights_are_between_a_tenth_and_five():
    weights = np.asarray(jit(jax.vmap(partial(cost_weights, x=jnp.zeros(20))))(split(6, 400)))
    np.testing.assert_allclose([weights.min(), weights.max()], [0.1, 5], rtol=1e-6)
    inner = (weights > 0.1) & (weights < 5)
    assert 0.7 < inner.mean() < 0.95
    # the mean of clip(centre + N(0, 1), 0.1, 5) over the five centres, from a large sample of its own
    rng = np.random.default_rng(7)
    expected = np.clip(rng.choice([0.2, 1, 2, 3, 4], 10**6) + rng.normal(size=10**6), 0.1, 5)
    np.testing.assert_allclose(weights.mean(), expected.mean(), atol=4 * expected.std() / np.sqrt(weights.size))
    np.testing.assert_allclose(weights.std(), expected.std(), rtol=0.05)
    # people are independent, and so are a person's columns
    centred = weights - weights.mean(axis=0)
    lagged = np.mean(centred[:-1] * centred[1:], axis=0) / np.var(weights, axis=0)
    between = np.corrcoef(weights.T)[~np.eye(20, dtype=bool)]
    assert np.all(np.abs(np.concatenate([lagged, between])) < 4.5 / np.sqrt(400))


def test_nearer_and_cheaper_by_hand():
    x, a, b = jnp.zeros(2), jnp.array([1.0, 0.0]), jnp.array([0.0, 0.5])
    key = jax.random.key(0)
    nearer, cheaper = Partial(prefers_nearer, jnp.array([0.9, 0.1])), Partial(prefers_cheaper, jnp.array([1.0, 4.0]))
    assert (bool(nearer(key, x, a, b)), bool(nearer(key, x, b, a)), bool(nearer(key, x, a, a))) == (True, False, False)
    assert (bool(cheaper(key, x, a, b)), bool(cheaper(key, x, b, a))) == (True, False)
    assert not cheaper(key, x, a, a)
    assert cheaper(key, x, -a, 2 * a)  # a fall costs as much as a rise


@jit
def share_turned(noise, a, b):
    """How many of many answers differ from the answer without noise."""
    truth, x = Partial(prefers_nearer, jnp.zeros(2)), jnp.zeros(2)

    def one(key):
        return noise(truth, key, x, a, b) != truth(key, x, a, b)

    return jnp.mean(jax.vmap(one)(jax.random.split(jax.random.key(8), NUM_ANSWERS)))


def assert_binomial(noise, a, b, probability):
    for pair in ((a, b), (b, a)):
        spread = np.sqrt(probability * (1 - probability) / NUM_ANSWERS)
        assert abs(float(share_turned(noise, *pair)) - probability) <= 4 * spread


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_flips_are_bernoulli(probability):
    assert_binomial(Partial(flipped, probability), array([0.2, 0.1]), array([0.9, 0.4]), probability)


@pytest.mark.parametrize("distance", [0.0001, 0.5, 1.5])
def test_logistic_flips_are_rarer_for_distant_pairs(distance):
    a, b = array([0.1, 0.0]), array([0.1 + distance, 0.0])
    assert_binomial(Partial(logistic_flipped), a, b, 1 / (1 + np.exp(2 * (distance + 1))))


def test_float32_is_kept_under_x64(problems):
    """Beside a space of float64."""
    space, x, params = row(problems, 0)
    with jax.enable_x64(True):
        users = jax.eval_shape(draw, Population(), jax.random.key(0), models.classifier(params), x, widen(space))
        assert users["ideal"].hidden.dtype == users["weights"].hidden.dtype == x.dtype
