"""DiCE: a set of recourses that is optimised jointly, to be accepted, near the factual, and diverse.

For a set c_1, ..., c_m it descends `mean hinge(c_i) + proximity_weight * mean ||c_i - x||_1 - diversity_weight *
log det K` with `K_ij = 1 / (1 + ||c_i - c_j||_1)`: det K is 0 for a set with equal members, and approaches 1 as the
members move apart.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, Natural, NonNegative
from hare_jax.recourse.derivative import constant, on_boundary
from hare_jax.recourse.descent import Descent, search
from hare_jax.recourse.sparsify import sparsify
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, allows, distance, moved, own_slope, relax, snap

_RIDGE = 1e-3  # on K's diagonal: the determinant of a set with equal members is small instead of 0


@pytree_dataclass
class Dice:
    """Size, proximity and diversity of DiCE's set, and its descents."""

    num_counterfactuals: Count = 4  # members of the set
    descent: Descent = Descent(num_steps=100, learning_rate=0.05)  # to a first accepted point, and then of the set
    num_boundary_steps: Natural = 20  # bisections from a member back towards the factual, in `generate`; 0 for none
    num_restored: Natural = 20  # features of a member set back to the factual's values, at most, in `generate`
    proximity_weight: NonNegative = 0.5  # of the mean L1 distance from the factual
    diversity_weight: NonNegative = 0.2  # of the log-determinant
    start_scale: NonNegative = 0.1  # s.d. of the members' starts around the first accepted point
    margin: NonNegative = MARGIN  # the least logit of a recourse


class _Descending(NamedTuple):
    """State of the descent of a set."""

    points: Array  # (m, d) relaxed members
    adam: optax.OptState
    accepted: Array  # (m, d) each member where it was last accepted


@on_boundary
def generate(hp: Dice, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Mothilal, Sharma and Tan (2020), https://arxiv.org/abs/1905.07697.

    It is the member of `generate_set` that is nearest to `x` in L1, once each is made sparse as in section 3.3 of the
    paper and is moved back to the boundary. See `sparsify` for what differs from the paper.
    """
    members = _find_set(hp, key, logit_fn, x, space)
    to_sparse = partial(sparsify, logit_fn, x, space=space, num_steps=hp.num_boundary_steps)
    found = jax.vmap(partial(to_sparse, margin=hp.margin, num_restored=hp.num_restored))(members.x)
    nearest = jnp.argmin(jnp.where(found.valid, jax.vmap(partial(distance, space, x))(found.x), jnp.inf))
    return Recourse(found.x[nearest], found.valid[nearest])


@constant
def generate_set(hp: Dice, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """A diverse set of recourses for `x` (d,), with the members (num_counterfactuals,) in front.

    The members are returned where the descent left them: sparse members at the boundary would be close to each other.
    Deviations from the paper are the L1 distance in encoded units, where the paper scales by deviations; the logarithm
    of the determinant, whose gradient separates members that start close; and the start, which is random in the paper:
    here it is around an accepted point that a descent with restarts has found.
    """
    return _find_set(hp, key, logit_fn, x, space)


def _find_set(hp: Dice, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    key_first, key_starts = jax.random.split(key)
    objective = partial(_first_objective, logit_fn)
    first = search(hp.descent, key_first, objective, logit_fn, x, space, margin=hp.margin)
    points = _descend_set(hp, key_starts, logit_fn, x, first, space)
    accepted = jax.vmap(logit_fn)(points) >= hp.margin
    return Recourse(points, accepted & jax.vmap(partial(allows, space, x))(points))


def log_diversity(points: Array) -> Array:
    """Log-determinant () of the kernel `1 / (1 + ||c_i - c_j||_1)` of `points` (m, d), plus a small ridge.

    The kernel is positive definite, so elimination needs no pivots; all derivatives are finite, for equal points too.

    >>> round(float(log_diversity(jnp.array([[0.0], [1.0]]))), 2)  # log(1 - 1/4)
    -0.29
    """
    distances = jnp.sum(jnp.abs(points[:, None, :] - points[None, :, :]), axis=2)
    kernel = 1 / (1 + distances) + _RIDGE * jnp.eye(len(points), dtype=points.dtype)

    def eliminate(index: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        total, rest = carry
        pivot = rest[index, index]
        return total + jnp.log(pivot), rest - rest[:, index, None] * rest[None, index, :] / pivot

    return jax.lax.fori_loop(0, len(points), eliminate, (jnp.zeros((), points.dtype), kernel))[0]


def _descend_set(hp: Dice, key: Array, logit_fn: LogitFn, x: Array, first: Array, space: ActionSpace) -> Array:
    """The members (m, d), each where it was last accepted while all of them descended from around `first` (d,).

    The learning rate falls linearly from that of `hp.descent` to 0, over as many steps as one of its attempts has.
    """
    num_steps = hp.descent.num_steps
    optimiser = optax.adam(optax.linear_schedule(hp.descent.learning_rate, 0, num_steps))
    noise = hp.start_scale * jax.random.normal(key, (hp.num_counterfactuals, x.shape[0]), x.dtype)
    starts = jax.vmap(lambda move: relax(space, x, moved(space, x, first, move)))(noise)
    begin = _Descending(starts, optimiser.init(starts), jnp.broadcast_to(first, starts.shape))
    step = partial(_step, hp, logit_fn, x, space, optimiser)
    return jax.lax.scan(step, begin, length=num_steps)[0].accepted


def _step(
    hp: Dice,
    logit_fn: LogitFn,
    x: Array,
    space: ActionSpace,
    optimiser: optax.GradientTransformation,
    now: _Descending,
    _: None,
) -> tuple[_Descending, None]:
    """One step of Adam for the whole set; each member that is accepted before the step is recorded."""
    objective = partial(_set_objective, hp, logit_fn, x, space)
    slope, (snapped, logits) = jax.grad(objective, has_aux=True)(now.points)
    accepted = jnp.where((logits >= hp.margin)[:, None], snapped, now.accepted)
    slope = jax.vmap(partial(own_slope, space, x))(now.points, slope)
    updates, adam = optimiser.update(jnp.where(space.mutable[None, :], slope, 0), now.adam)
    points = jax.vmap(lambda z, change: relax(space, x, moved(space, x, z, change)))(now.points, updates)
    return _Descending(points, adam, accepted), None


def _set_objective(
    hp: Dice, logit_fn: LogitFn, x: Array, space: ActionSpace, points: Array
) -> tuple[Array, tuple[Array, Array]]:
    """Loss () of the relaxed `points` (m, d); their projections (m, d) and the logits (m,) of these."""
    snapped = jax.vmap(partial(snap, space, x))(points)
    logits = jax.vmap(logit_fn)(snapped)
    proximity = jnp.mean(jax.vmap(partial(distance, space, x))(points))
    cost = hp.proximity_weight * proximity - hp.diversity_weight * log_diversity(points)
    return jnp.mean(_hinge(logits)) + cost, (snapped, logits)


def _first_objective(logit_fn: LogitFn, z: Array, index: Array) -> Array:
    """Loss () of the first accepted point, the same at each step: the hinge alone."""
    return _hinge(logit_fn(z))


def _hinge(logit: Array) -> Array:
    """The paper's loss () of a member with `logit` (): 0 from 1 on, so that no member is moved further than that."""
    return jax.nn.relu(1 - logit)
