import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import array, jit, split

from hare_jax.elicit.bayesian import annealing
from hare_jax.elicit.bayesian.annealing import Path, Schedule

NUM, SPREAD, SD = 2000, 2.0, 0.2
PLACES, SHARES = array([[-1.0, 0.0, 7.0], [2.0, 1.0, 7.0]]), array([0.3, 0.7])
VARIES = np.array([True, True, False])


def log_start(points):
    return -jnp.sum(points[:, :2] ** 2, axis=1) / (2 * SPREAD**2)


def log_target(points):
    """Two normal distributions, with more mass at the place that is farther from the start."""
    squares = jnp.sum((points[:, None, :] - PLACES[None]) ** 2, axis=2)
    return jax.nn.logsumexp(jnp.log(SHARES)[None, :] - squares / (2 * SD**2), axis=1)


@jit
def drawn(key):
    key_first, key_steps = jax.random.split(key)
    first = SPREAD * jax.random.normal(key_first, (NUM, 3)) * VARIES[None, :] + PLACES[:1] * ~VARIES[None, :]
    schedule = Schedule(num_temperatures=12, num_moves=2, num_trials=4)
    return annealing.anneal(key_steps, schedule, Path(log_start, log_target, VARIES), first)


def test_draws_follow_a_target_with_two_modes():
    found = np.asarray(drawn(split(0, 1)[0]))
    right = found[:, 0] > 0.5
    assert np.mean(right) == pytest.approx(0.7, abs=0.05)
    for mode, place in zip((found[~right], found[right]), np.asarray(PLACES), strict=True):
        np.testing.assert_allclose(mode.mean(0), place, atol=0.05)
        np.testing.assert_allclose(mode.std(0), [SD, SD, 0], atol=0.03)


def test_a_column_that_does_not_vary_is_kept():
    np.testing.assert_array_equal(np.asarray(drawn(split(1, 1)[0]))[:, 2], 7)


def test_a_slice_shrinks_towards_the_particle():
    """A refused angle becomes the bound on its own side, so that the bracket still holds the particle, at angle 0."""
    low, high, angle = array([-4.0, -4.0]), array([2.0, 2.0]), array([-1.0, 1.0])
    none = array([0.0, 0.0])
    particles = annealing.Particles(jnp.zeros((2, 3)), none, none)
    bracket = annealing.Bracket(low, high, angle, np.zeros(2, bool), particles)
    after = jax.device_get(jit(annealing._shrink)(bracket, particles, np.zeros(2, bool), array([0.0, 1.0])))
    np.testing.assert_array_equal(after.low, [-1, -4])
    np.testing.assert_array_equal(after.high, [2, 1])
    np.testing.assert_array_equal(after.angle, [-1, 1])
    assert not after.accepted.any()
