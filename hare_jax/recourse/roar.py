"""ROAR: a recourse that holds even if the classifier's weights change a little.

Near a point z the classifier is taken as linear, with weights and bias (w, b) that may move by delta with `||delta||_p
<= radius`. The worst logit then has a closed form, `logit(z) - radius * ||(z, 1)||_q` with q the dual of p, and takes
the place of the logit in the descent, the stopping rule and the boundary search.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, choose, hyperparams
from hare_jax.recourse.descent import search
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows

DUALS = {"l1": jnp.inf, "l2": 2, "linf": 1}  # norm of the weights' change -> order of the norm of the point


@hyperparams
class Roar:
    """How robust a recourse ROAR wants, and how it descends."""

    radius: float = 0.1  # of the ball in which the linearised weights and bias move together
    norm: str = "l2"  # of the ball: l1, l2 or linf
    num_steps: int = 200  # Adam steps of one attempt
    num_attempts: int = 20  # the first starts at the factual, the others at random points further and further away
    num_starts: int = 16  # random points of one attempt: the one with the highest worst logit is its start
    num_boundary_steps: int = 20  # bisections back towards the factual; 0 leaves the point where the descent stopped
    learning_rate: float = 0.03  # of Adam
    cost_weight: float = 0.1  # of the L1 distance, at the first step
    cost_decay: float = 0.97  # of the cost's weight, a step
    restart_scale: float = 0.1  # s.d. of the second attempt's start around the factual; grows with each attempt
    margin: float = MARGIN  # the least logit of a recourse, in the worst case


def generate(hp: Roar, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Upadhyay, Joshi and Lakkaraju (2021), https://arxiv.org/abs/2102.13620.

    The paper makes a classifier linear once, around the factual and by LIME; ours is its tangent at each point of the
    descent. Ours are also the relaxed categories, the cost that decays, the restarts and the boundary search. Where no
    robust point is found, the same search with radius 0 looks for one that is accepted today, which is valid too.

    Raises:
        ValueError: no such norm.
    """
    choose("norm", hp.norm, DUALS)

    def attempt(carry: tuple[Array, Array], radius: Array) -> tuple[tuple[Array, Array], Array]:
        point, found = carry
        score_fn = partial(worst_logit, logit_fn, radius=radius, norm=hp.norm)

        def objective(z: Array, index: Array) -> Array:
            cost_weight = hp.cost_weight * hp.cost_decay**index
            return jax.nn.softplus(-score_fn(z)) + cost_weight * jnp.sum(jnp.abs(z - x))

        point = search(hp, key, objective, score_fn, x, space, begin=jnp.where(found, point, x))
        found = score_fn(point) >= hp.margin
        return (point, found), found

    radii = hp.radius * jnp.array([1, 0], x.dtype)
    (point, _), (robust, _) = jax.lax.scan(attempt, (x, jnp.array(False)), radii)
    score_fn = partial(worst_logit, logit_fn, radius=jnp.where(robust, radii[0], 0), norm=hp.norm)
    found = boundary(score_fn, x, point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)
    return Recourse(found.x, found.valid & allows(space, x, found.x))


def worst_logit(logit_fn: LogitFn, z: Array, *, radius: float | Array, norm: str = "l2") -> Array:
    """Least logit () at `z` (d,) while the linearised weights move by at most `radius` in `norm`, one of `DUALS`.

    >>> round(float(worst_logit(jnp.sum, jnp.array([2.0, 2.0]), radius=0.1)), 4)
    3.7
    """
    return logit_fn(z) - radius * jnp.linalg.norm(jnp.append(z, 1), DUALS[norm])
