"""ProtoCF: descent towards a prototype of the accepted class, so that the recourse resembles its members.

The prototype is the mean of the codes of those accepted training rows whose codes lie nearest to the factual's. The
objective is Wachter's, with `l2_weight * ||z - x||^2` and `prototype_weight * ||encoder(z) - prototype||^2` added to
the cost.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, exact_products, pytree_dataclass
from hare_jax.hyperparams import Count, Natural, NonNegative, Positive
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.descent import Descent, search, to_boundary
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, norm, own_change


@pytree_dataclass
class ProtoCF:
    """Source of ProtoCF's prototype, its descent and the weights of the costs."""

    encoder: Partial | None = None  # row (d,) -> code (k,), in which rows are compared; None is the row itself
    num_rows: Count = 1_000  # accepted training rows that are kept, at most
    num_neighbours: Count = 10  # of the kept rows, whose mean is the prototype
    descent: Descent = Descent()
    num_boundary_steps: Natural = 20  # bisections back towards the factual; 0 leaves the end of the descent
    l1_weight: NonNegative = 0.1  # of the L1 distance, at the first step
    l2_weight: NonNegative = 0.1  # of the squared L2 distance, at the first step
    prototype_weight: NonNegative = 3.0  # of the squared distance to the prototype, at the first step
    cost_decay: Positive = 0.97  # factor of these three weights from one step to the next
    margin: NonNegative = MARGIN  # the least logit of a recourse


class Fitted(NamedTuple):
    """Codes of the training rows. Their number does not depend on what the classifier accepts: a mask tells."""

    hp: ProtoCF
    codes: Array  # (num_rows, k)
    accepted: Array  # (num_rows,) bool; the others don't count


def fit(hp: ProtoCF, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted:
    """Encode a random choice of the accepted `rows` (n, d); the classifier's own decisions are the labels."""
    accepted = jax.vmap(logit_fn)(rows) >= 0
    priority = accepted + jax.random.uniform(key, accepted.shape)
    _, kept = jax.lax.top_k(priority, min(hp.num_rows, len(rows)))
    return Fitted(hp, jax.vmap(partial(_encode, hp))(rows[kept]), accepted[kept])


@on_boundary
def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Van Looveren and Klaise (2021), https://arxiv.org/abs/1907.02584.

    The paper searches the weight of the loss and keeps the accepted point of least cost; this version lets all costs
    decay until a point is accepted, and moves that point back to the boundary. Additions are the relaxed categories and
    the restarts; the paper's autoencoder loss is left out.
    """
    hp = fitted.hp
    objective = partial(_objective, hp, logit_fn, x, space, prototype(fitted, x))
    point = search(hp.descent, key, objective, logit_fn, x, space, margin=hp.margin)
    return to_boundary(logit_fn, x, point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)


@exact_products
def prototype(fitted: Fitted, x: Array) -> Array:
    """Mean (k,) of the accepted codes nearest to that of `x` (d,); the code of `x` itself if no row was accepted."""
    code = _encode(fitted.hp, x)
    distance = jnp.sum((fitted.codes - code[None, :]) ** 2, axis=1)
    nearness = jnp.where(fitted.accepted, -distance, -jnp.inf)
    nearness, nearest = jax.lax.top_k(nearness, min(fitted.hp.num_neighbours, len(distance)))
    weights = jnp.isfinite(nearness).astype(code.dtype)
    mean = weights @ fitted.codes[nearest] / jnp.maximum(jnp.sum(weights), 1)
    return jnp.where(fitted.accepted.any(), mean, code)


def _objective(
    hp: ProtoCF, logit_fn: LogitFn, x: Array, space: ActionSpace, target: Array, z: Array, index: Array
) -> Array:
    """Loss () at `z` (d,), with the prototype `target` (k,) and the costs' weights of the step number `index`."""
    move, gap = own_change(space, x, z), _encode(hp, z) - target
    cost = hp.l1_weight * norm(space, move) + hp.l2_weight * jnp.sum(move**2)
    cost += hp.prototype_weight * jnp.sum(gap**2)
    return jax.nn.softplus(-logit_fn(z)) + hp.cost_decay**index * cost


def _encode(hp: ProtoCF, row: Array) -> Array:
    return row if hp.encoder is None else hp.encoder(row)
