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
from hare_jax.recourse import cruds
from hare_jax.recourse.latent import LatentDescent
from hare_jax.space import action_space

NUM_LATENTS = 4  # two of z, two of w
SMALL = vae.Vae(hidden=(16,), num_latents=NUM_LATENTS, kl_weight=0.5, num_steps=50, num_epochs=20)


def unit(weight, bias, slope, offset):
    """The classifier `slope * relu(weight . x + bias) + offset`: linear where that is in reach, flat below."""
    layers = ([weight], [bias]), ([[slope]], [offset])
    return models.classifier(models.from_layers((jnp.array(a), jnp.array(b)) for a, b in layers))


class Fitted(NamedTuple):
    space: Any
    rows: jax.Array  # (400, 3): only the first column decides; the third is immutable
    logit_fn: Partial
    fitted: cruds.Fitted
    codes: np.ndarray  # (400, 4) means of the rows' codes
    accepted: np.ndarray  # (400,)


@jit
def encode(model, rows):
    return jax.vmap(lambda row: vae.encode(model, row)[0])(rows)


@pytest.fixture(scope="module")
def fitted():
    rows = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (400, 3)), float)
    space = action_space(mutable=[True, True, False], lower=np.zeros(3), upper=np.ones(3))
    logit_fn = unit([10.0, 0.0, 0.0], 10.0, 1.0, -16.0)
    descent = LatentDescent(num_steps=40, learning_rate=0.2)
    hp = cruds.Cruds(autoencoder=SMALL, num_kept=16, descent=descent, num_boundary_steps=0)
    model = cruds.fit(hp, jax.random.key(0), logit_fn, rows, space)
    codes = np.asarray(encode(model.model, rows))
    return Fitted(space, rows, logit_fn, model, codes, np.asarray(rows[:, 0] > 0.6))


@jit
def generate_all(fitted, keys, logit_fn, xs, space) -> Recourse:
    return jax.vmap(lambda key, x: cruds.generate(fitted, key, logit_fn, x, space))(keys, xs)


def generate(fitted, logit_fn, xs, space):
    return jax.device_get(generate_all(fitted, split(1, len(xs)), logit_fn, xs, space))


def separation(column, accepted):
    """Distance between the means of accepted and refused rows, over the s.d. within them."""
    within = (column[accepted].std() + column[~accepted].std()) / 2
    return abs(column[accepted].mean() - column[~accepted].mean()) / within


def test_w_tells_the_decision_and_z_does_not(fitted):
    told = [separation(column, fitted.accepted) for column in fitted.codes.T]
    assert max(told[:2]) < 1
    assert min(told[2:]) > 2
    means = fitted.codes[fitted.accepted, 2:].mean(axis=0), fitted.codes[~fitted.accepted, 2:].mean(axis=0)
    np.testing.assert_allclose(means[0] - means[1], fitted.fitted.hp.separation, atol=1)


def test_refused_rows_are_solved_by_what_decides(fitted):
    xs = fitted.rows[~fitted.accepted][:8]
    found = generate(fitted.fitted, fitted.logit_fn, xs, fitted.space)
    assert found.valid.all()
    np.testing.assert_array_equal(found.x[:, 2], xs[:, 2])
    moved = np.abs(found.x - xs).mean(axis=0)
    assert moved[1] < moved[0] / 2


def test_decisions_that_are_all_the_same_do_no_harm(fitted):
    refuse = unit([0.0, 0.0, 0.0], 0.0, 1.0, -1.0)
    model = cruds.fit(fitted.fitted.hp, jax.random.key(0), refuse, fitted.rows, fitted.space)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model))
    xs = fitted.rows[~fitted.accepted][:8]
    assert not generate(model, refuse, xs, fitted.space).valid.any()


def test_it_starts_again_at_an_accepted_row_where_the_slope_is_nothing(fitted):
    flat = unit([0.0, 10.0, 0.0], -8.0, 1.0, -0.5)  # of a column that w knows nothing about; accepts above 0.85
    model = cruds.Fitted(fitted.fitted.hp, fitted.fitted.model, fitted.rows[fitted.rows[:, 1] > 0.9][:16])
    xs = fitted.rows[~fitted.accepted & np.asarray(fitted.rows[:, 1] < 0.5)][:8]
    assert generate(model, flat, xs, fitted.space).valid.all()


def test_rows_that_are_not_finite_are_an_error(fitted):
    with pytest.raises(ValueError, match="rows: must be finite"):
        cruds.fit(fitted.fitted.hp, jax.random.key(0), fitted.logit_fn, fitted.rows.at[0, 0].set(jnp.nan), fitted.space)
