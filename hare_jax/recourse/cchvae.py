"""C-CHVAE: random search in the latent space of an autoencoder, so that recourses look like training rows.

Random directions around the code of the factual are tried on spheres of growing radius. The decoder is told the
factual's immutable columns. The accepted points nearest to the factual in L1 are brought to the boundary, and the one
that is then the nearest wins. The classifier is only asked, never differentiated.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.models import vae
from hare_jax.recourse.latent import Fitted
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows, project


@hyperparams
class Cchvae:
    """The autoencoder of C-CHVAE, and how densely and how far it looks."""

    autoencoder: vae.Vae = vae.Vae()
    num_kept: int = 64  # accepted training rows, around whose codes the search starts again
    num_samples: int = 64  # directions on each sphere
    num_spheres: int = 13  # the largest has radius first_radius * growth^(num_spheres - 1)
    num_finalists: int = 16  # accepted points that are brought to the boundary
    num_attempts: int = 10  # the first looks around the factual's code, the others around those of kept rows
    first_radius: float = 0.3  # Euclidean, in latent units: codes of training rows spread by about 1 in each direction
    growth: float = 1.5
    num_boundary_steps: int = 20  # bisections back towards the factual; 0 leaves the decoded point, as published
    margin: float = MARGIN  # the least logit of a recourse


class Finalists(NamedTuple):
    """The best allowed points so far, the best first."""

    x: Array  # (num_finalists, d)
    rank: Array  # (num_finalists,) the lower the better; negative if accepted


def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Pawelczyk et al. (2020), https://arxiv.org/abs/1910.09398.

    The published search stops at the first shell with an accepted point. But what is near in latent units may be far in
    L1 (a category flips early, a number moves late), so ours tries all spheres, and their radii grow geometrically.
    The boundary search and the restarts at accepted training rows, each a candidate itself, are ours, too.
    """
    hp, kept = fitted.hp, fitted.kept

    def rank(points: Array) -> Array:
        logits = jax.vmap(logit_fn)(points)
        return jnp.where(logits >= hp.margin, -1 / (1 + _distance(points, x)), hp.margin - logits)

    def consider(points: Array, best: Finalists) -> Finalists:
        points, ranks = jnp.concatenate([best.x, points]), jnp.concatenate([best.rank, rank(points)])
        _, order = jax.lax.top_k(-ranks, hp.num_finalists)
        return Finalists(points[order], ranks[order])

    def attempt(carry: tuple[Array, Finalists]) -> tuple[Array, Finalists]:
        index, best = carry
        row = jnp.where(index > 0, kept[order[index - 1]], x)
        spheres = _spheres(fitted, jax.random.fold_in(key, index), row, space)
        best = consider(project(space, x, row)[None, :], best)

        def sphere(best: Finalists, codes: Array) -> tuple[Finalists, None]:
            return consider(jax.vmap(lambda z: _point(fitted.model, z, x, space))(codes), best), None

        return index + 1, jax.lax.scan(sphere, best, spheres)[0]

    def approach(point: Array) -> Recourse:
        return boundary(logit_fn, x, point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)

    order = jnp.argsort(rank(jax.vmap(lambda row: project(space, x, row))(kept)))
    nothing = Finalists(jnp.tile(x, (hp.num_finalists, 1)), jnp.full(hp.num_finalists, jnp.inf, x.dtype))
    untried = (jnp.zeros((), jnp.int32), consider(x[None, :], nothing))
    num_attempts = min(hp.num_attempts, 1 + kept.shape[0])
    _, best = jax.lax.while_loop(lambda c: (c[1].rank[0] >= 0) & (c[0] < num_attempts), attempt, untried)
    found = jax.vmap(approach)(best.x)
    nearest = jnp.argmin(jnp.where(found.valid, _distance(found.x, x), jnp.inf))
    return Recourse(found.x[nearest], found.valid[nearest] & allows(space, x, found.x[nearest]))


def _spheres(fitted: Fitted, key: Array, row: Array, space: ActionSpace) -> Array:
    """Random codes (num_spheres, num_samples, num_latents) on spheres around the code of `row` (d,)."""
    hp = fitted.hp
    code, _ = vae.encode(fitted.model, row)
    normal = jax.random.normal(key, (hp.num_spheres, hp.num_samples, code.shape[0]), code.dtype)
    radius = hp.first_radius * hp.growth ** jnp.arange(hp.num_spheres, dtype=code.dtype)
    return code[None, None, :] + radius[:, None, None] * normal / jnp.linalg.norm(normal, axis=2, keepdims=True)


def _point(model: vae.Model, z: Array, x: Array, space: ActionSpace) -> Array:
    """The allowed point (d,) that code `z` (num_latents,) means for someone at `x` (d,)."""
    return project(space, x, vae.mean_row(vae.decode(model, z, x, space), x, space))


def _distance(points: Array, x: Array) -> Array:
    """L1 distance (n,) of points (n, d) from `x` (d,)."""
    return jnp.sum(jnp.abs(points - x[None, :]), axis=1)
