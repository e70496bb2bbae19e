"""C-CHVAE and REVISE, which search the codes of one autoencoder."""

import dataclasses
from functools import partial
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import column, full_space, jit, one_unit, random_rows, split

from hare_jax import models, vae
from hare_jax.recourse import cchvae, revise
from hare_jax.recourse.cchvae import Cchvae
from hare_jax.recourse.revise import Revise
from hare_jax.space import allows

SMALL = vae.Vae(hidden=(16,), num_latents=4, num_steps=40, num_epochs=15)
HP = {
    cchvae: Cchvae(autoencoder=SMALL, num_kept=16, num_samples=16, num_spheres=8, num_finalists=4, num_attempts=4),
    revise: Revise(autoencoder=SMALL, num_kept=16, num_steps=30, num_attempts=3),
}
WEIGHT = 4 * column(0) + 4 * column(2) + 2 * column(8)
SMOOTH = models.classifier(one_unit(WEIGHT, 0, 1, -6))  # accepts where the weighted sum is 6
DEAD = models.classifier(one_unit(WEIGHT, -5, 1, -1))  # likewise, but flat below 5
both = pytest.mark.parametrize("method", [cchvae, revise], ids=["cchvae", "revise"])


def step(logit_fn, x):
    return jnp.where(logit_fn(x) >= 0, 1.0, -1.0)


def classifier(method: ModuleType, logit_fn):
    """C-CHVAE only asks the classifier, so it is given one without slopes."""
    return Partial(step, logit_fn) if method is cchvae else logit_fn


@pytest.fixture(scope="module")
def rows():
    """The third number follows the first, the level the second."""
    rows = random_rows(0, 320, margin=0)
    rows[:, 2], rows[:, 6:9] = rows[:, 0], np.eye(3)[np.minimum(3 * rows[:, 1], 2).astype(int)]
    return rows


@pytest.fixture(scope="module")
def refused(rows):
    """Twelve rows whose weighted sum is below 4, so that both classifiers refuse them and one is flat there."""
    return rows[rows @ WEIGHT < 4][:12]


@pytest.fixture(scope="module")
def fitted(rows):
    return {
        method: method.fit(hp, jax.random.key(1), classifier(method, SMOOTH), rows, full_space())
        for method, hp in HP.items()
    }


@partial(jit, static_argnums=0)
def _solve(method, fitted, keys, logit_fn, xs, space):
    def one(key, x):
        found = method.generate(fitted, key, logit_fn, x, space)
        return found, logit_fn(found.x), allows(space, x, found.x)

    return jax.vmap(one)(keys, xs)


def solve(method, fitted, logit_fn, xs, **changes):
    fitted = fitted._replace(hp=dataclasses.replace(fitted.hp, **changes))
    return jax.device_get(_solve(method, fitted, split(2, len(xs)), classifier(method, logit_fn), xs, full_space()))


@both
def test_recourses_are_valid_and_the_boundary_search_brings_them_nearer(method, fitted, refused):
    distances = []
    for num_steps in 0, 20:
        found, logits, allowed = solve(method, fitted[method], SMOOTH, refused, num_boundary_steps=num_steps)
        assert found.valid.all()
        assert np.all(logits >= 0)
        assert allowed.all()
        distances.append(np.abs(found.x - refused).sum(axis=1))
    assert np.all(distances[1] <= distances[0] + 1e-5)
    assert distances[1].mean() < distances[0].mean() - 1e-3


@both
def test_decoded_points_look_like_the_rows(method, fitted, refused):
    found, *_ = solve(method, fitted[method], SMOOTH, refused, num_boundary_steps=0)
    assert np.abs(found.x[:, 0] - found.x[:, 2]).mean() < 0.15  # a third if they knew nothing of each other


@both
def test_it_starts_again_at_kept_rows(method, fitted, refused):
    """Where the own code leads nowhere: the spheres around it are tiny, or the classifier is flat."""
    nowhere = {"first_radius": 1e-5} if method is cchvae else {}
    found, *_ = solve(method, fitted[method], DEAD, refused, **nowhere)
    assert found.valid.all()
    lost = fitted[method]._replace(kept=np.tile(refused[:4], (4, 1)))
    found, logits, allowed = solve(method, lost, DEAD, refused, **nowhere)
    assert not found.valid.any()
    assert np.all(logits < 0)
    assert allowed.all()
