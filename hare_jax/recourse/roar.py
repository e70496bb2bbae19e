"""ROAR: a recourse that stays accepted if the classifier's weights change a little.

Near a point z the classifier is taken as linear, with weights and bias (w, b) that may move by delta with `||delta||_p
<= radius`. The worst logit then has a closed form, `logit(z) - radius * ||(z, 1)||_q` with q the dual of p, and
replaces the logit in the descent, in the stopping rule and in the boundary search.
"""

from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, as_partial, choose, pytree_dataclass
from hare_jax.hyperparams import Natural, NonNegative, Positive, one_of
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.descent import Descent, penalised_loss, search, to_boundary
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace

DUALS = {"l1": jnp.inf, "l2": 2, "linf": 1}  # norm of the weights' change -> order of the norm of the point

_ROUNDING = 1e-5  # logits


@pytree_dataclass
class Roar:
    """Robustness of ROAR's recourse, its descent and the weight of the cost."""

    radius: NonNegative = 0.1  # of the ball in which the linearised weights and bias move together
    norm: Annotated[str, one_of(*DUALS)] = "l2"  # of the ball: l1, l2 or linf
    descent: Descent = Descent()  # of the objective with the worst logit
    num_boundary_steps: Natural = 20  # bisections back towards the factual; 0 leaves the end of the descent
    cost_weight: NonNegative = 0.1  # of the L1 distance, at the first step
    cost_decay: Positive = 0.97  # factor of the cost's weight from one step to the next
    margin: NonNegative = MARGIN  # the least logit of a recourse, in the worst case


class _Found(NamedTuple):
    """Result of the searches so far."""

    point: Array  # (d,) where the last one ended
    accepted: Array  # () bool: its worst logit reaches the margin


def robust_score(hp: Roar, logit_fn: LogitFn, x_cf: Array) -> Partial:
    """The worst logit in the ball if `x_cf` (d,) is robust, otherwise the logit."""
    robust = worst_logit(logit_fn, x_cf, radius=hp.radius, norm=hp.norm) >= hp.margin - _ROUNDING
    return Partial(partial(worst_logit, norm=hp.norm), as_partial(logit_fn), radius=jnp.where(robust, hp.radius, 0))


@partial(on_boundary, score=robust_score)
def generate(hp: Roar, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Upadhyay, Joshi and Lakkaraju (2021), https://arxiv.org/abs/2102.13620.

    The paper makes a classifier linear once, around the factual and by LIME; this version uses its tangent at each
    point of the descent. Additions are the relaxed categories, the cost that decays, the restarts and the boundary
    search. Where no robust point is found, the same search with radius 0 returns one that is accepted today, which is
    valid too.

    Raises:
        ValueError: no such norm.
    """
    choose("norm", hp.norm, DUALS)
    radii = hp.radius * jnp.array([1, 0], x.dtype)
    at_radius = partial(_search_at_radius, hp, key, logit_fn, x, space)
    found, (robust, _) = jax.lax.scan(at_radius, _Found(x, jnp.array(False)), radii)
    score_fn = partial(worst_logit, logit_fn, radius=jnp.where(robust, radii[0], 0), norm=hp.norm)
    return to_boundary(score_fn, x, found.point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)


def worst_logit(logit_fn: LogitFn, z: Array, *, radius: float | Array, norm: str = "l2") -> Array:
    """Least logit () at `z` (d,) while the linearised weights move by at most `radius` in `norm`, one of `DUALS`.

    >>> round(float(worst_logit(jnp.sum, jnp.array([2.0, 2.0]), radius=0.1)), 4)
    3.7
    """
    return logit_fn(z) - radius * jnp.linalg.norm(jnp.append(z, 1), DUALS[norm])


def _search_at_radius(
    hp: Roar, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, before: _Found, radius: Array
) -> tuple[_Found, Array]:
    """Descend with the worst logit of this `radius` (), from the point found `before` if that one was accepted."""
    score_fn = partial(worst_logit, logit_fn, radius=radius, norm=hp.norm)
    objective = partial(penalised_loss, score_fn, x, space, hp.cost_weight, hp.cost_decay)
    begin = jnp.where(before.accepted, before.point, x)
    point = search(hp.descent, key, objective, score_fn, x, space, margin=hp.margin, begin=begin)
    accepted = score_fn(point) >= hp.margin
    return _Found(point, accepted), accepted
