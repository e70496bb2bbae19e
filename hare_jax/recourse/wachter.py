"""Wachter et al.: gradient descent from the factual to the accepted side, with a cost for the way.

Descends `softplus(-logit(z)) + cost_weight * ||z - x||_1` over relaxed points z, and lets the cost's weight decay until
the snapped z is accepted. Where the classifier is flat (dead units), it starts again from a random point.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.recourse.descent import search
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows


@hyperparams
class Wachter:
    """How Wachter's method descends."""

    num_steps: int = 200  # Adam steps of one attempt
    num_attempts: int = 20  # the first starts at the factual, the others at random points further and further away
    num_starts: int = 16  # random points of one attempt: the one with the highest logit is its start
    learning_rate: float = 0.03  # of Adam
    cost_weight: float = 0.1  # of the L1 distance, at the first step
    cost_decay: float = 0.97  # of the cost's weight, a step
    restart_scale: float = 0.1  # s.d. of the second attempt's start around the factual; grows with each attempt
    margin: float = MARGIN  # the least logit of a recourse


def generate(hp: Wachter, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Wachter, Mittelstadt and Russell (2018), https://arxiv.org/abs/1711.00399.

    Ours are the relaxed categories, the restarts, and the last step: a boundary search from the accepted point back
    towards `x`, which undoes what the last descent step did too much.
    """

    def objective(z: Array, index: Array) -> Array:
        cost_weight = hp.cost_weight * hp.cost_decay**index
        return jax.nn.softplus(-logit_fn(z)) + cost_weight * jnp.sum(jnp.abs(z - x))

    point = search(hp, key, objective, logit_fn, x, space)
    found = boundary(logit_fn, x, point, space, margin=hp.margin)
    return Recourse(found.x, found.valid & allows(space, x, found.x))
