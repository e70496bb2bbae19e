from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import WIDTH, array, full_space, jit, random_problems, random_rows, row, split, widen

from hare_jax import models
from hare_jax.elicit import spreading
from hare_jax.elicit.candidates import PAPER, Sampling, directions, sample
from hare_jax.evaluate import metrics

NUM, NUM_DIRECTIONS = 40, 12
HP = Sampling(num_directions=NUM_DIRECTIONS)


def noise(seed, num=NUM):
    return array(np.random.default_rng(seed).normal(size=(num, NUM_DIRECTIONS, WIDTH)))


def unit_rows(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def largest_cosine(unit):
    """The paper's measure of spread: the mean over directions of the largest cosine with another one."""
    cosine = unit @ np.swapaxes(unit, -1, -2) - 2 * np.eye(unit.shape[-2])
    return cosine.max(axis=-1).mean(axis=-1)


@jit
def optimise(hp, noise, problems, centre):
    def one(noise, problem, centre):
        return directions(hp, noise, models.classifier(problem.params), problem.x, centre, problem.space)

    return jax.vmap(one)(noise, problems, centre)


@pytest.fixture(scope="module")
def problems():
    """The first person may change nothing."""
    problems = random_problems(0, NUM)
    problems.space.mutable[0] = False
    return problems


@pytest.fixture(scope="module")
def centre(problems):
    """A recourse of each person: what may not change is as it was."""
    return np.where(problems.space.mutable, random_rows(3, NUM, margin=0.0), problems.x)


@pytest.fixture(scope="module")
def units(problems, centre):
    return np.asarray(optimise(HP, noise(1), problems, centre))


def test_directions_have_unit_norm(units):
    assert units.shape == (NUM, NUM_DIRECTIONS, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(units[1:], axis=2), 1, rtol=1e-5)


def test_directions_leave_immutable_columns_alone(units, problems):
    assert not units[0].any()
    assert np.all(units == 0, where=~problems.space.mutable[:, None])


def test_spread_is_better_than_random(units, problems):
    random = unit_rows(np.where(problems.space.mutable[:, None], noise(1), 0)[1:])
    enough = problems.space.mutable[1:].sum(axis=1) >= 5
    assert enough.sum() > 20
    assert np.all(largest_cosine(units[1:])[enough] < largest_cosine(random)[enough] - 0.1)


def test_validity_draws_towards_accepted_points(problems, units, centre):
    """Without the pull of the spread, more of the directions lead to accepted points; the weight is traced."""
    greedy = np.asarray(
        optimise(Sampling(num_directions=NUM_DIRECTIONS, spread_weight=0.0), noise(1), problems, centre)
    )

    def share_row(params, points):
        return jnp.mean(jax.vmap(partial(models.logit, params))(points) >= 0)

    share = jit(jax.vmap(share_row))
    accepted = [float(np.mean(share(problems.params, centre[:, None] + unit))) for unit in (greedy, units, noise(1))]
    assert accepted[0] > accepted[1] + 0.05
    assert accepted[0] > accepted[2] + 0.05


@pytest.mark.parametrize(("width", "sharpness"), [(2, None), (WIDTH, None), (WIDTH, 20.0)])
def test_spread_gradient_is_the_gradient_of_the_mean_row_maximum(width, sharpness):
    unit = array(unit_rows(np.random.default_rng(3).normal(size=(50, NUM_DIRECTIONS, width))))

    def spread(unit):
        cosine = jnp.where(jnp.eye(NUM_DIRECTIONS, dtype=bool), -2, unit @ unit.T)
        if sharpness is None:
            return jnp.mean(jnp.max(cosine, axis=1))
        return jnp.mean(jax.nn.logsumexp(sharpness * cosine, axis=1)) / sharpness

    def both(unit):
        ours = spreading.spread_gradient(unit.T[:, :, None], sharpness)
        return ours[:, :, 0].T, jax.grad(spread)(unit)

    with jax.default_matmul_precision("highest"):
        ours, theirs = jit(jax.vmap(both))(unit)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_quarter_of_the_steps_spreads_as_far(problems, units, centre):
    slow = np.asarray(optimise(replace(PAPER, num_directions=NUM_DIRECTIONS), noise(1), problems, centre))
    assert HP.num_steps <= PAPER.num_steps / 4
    assert largest_cosine(units[1:]).mean() <= largest_cosine(slow[1:]).mean() + 0.01


def test_users_of_a_batch_are_optimised_as_if_alone(problems, centre):
    """With and without a derivative, and with a classifier and a space of their own."""
    hp, few = Sampling(num_directions=4, num_steps=6), 3
    given = noise(1)[:few, :4], problems.x[:few], centre[:few]
    params, space = row(problems.params, 0), row(problems.space, 1)

    def one(radius, params, noise, x, centre):
        return directions(replace(hp, radius=radius), noise, models.classifier(params), x, centre, space)

    together = jit(jax.vmap(one, in_axes=(None, None, 0, 0, 0)))(1.0, params, *given)
    alone = jit(lambda *given: jax.lax.map(lambda each: one(1.0, params, *each), given))(*given)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * few), params)
    own = jit(jax.vmap(one, in_axes=(None, 0, 0, 0, 0)))(1.0, many, *given)
    value, tangent = jit(jax.vmap(lambda *given: jax.jvp(lambda r: one(r, params, *given), (1.0,), (1.0,))))(*given)
    slope = jit(jax.vmap(lambda *given: jax.jacrev(lambda r: one(r, params, *given))(1.0)))(*given)
    for other in (alone, own, value):
        np.testing.assert_allclose(together, other, atol=1e-4)
    assert np.abs(tangent).max() > 0
    np.testing.assert_allclose(tangent, slope, rtol=1e-3, atol=1e-4)


def test_candidates_are_allowed_and_on_the_sphere(problems, centre):

    def draw_row(key, problem, centre, radius):
        hp = Sampling(num_directions=NUM_DIRECTIONS, num_steps=5, radius=radius)
        points = sample(hp, key, models.classifier(problem.params), problem.x, centre, problem.space)
        return points, jax.vmap(lambda point: metrics.feasible(problem.x, point, problem.space))(points)

    draw = jit(jax.vmap(draw_row, in_axes=(0, 0, 0, None)))
    keys = split(4, NUM)
    points, kept = jax.device_get(draw(keys, problems, centre, 1.0))
    assert points.shape == (NUM, NUM_DIRECTIONS, WIDTH)
    for name, rule in kept._asdict().items():
        assert rule.all(), name
    assert np.all(points[0] == problems.x[0])

    # a free space, and a radius that no bound cuts: exactly the sphere over the continuous columns
    free = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], NUM, axis=0), full_space())
    free = free._replace(mutable=free.mutable & (np.arange(WIDTH) < 3))
    inside = random_rows(5, NUM, margin=-0.3)
    points, _ = jax.device_get(draw(keys, problems._replace(x=inside, space=free), inside, 0.25))
    np.testing.assert_allclose(np.linalg.norm(points - inside[:, None], axis=2), 0.25, rtol=1e-4)
    again, _ = draw(keys[::-1], problems._replace(x=inside, space=free), inside, 0.25)
    assert not np.any(points == np.asarray(again), where=np.arange(WIDTH) < 3)


def test_float32_is_kept_under_x64(problems):
    """Beside a space of float64."""
    space, x, params = row(problems, 1)
    with jax.enable_x64(True):
        points = jax.eval_shape(sample, HP, jax.random.key(0), models.classifier(params), x, x, widen(space))
        assert points.dtype == x.dtype
