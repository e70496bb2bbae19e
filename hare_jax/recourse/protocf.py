"""ProtoCF: descent that is drawn to a prototype of the accepted class, so that the recourse looks like its members.

The prototype is the mean of the codes of those accepted training rows whose codes lie nearest to the factual's. The
descent is Wachter's, with `prototype_weight * ||encoder(z) - prototype||^2` in its objective.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.recourse.descent import search
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows


@hyperparams
class ProtoCF:
    """Where ProtoCF's prototype comes from, and how it descends."""

    encoder: Partial | None = None  # row (d,) -> code (k,), in which rows are compared; None is the row itself
    num_rows: int = 1_000  # accepted training rows that are kept, at most
    num_neighbours: int = 10  # of the kept rows, whose mean is the prototype
    num_steps: int = 200  # Adam steps of one attempt
    num_attempts: int = 20  # the first starts at the factual, the others at random points further and further away
    num_starts: int = 16  # random points of one attempt: the one with the highest logit is its start
    num_boundary_steps: int = 20  # bisections back towards the factual; 0 leaves the point where the descent stopped
    learning_rate: float = 0.03  # of Adam
    l1_weight: float = 0.1  # of the L1 distance, at the first step
    l2_weight: float = 0.1  # of the squared L2 distance, at the first step
    prototype_weight: float = 3.0  # of the squared distance to the prototype, at the first step
    cost_decay: float = 0.97  # of these three weights, a step
    restart_scale: float = 0.1  # s.d. of the second attempt's start around the factual; grows with each attempt
    margin: float = MARGIN  # the least logit of a recourse


class Fitted(NamedTuple):
    """What `fit` keeps: as many rows whatever the classifier accepts, with a mask."""

    hp: ProtoCF
    codes: Array  # (num_rows, k)
    accepted: Array  # (num_rows,) bool; the others don't count


def fit(hp: ProtoCF, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted:
    """Encode a random choice of the accepted `rows` (n, d); the classifier's own decisions are the labels."""
    accepted = jax.vmap(logit_fn)(rows) >= 0
    lots = accepted + jax.random.uniform(key, accepted.shape)
    _, kept = jax.lax.top_k(lots, min(hp.num_rows, len(rows)))
    return Fitted(hp, jax.vmap(lambda row: _encode(hp, row))(rows[kept]), accepted[kept])


def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Van Looveren and Klaise (2021), https://arxiv.org/abs/1907.02584.

    The paper searches the loss's weight and keeps the accepted point of least cost; ours lets all costs decay until a
    point is accepted, and moves that back to the boundary. Ours are also the relaxed categories and the restarts; the
    paper's autoencoder loss is left out.
    """
    hp, target = fitted.hp, prototype(fitted, x)

    def objective(z: Array, index: Array) -> Array:
        move, gap = z - x, _encode(hp, z) - target
        cost = hp.l1_weight * jnp.sum(jnp.abs(move)) + hp.l2_weight * jnp.sum(move**2)
        cost += hp.prototype_weight * jnp.sum(gap**2)
        return jax.nn.softplus(-logit_fn(z)) + hp.cost_decay**index * cost

    point = search(hp, key, objective, logit_fn, x, space)
    found = boundary(logit_fn, x, point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)
    return Recourse(found.x, found.valid & allows(space, x, found.x))


def prototype(fitted: Fitted, x: Array) -> Array:
    """Mean (k,) of the accepted codes nearest to that of `x` (d,); the code of `x` itself if no row was accepted."""
    code = _encode(fitted.hp, x)
    distance = jnp.sum((fitted.codes - code[None, :]) ** 2, axis=1)
    nearness, nearest = jax.lax.top_k(
        jnp.where(fitted.accepted, -distance, -jnp.inf), min(fitted.hp.num_neighbours, len(distance))
    )
    weights = jnp.isfinite(nearness).astype(code.dtype)
    mean = weights @ fitted.codes[nearest] / jnp.maximum(jnp.sum(weights), 1)
    return jnp.where(fitted.accepted.any(), mean, code)


def _encode(hp: ProtoCF, row: Array) -> Array:
    return row if hp.encoder is None else hp.encoder(row)
