"""Wachter et al.: gradient descent from the factual to the accepted side, with a penalty on the distance.

Descends `softplus(-logit(z)) + cost_weight * ||z - x||_1` over relaxed points z, and lets the weight of the cost decay
until the projected z is accepted. From there it moves along the decision boundary, nearer to the factual. Where the
classifier is flat (dead units), the descent starts again at a random point.
"""

from functools import partial

from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Natural, NonNegative, Positive
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.descent import Descent, penalised_loss, search
from hare_jax.recourse.sparsify import sparsify
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace


@pytree_dataclass
class Wachter:
    """Descent and weight of the cost in Wachter's method."""

    descent: Descent = Descent(learning_rate=0.1)  # in large steps: the way along the boundary makes up for them
    cost_weight: NonNegative = 0.1  # of the L1 distance, at the first step
    cost_decay: Positive = 0.97  # factor of the cost's weight from one step to the next
    num_boundary_steps: Natural = 20  # bisections back towards the factual; 0 leaves the point as it is
    num_restored: Natural = 20  # features set back to the factual's values at the end, at most; 0 for none
    margin: NonNegative = MARGIN  # the least logit of a recourse


@on_boundary
def generate(hp: Wachter, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Wachter, Mittelstadt and Russell (2018), https://arxiv.org/abs/1711.00399.

    The paper's objective asks for the nearest accepted point, and the descent ends at the first. Additions to the paper
    are the relaxed categories, the restarts, and the way from the first accepted point to a nearer one (`sparsify`).
    """
    objective = partial(penalised_loss, logit_fn, x, space, hp.cost_weight, hp.cost_decay)
    point = search(hp.descent, key, objective, logit_fn, x, space, margin=hp.margin)
    return sparsify(
        logit_fn, x, point, space, margin=hp.margin, num_restored=hp.num_restored, num_steps=hp.num_boundary_steps
    )
