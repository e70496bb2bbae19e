import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import jit, split

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.models import vae
from hare_jax.recourse import clue, latent
from hare_jax.space import action_space

SMALL = vae.Vae(hidden=(8,), num_latents=2, kl_weight=0.1, num_steps=20, num_epochs=10)


def stack(*classifiers):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *classifiers)


class Fitted(NamedTuple):
    space: Any
    rows: jax.Array  # (200, 3): the second column follows the first, the third is immutable
    logit_fn: Partial  # accepts where the first two add up to 1.2
    fitted: latent.Fitted  # answers with the decoded point; the ensemble is the classifier twice


def unit(weight, bias, slope, offset):
    """The classifier `slope * relu(weight . x + bias) + offset`: linear where that is in reach, flat below."""
    layers = ([weight], [bias]), ([[slope]], [offset])
    return models.classifier(models.from_layers((jnp.array(a), jnp.array(b)) for a, b in layers))


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 1, 200)
    rows = np.stack([first, np.clip(first + rng.normal(0, 0.05, 200), 0, 1), rng.uniform(0, 1, 200)], axis=1)
    rows = jnp.asarray(rows, float)
    space = action_space(mutable=[True, True, False], lower=np.zeros(3), upper=np.ones(3))
    logit_fn = unit([5.0, 5.0, 0.0], 10.0, 1.0, -16.0)
    hp = clue.Clue(
        autoencoder=SMALL,
        num_kept=16,
        descent=latent.LatentDescent(num_steps=40, learning_rate=0.2),
        num_boundary_steps=0,
        ensemble=stack(logit_fn, logit_fn),
    )
    return Fitted(space, rows, logit_fn, latent.fit(hp, jax.random.key(0), logit_fn, rows, space))


@jit
def generate_all(fitted, keys, logit_fn, xs, space) -> Recourse:
    return jax.vmap(lambda key, x: clue.generate(fitted, key, logit_fn, x, space))(keys, xs)


def generate(fitted, logit_fn, xs, space):
    return jax.device_get(generate_all(fitted, split(1, len(xs)), logit_fn, xs, space))


@jit
def entropies(logits):
    """Signed entropies (n,) and slopes of logits (n, members)."""
    return jax.vmap(jax.value_and_grad(clue.signed_entropy))(logits)


def refused(fitted):
    return fitted.rows[fitted.rows[:, :2].sum(axis=1) < 1][:8]


def test_entropy_is_signed():
    logits = np.linspace(0.01, 8, 20, dtype="float32")
    p = 1 / (1 + np.exp(-logits))
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    every = np.concatenate([-logits[::-1], logits, [-1e4, 1e4]])[:, None].astype("float32")
    signed, slopes = entropies(every)
    np.testing.assert_allclose(signed[20:40], entropy, atol=1e-5)
    np.testing.assert_allclose(signed[:20], 2 * np.log(2) - entropy[::-1], atol=1e-5)
    assert np.all(np.diff(signed[:40]) < 0)
    np.testing.assert_allclose(signed[40:], [2 * np.log(2), 0], atol=1e-5)
    assert np.isfinite(slopes).all()


def test_members_that_disagree_are_uncertain():
    one, other = unit([9.0, 0.0, 0.0], 9.0, 1.0, -9.0), unit([0.0, 9.0, 0.0], 9.0, 1.0, -9.0)
    logits = jit(clue.member_logits)(stack(one, other), jnp.array([1.0, -1.0, 0.0]))
    np.testing.assert_allclose(logits, [9, -9])
    (disagree, agree, refuse), _ = entropies(jnp.array([[9.0, -9.0], [2.0, 2.0], [-2.0, -2.0]]))
    assert disagree == pytest.approx(np.log(2), abs=1e-4)
    alone, _ = entropies(jnp.array([[2.0], [-2.0]]))
    np.testing.assert_allclose([agree, refuse], alone, atol=1e-5)


def test_kept_rows_are_accepted(fitted):
    kept = np.asarray(fitted.fitted.kept)
    assert kept.shape == (16, 3)
    assert np.all(kept[:, 0] + kept[:, 1] >= 1.2)
    few = jnp.concatenate([refused(fitted), fitted.fitted.kept[:2]])
    kept = np.asarray(latent.keep_accepted(jax.random.key(0), fitted.logit_fn, few, 16))
    assert kept.shape == few.shape
    np.testing.assert_array_equal(np.sort(kept[:2], axis=0), np.sort(few[-2:], axis=0))  # accepted ones first


def test_refused_rows_are_solved_near_the_rows_of_training(fitted):
    xs = refused(fitted)
    found = generate(fitted.fitted, fitted.logit_fn, xs, fitted.space)
    assert found.valid.all()
    assert np.all(np.abs(found.x[:, 0] - found.x[:, 1]) < 0.25)  # the two columns move together
    np.testing.assert_array_equal(found.x[:, 2], xs[:, 2])
    assert np.all(found.x[:, :2].sum(axis=1) < 1.5)  # no deeper than it must be


def test_it_starts_again_at_an_accepted_row_where_the_slope_is_nothing(fitted):
    flat = unit([10.0, 0.0, 0.0], -7.0, 1.0, -0.5)  # below 0.7, and accepts above 0.75
    xs = refused(fitted)
    found = generate(fitted.fitted, flat, xs, fitted.space)
    assert found.valid.all()
    assert np.all(found.x[:, 0] >= 0.75)
    refuses = generate(fitted.fitted, unit([0.0, 0.0, 0.0], 0.0, 1.0, -1.0), xs, fitted.space)
    assert not refuses.valid.any()
    np.testing.assert_array_equal(refuses.x, xs)


def test_the_ensemble_leads_the_descent(fitted):
    xs = refused(fitted)
    alone = generate(fitted.fitted, fitted.logit_fn, xs, fitted.space)
    other = stack(fitted.logit_fn, unit([5.0, 0.0, 0.0], 10.0, 1.0, -16.0))
    hp = dataclasses.replace(fitted.fitted.hp, ensemble=other)
    doubtful = generate(fitted.fitted._replace(hp=hp), fitted.logit_fn, xs, fitted.space)
    assert doubtful.valid.all()
    assert not np.allclose(doubtful.x, alone.x, atol=1e-3)
