"""C-CHVAE: random search in the latent space of an autoencoder, so that recourses resemble training rows.

Random directions around the code of the factual are tried on spheres of growing radius. The decoder is given the
factual's immutable columns. The accepted points nearest to the factual in L1 are moved to the boundary, and the one
that is then the nearest is returned. The classifier is only evaluated, never differentiated.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, Growth, Natural, NonNegative, Positive
from hare_jax.models import vae
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.latent import Candidate, Fitted, decode_point, judge, sort_key, take
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows, distance, project


@pytree_dataclass
class Cchvae:
    """Autoencoder of C-CHVAE, and the number and size of its spheres."""

    autoencoder: vae.Vae = vae.Vae()
    num_kept: Count = 64  # accepted training rows, around whose codes the search starts again
    num_samples: Count = 64  # directions on each sphere
    num_spheres: Count = 13  # the largest has radius first_radius * growth^(num_spheres - 1)
    num_finalists: Count = 16  # accepted points that are moved to the boundary
    num_attempts: Count = 10  # the first searches around the factual's code, the others around those of kept rows
    first_radius: Positive = 0.3  # Euclidean, in latent units: codes of training rows spread by about 1 in each
    growth: Growth = 1.5
    num_boundary_steps: Natural = 20  # bisections back towards the factual; 0 leaves the decoded point, as published
    margin: NonNegative = MARGIN  # the least logit of a recourse


class _Attempts(NamedTuple):
    """State of the loop over attempts."""

    num_tried: Array  # () int32, which is the index of the next attempt
    finalists: Candidate  # (num_finalists,) the best candidates so far, the best first


@on_boundary
def generate(fitted: Fitted[Cchvae], key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Pawelczyk et al. (2020), https://arxiv.org/abs/1910.09398.

    The published search stops at the first shell with an accepted point. But a point that is near in latent units may
    be far in L1 (a category flips early, a number moves late), so this version tries all spheres, and their radii grow
    geometrically. Additions are the boundary search and the restarts at accepted training rows, which are candidates
    themselves.
    """
    hp = fitted.hp
    finalists = _search(fitted, key, partial(judge, logit_fn, x, space, hp.margin), x, space)
    to_boundary = partial(boundary, logit_fn, x, space=space, margin=hp.margin, num_steps=hp.num_boundary_steps)
    found = jax.vmap(to_boundary)(finalists.x)
    nearest = jnp.argmin(jnp.where(found.valid, jax.vmap(partial(distance, space, x))(found.x), jnp.inf))
    return Recourse(found.x[nearest], found.valid[nearest] & allows(space, x, found.x[nearest]))


def _search(
    fitted: Fitted[Cchvae], key: Array, judge_point: Callable[[Array], Candidate], x: Array, space: ActionSpace
) -> Candidate:
    """The best candidates (num_finalists,) around `x` (d,) and then around the kept rows, the best first."""
    hp, kept = fitted.hp, jax.vmap(partial(project, space, x))(fitted.kept)
    order = jnp.argsort(sort_key(jax.vmap(judge_point)(kept)))
    attempt = partial(_attempt, fitted, key, judge_point, order, x, space)
    finalists = _merge(_no_candidates(hp.num_finalists, x), jax.vmap(judge_point)(x[None, :]))
    untried = _Attempts(jnp.zeros((), jnp.int32), finalists)
    num_attempts = min(hp.num_attempts, 1 + kept.shape[0])
    return jax.lax.while_loop(
        lambda now: ~now.finalists.accepted[0] & (now.num_tried < num_attempts), attempt, untried
    ).finalists


def _attempt(
    fitted: Fitted[Cchvae],
    key: Array,
    judge_point: Callable[[Array], Candidate],
    order: Array,
    x: Array,
    space: ActionSpace,
    now: _Attempts,
) -> _Attempts:
    """Try all spheres around the code of `x` (d,) at first, then of the next of the kept rows in this `order` (n,)."""
    row = jnp.where(now.num_tried > 0, fitted.kept[order[now.num_tried - 1]], x)
    spheres = _draw_spheres(fitted, jax.random.fold_in(key, now.num_tried), row)
    finalists = _merge(now.finalists, jax.vmap(judge_point)(project(space, x, row)[None, :]))
    sphere = partial(_try_sphere, fitted.model, judge_point, x, space)
    return _Attempts(now.num_tried + 1, jax.lax.scan(sphere, finalists, spheres)[0])


def _try_sphere(
    model: vae.Model,
    judge_point: Callable[[Array], Candidate],
    x: Array,
    space: ActionSpace,
    finalists: Candidate,
    codes: Array,
) -> tuple[Candidate, None]:
    """The best of the `finalists` and of the points that `codes` (num_samples, k) mean."""
    points = jax.vmap(lambda z: project(space, x, decode_point(model, x, space, z)))(codes)
    return _merge(finalists, jax.vmap(judge_point)(points)), None


def _merge(finalists: Candidate, candidates: Candidate) -> Candidate:
    """The best (num_finalists,) of `finalists` (num_finalists,) and `candidates` (n,), the best first."""
    every = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), finalists, candidates)
    _, best = jax.lax.top_k(-sort_key(every), finalists.accepted.shape[0])
    return take(every, best)


def _no_candidates(num: int, x: Array) -> Candidate:
    """Placeholders (num,) at `x` (d,) that any candidate replaces."""
    infinite = jnp.full(num, jnp.inf, x.dtype)
    return Candidate(jnp.tile(x, (num, 1)), jnp.zeros(num, bool), infinite, infinite)


def _draw_spheres(fitted: Fitted[Cchvae], key: Array, row: Array) -> Array:
    """Random codes (num_spheres, num_samples, num_latents) on spheres around the code of `row` (d,)."""
    hp = fitted.hp
    code, _ = vae.encode(fitted.model, row)
    normal = jax.random.normal(key, (hp.num_spheres, hp.num_samples, code.shape[0]), code.dtype)
    radius = hp.first_radius * hp.growth ** jnp.arange(hp.num_spheres, dtype=code.dtype)
    return code[None, None, :] + radius[:, None, None] * normal / jnp.linalg.norm(normal, axis=2, keepdims=True)
