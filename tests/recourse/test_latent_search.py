"""C-CHVAE and REVISE, which search the codes of one autoencoder."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import column, full_space, jit, one_unit, random_rows, row, split

from hare_jax import models
from hare_jax.models import vae
from hare_jax.recourse import cchvae, latent, revise
from hare_jax.space import allows

SMALL = vae.Vae(hidden=(16,), num_latents=4, num_steps=40, num_epochs=15)
HP = {
    cchvae: cchvae.Cchvae(autoencoder=SMALL, num_kept=16, num_samples=16, num_spheres=8, num_finalists=4),
    revise: revise.Revise(autoencoder=SMALL, num_kept=16, descent=latent.LatentDescent(num_steps=30, num_attempts=3)),
}
WEIGHT = 4 * column(0) + 4 * column(2) + 2 * column(8)
SMOOTH = models.classifier(one_unit(WEIGHT, 0, 1, -6))  # accepts where the weighted sum is 6
DEAD = models.classifier(one_unit(WEIGHT, -5, 1, -1))  # likewise, but flat below 5
both = pytest.mark.parametrize("method", [cchvae, revise], ids=["cchvae", "revise"])


def step(logit_fn, x):
    return jnp.where(logit_fn(x) >= 0, 1.0, -1.0)


def classifier(method, logit_fn):
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
    """Rows that both classifiers refuse, far into where one of them is flat."""
    return rows[rows @ WEIGHT < 4][:12]


@pytest.fixture(scope="module")
def fitted(rows):
    key, space = jax.random.key(1), full_space()
    return {method: latent.fit(hp, key, classifier(method, SMOOTH), rows, space) for method, hp in HP.items()}


@partial(jit, static_argnums=0)
def _solve(method, fitted, num_boundary_steps, keys, logit_fn, xs, space):
    """The number of bisections is traced here, so that another one compiles nothing."""
    fitted = fitted._replace(hp=dataclasses.replace(fitted.hp, num_boundary_steps=num_boundary_steps))

    def one(key, x):
        found = method.generate(fitted, key, logit_fn, x, space)
        return found, logit_fn(found.x), allows(space, x, found.x)

    return jax.vmap(one)(keys, xs)


def solve(method, fitted, logit_fn, xs, num_boundary_steps=20, **changes):
    fitted = fitted._replace(hp=dataclasses.replace(fitted.hp, **changes))
    keys, logit_fn = split(2, len(xs)), classifier(method, logit_fn)
    return jax.device_get(_solve(method, fitted, num_boundary_steps, keys, logit_fn, xs, full_space()))


def test_accepted_candidates_come_first_then_the_cheapest_then_the_highest_logit():
    rng = np.random.default_rng(3)
    cost, logit = rng.uniform(0, 100, 60).astype("float32"), rng.normal(0, 3, 60).astype("float32")
    candidates = latent.Candidate(np.zeros((60, 2), "float32"), logit >= 0.5, cost, 0.5 - logit)
    order = np.lexsort((np.where(logit >= 0.5, cost, -logit), logit < 0.5))
    np.testing.assert_array_equal(np.argsort(latent.sort_key(candidates)), order)
    for first, second in zip(order[:8], order[-8:], strict=True):
        one, other = row(candidates, int(first)), row(candidates, int(second))
        assert latent.better(one, other).cost == latent.better(other, one).cost == one.cost


@both
def test_recourses_are_valid_and_the_boundary_search_brings_them_nearer(method, fitted, refused):
    distances = []
    for num_steps in 0, 20:
        found, logits, allowed = solve(method, fitted[method], SMOOTH, refused, num_boundary_steps=num_steps)
        assert found.valid.all()
        assert np.all(logits >= 0)
        assert allowed.all()
        if num_steps == 0:  # the decoded points look like the rows
            assert np.abs(found.x[:, 0] - found.x[:, 2]).mean() < 0.15
        distances.append(np.abs(found.x - refused).sum(axis=1))
    assert np.all(distances[1] <= distances[0] + 1e-5)
    assert distances[1].mean() < distances[0].mean() - 1e-3


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
