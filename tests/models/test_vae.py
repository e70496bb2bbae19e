import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import WIDTH, array, full_space, jit, random_rows, random_space, random_spaces

from hare_jax.models import vae
from hare_jax.models.training import train
from hare_jax.space import bounds

HP = vae.Vae(hidden=(16,), num_latents=4, num_steps=40, num_epochs=15)


def tied_rows(seed, num):
    """Rows whose first number tells the other mutable numbers and the binary, and whose second tells the level."""
    rows, levels = random_rows(seed, num, margin=0), np.eye(3)
    rows[:, 2], rows[:, 3], rows[:, 5] = rows[:, 0], np.round(4 * rows[:, 0]) / 4, rows[:, 0] > 0.5
    rows[:, 6:9] = levels[np.minimum(3 * rows[:, 1], 2).astype(int)]
    return rows


def fit(seed=1, space=None, **changes):
    hp = dataclasses.replace(HP, **changes)
    return vae.fit(hp, jax.random.key(seed), tied_rows(seed, 320), space or full_space())


@pytest.fixture(scope="module")
def model():
    return fit()


@jit
def reconstruct(model, rows, given, space):
    """Decoded means of the codes of `rows` for people with the immutables of `given`, and log-likelihoods of rows."""

    def one(x, given):
        raw = vae.decode(model, vae.encode(model, x)[0], given, space)
        return raw, vae.mean_row(raw, given, space), vae.log_likelihood(model, raw, x, space)

    return jax.vmap(one)(rows, given)


def test_likelihood_is_that_of_the_kind_of_each_column():
    rng = np.random.default_rng(0)
    rows, raws = random_rows(2, 20), array(rng.normal(size=(20, WIDTH)))
    centre, scale = array(rng.normal(size=WIDTH)), array(rng.uniform(0.5, 2, WIDTH))
    log_noise = array([-9, *rng.normal(size=WIDTH - 1)])  # the first is narrower than the least
    model = vae.Model(HP, centre, scale, vae.Weights({}, {}, log_noise))
    noise = np.maximum(np.exp(log_noise), HP.least_noise)[:5]
    off = ((rows - raws) / scale)[:, :5] / noise
    numbers = (-(off**2) / 2 - np.log(noise) - np.log(2 * np.pi) / 2).sum(axis=1)
    high = 1 / (1 + np.exp(-raws[:, 5]))
    binary = np.log(np.where(rows[:, 5] > 0.5, high, 1 - high))
    level = np.exp(raws[:, 6:9]) / np.exp(raws[:, 6:9]).sum(axis=1, keepdims=True)
    expected = numbers + binary + np.log((level * rows[:, 6:9]).sum(axis=1))
    found = jit(jax.vmap(vae.log_likelihood, in_axes=(None, 0, 0, None)))(model, raws, rows, full_space())
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_mean_rows_are_within_the_space():
    spaces, rows = random_spaces(3, 60), random_rows(4, 60)
    raws = array(5 * np.random.default_rng(5).normal(size=rows.shape))
    means, (lower, upper) = jit(jax.vmap(lambda raw, x, s: (vae.mean_row(raw, x, s), bounds(s, x))))(raws, rows, spaces)
    assert np.all((means >= lower) & (means <= upper))
    np.testing.assert_array_equal(np.where(spaces.mutable, 0, means), np.where(spaces.mutable, 0, rows))
    assert np.all(np.where(upper == 0, means, 0) == 0)
    np.testing.assert_allclose(means[:, 6:9].sum(axis=1), 1, atol=1e-5)
    share = np.where(upper[:, 6:9] == 0, 0, np.exp(raws[:, 6:9]))
    expected, free = share / share.sum(axis=1, keepdims=True), spaces.mutable[:, 6]
    np.testing.assert_allclose(means[free, 6:9], expected[free], atol=1e-5)


def test_divergence_is_that_of_normals():
    divergence = jit(vae.divergence)
    assert divergence(jnp.zeros(3), jnp.zeros(3)) == 0
    mean, sd = array([1, -2, 0.5]), array([0.5, 1, 3])
    expected = (np.log(1 / sd) + (sd**2 + mean**2) / 2 - 0.5).sum()
    assert divergence(mean, np.log(sd)) == pytest.approx(expected, rel=1e-5)


def test_new_rows_are_reconstructed(model):
    rows, space = tied_rows(6, 200), full_space()
    _, means, likelihood = reconstruct(model, rows, rows, space)
    untrained = reconstruct(fit(learning_rate=0.0), rows, rows, space)[2]
    assert likelihood.mean() > untrained.mean() + 3
    assert np.mean(np.argmax(means[:, 6:9], axis=1) == np.argmax(rows[:, 6:9], axis=1)) > 0.8
    assert np.mean((means[:, 5] > 0.5) == rows[:, 5]) > 0.8
    assert np.abs(means[:, :4] - rows[:, :4]).mean() < 0.15


def test_the_decoder_is_told_the_immutables_alone(model):
    rows, others = tied_rows(7, 200), tied_rows(6, 200)
    raws = reconstruct(model, rows, rows, full_space())[0]
    mutables, immutables = rows.copy(), rows.copy()
    mutables[:, :9], immutables[:, 9:] = others[:, :9], others[:, 9:]
    np.testing.assert_array_equal(reconstruct(model, rows, mutables, full_space())[0], raws)
    assert np.abs(reconstruct(model, rows, immutables, full_space())[0] - raws).max() > 1e-3


def test_another_space_compiles_nothing(model):
    before = vae._fit._cache_size()
    other = fit(8, random_space(np.random.default_rng(9)), kl_weight=0.5, learning_rate=5e-3)
    assert vae._fit._cache_size() == before
    assert not np.allclose(other.centre, model.centre)


def test_training_stops_when_patience_is_over():
    """The watched loss rises from the first epoch on, before it falls far."""

    def loss(weight, key, x, context):
        return weight, jnp.where(weight < -3, -10, -weight)

    def end(patience):
        hp = vae.Vae(learning_rate=0.1, num_steps=4, num_epochs=20, patience=patience)
        return jit(lambda: train(loss, hp, jax.random.key(0), jnp.zeros(()), jnp.zeros((64, 1)), None))()

    assert -0.5 < end(2) < -0.3  # what it was after the first
    assert end(20) < -3


def test_rows_that_are_not_finite_are_an_error():
    rows = tied_rows(1, 20)
    rows[3, 0] = np.nan
    with pytest.raises(ValueError, match="rows: must be finite; got '1 that"):
        vae.fit(HP, jax.random.key(0), rows, full_space())
