"""CLUE: descent in the latent space of an autoencoder, from the factual's code to where the classifier is sure.

Descends `uncertainty(decode(z)) + distance_weight * ||decode(z) - x||_1` over codes z. Uncertainty is the entropy H of
the predicted class, signed so that it falls all the way from surely refused to surely accepted: 2 ln 2 - H where the
prediction is a refusal, H where it is not. Of all points on the way, the accepted one nearest to x counts.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.tree_util import Partial

from hare_jax import vae
from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows, project


@hyperparams
class Clue:
    """The autoencoder of CLUE, and how it descends."""

    autoencoder: vae.Vae = vae.Vae(kl_weight=0.1)
    num_kept: int = 64  # accepted training rows, at whose codes the descent starts again
    num_steps: int = 100  # Adam steps of one attempt
    num_attempts: int = 4  # the first starts at the factual's code, the others at those of kept rows
    learning_rate: float = 0.2  # of Adam, in latent units
    distance_weight: float = 0.3  # of the L1 distance at the first step, beside an uncertainty from 0 to 2 ln 2
    distance_decay: float = 0.9  # of that weight after a refused point; it grows as much after an accepted one
    ensemble: Partial | None = (
        None  # classifiers whose mean is uncertain: leaves (members, ...); None is the classifier
    )
    num_boundary_steps: int = 20  # bisections back towards the factual; 0 leaves the decoded point
    margin: float = MARGIN  # the least logit of a recourse


class Fitted(NamedTuple):
    """What CLUE learns from the training rows."""

    hp: Clue
    model: vae.Model
    kept: Array  # (num_kept, d) training rows, accepted ones first


class Found(NamedTuple):
    """The best allowed point so far."""

    x: Array  # (d,)
    rank: Array  # () the lower the better; negative if accepted


def fit(hp: Clue, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted:
    """Train the autoencoder on `rows` (n, d), and keep some that the classifier accepts."""
    key_model, key_kept = jax.random.split(key)
    return Fitted(
        hp, vae.fit(hp.autoencoder, key_model, rows, space), keep_accepted(key_kept, logit_fn, rows, hp.num_kept)
    )


def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Antoran et al. (2021), https://arxiv.org/abs/2006.06848.

    CLUE explains doubt: plain entropy leads a refused row to a sure refusal as gladly as to a sure acceptance, hence
    the sign. The restarts and the boundary search from the decoded point back towards `x` are ours, too.
    """
    hp, model = fitted.hp, fitted.model

    def starts(row: Array) -> Array:
        return vae.encode(model, row, space)[0][None, :]

    def point(z: Array) -> Array:
        return vae.mean_row(vae.decode(model, z, x, space), x, space)

    def loss(z: Array, distance_weight: Array) -> tuple[Array, Array]:
        logits = logit_fn(point(z))[None] if hp.ensemble is None else member_logits(hp.ensemble, point(z))
        return signed_entropy(logits) + distance_weight * jnp.sum(jnp.abs(point(z) - x)), point(z)

    return search(hp, logit_fn, starts, loss, fitted.kept, x, space)


def member_logits(ensemble: Partial, x: Array) -> Array:
    """Logits (members,) of `x` (d,) under classifiers that are stacked: each leaf of `ensemble` is (members, ...)."""
    return jax.vmap(lambda member: member(x))(ensemble)


def signed_entropy(logits: Array) -> Array:
    """Entropy () in nats of the mean of the probabilities that `logits` (members,) stand for, or 2 ln 2 less it.

    Falls from 2 ln 2 for sure refusal by ln 2 for doubt to 0 for sure acceptance.

    >>> [round(float(signed_entropy(jnp.array([logit]))), 3) for logit in (-20.0, 0.0, 20.0)]
    [1.386, 0.693, 0.0]
    """
    log_members = jnp.log(logits.shape[0])
    accepted = jax.nn.logsumexp(jax.nn.log_sigmoid(logits)) - log_members
    refused = jax.nn.logsumexp(jax.nn.log_sigmoid(-logits)) - log_members
    entropy = -jnp.exp(accepted) * accepted - jnp.exp(refused) * refused
    return jnp.where(accepted >= refused, entropy, 2 * math.log(2) - entropy)


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
