"""What the methods that search the latent space of an autoencoder share. Not a method itself.

A row is decoded for the factual `x` (d,), projected onto the action space, and judged: accepted points come before
refused ones, the nearest in L1 first. Rows that the classifier accepts are kept at fit, for a search to start again at.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.models import vae
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace, allows, project


class Found(NamedTuple):
    """The best allowed point so far."""

    x: Array  # (d,)
    rank: Array  # () the lower the better; negative if accepted


class Fitted(NamedTuple):
    """What a method learns from the training rows."""

    hp: Any  # the method's hyperparameters
    model: vae.Model
    kept: Array  # (num_kept, d) training rows, accepted ones first


def fit(hp: Any, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted:
    """Train the autoencoder `hp.autoencoder` on `rows` (n, d), and keep `hp.num_kept` that the classifier accepts."""
    key_model, key_kept = jax.random.split(key)
    model = vae.fit(hp.autoencoder, key_model, rows, space)
    return Fitted(hp, model, keep_accepted(key_kept, logit_fn, rows, hp.num_kept))


def keep_accepted(key: Array, logit_fn: LogitFn, rows: Array, num_kept: int) -> Array:
    """Draw `num_kept` of the rows (n, d), at most all of them: accepted ones as long as there are any."""
    return _keep_accepted(key, logit_fn, jnp.asarray(rows), min(num_kept, rows.shape[0]))


def _draw_accepted(key: Array, logit_fn: LogitFn, rows: Array, num_kept: int) -> Array:
    accepted = jax.vmap(logit_fn)(rows) >= 0
    lot = accepted + jax.random.uniform(key, accepted.shape)
    return rows[jax.lax.top_k(lot, num_kept)[1]]


_keep_accepted = jax.jit(_draw_accepted, static_argnums=3)


def search(
    hp: Any,
    logit_fn: LogitFn,
    starts: Callable[[Array], Array],
    loss: Callable[[Array, Array], tuple[Array, Array]],
    kept: Array,
    x: Array,
    space: ActionSpace,
    held: Array | bool = False,
) -> Recourse:
    """The best allowed point on descents in a latent space, brought to the boundary. `hp` has the fields of `Clue`.

    `starts(row)` gives the codes (s, k) where the descents for a row (d,) start; `loss(z, distance_weight)` for a code
    (k,) what they descend () and the relaxed point (d,) that it means. The first row is `x` (d,), and its descents
    leave the `held` (k,) latents alone. While nothing is accepted, the next are those of the `kept` (n, d) rows that
    are best for `x`, each a candidate itself.
    """

    def judge(point: Array) -> Found:
        allowed = project(space, x, point)
        logit, cost = logit_fn(allowed), jnp.sum(jnp.abs(allowed - x))
        return Found(allowed, jnp.where(logit >= hp.margin, -1 / (1 + cost), hp.margin - logit))

    def attempt(carry: tuple[Array, Found]) -> tuple[Array, Found]:
        index, found = carry
        turn = order[index]
        found = _better(Found(seen.x[turn], seen.rank[turn]), found)
        moves = ~(jnp.asarray(held) & (index == 0))
        ends = jax.vmap(lambda z: _descend(hp, loss, judge, z, moves, found))(starts(rows[turn]))
        best = jnp.argmin(ends.rank)
        return index + 1, Found(ends.x[best], ends.rank[best])

    rows = jnp.concatenate([x[None, :], kept])
    seen = jax.vmap(judge)(rows)
    order = jnp.argsort(seen.rank.at[0].set(-jnp.inf))
    untried = (jnp.zeros((), jnp.int32), Found(x, seen.rank[0]))
    _, found = jax.lax.while_loop(lambda c: (c[1].rank >= 0) & (c[0] < hp.num_attempts), attempt, untried)
    best = boundary(logit_fn, x, found.x, space, margin=hp.margin, num_steps=hp.num_boundary_steps)
    return Recourse(best.x, best.valid & allows(space, x, best.x))


def _descend(hp: Any, loss: Callable, judge: Callable, start: Array, moves: Array, found: Found) -> Found:
    """The better of `found` and the best point on the way down from code `start` (k,), whose latents `moves` (k,)."""
    optimiser = optax.adam(hp.learning_rate)

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        z, state, weight, found = carry
        slope, point = jax.grad(loss, has_aux=True)(z, weight)
        updates, state = optimiser.update(jnp.where(moves, slope, 0), state)
        new = judge(point)
        weight = jnp.where(new.rank < 0, weight / hp.distance_decay, weight * hp.distance_decay)
        return (optax.apply_updates(z, updates), state, weight, _better(new, found)), None

    begin: tuple = (start, optimiser.init(start), jnp.asarray(hp.distance_weight, start.dtype), found)
    (*_, found), _ = jax.lax.scan(step, begin, length=hp.num_steps)
    return found


def _better(new: Found, old: Found) -> Found:
    return jax.tree.map(lambda a, b: jnp.where(new.rank < old.rank, a, b), new, old)
