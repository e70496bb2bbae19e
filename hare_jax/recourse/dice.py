"""DiCE: a set of recourses that is optimised jointly, to be accepted, near the factual, and diverse.

For a set c_1, ..., c_m it descends `mean hinge(c_i) + proximity_weight * mean ||c_i - x||_1 - diversity_weight *
log det K` with `K_ij = 1 / (1 + ||c_i - c_j||_1)`: det K is 0 for a set with equal members, 1 for one far apart.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.recourse.descent import search
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows, relax, snap

_RIDGE = 1e-3  # on K's diagonal: the determinant of a set with equal members is small instead of 0


@hyperparams
class Dice:
    """How large, near and diverse a set DiCE wants, and how it descends."""

    num_counterfactuals: int = 4  # members of the set
    num_steps: int = 100  # Adam steps, of the set and of each attempt at a first accepted point
    num_attempts: int = 20  # at such a point: the first starts at the factual, the others further and further away
    num_starts: int = 16  # random points of one attempt: the one with the highest logit is its start
    num_boundary_steps: int = 20  # bisections from a member back towards the factual, in `generate`; 0 for none
    learning_rate: float = 0.05  # of Adam; falls to 0 while the set descends
    proximity_weight: float = 0.5  # of the mean L1 distance from the factual
    diversity_weight: float = 0.2  # of the log-determinant
    start_scale: float = 0.1  # s.d. of the members' starts around the first accepted point
    restart_scale: float = 0.1  # s.d. of the second attempt's start around the factual; grows with each attempt
    margin: float = MARGIN  # the least logit of a recourse


def generate(hp: Dice, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Mothilal, Sharma and Tan (2020), https://arxiv.org/abs/1905.07697.

    It is the member of `generate_set` that is nearest to `x` in L1, once each is moved back to the boundary.
    """
    members = generate_set(hp, key, logit_fn, x, space)

    def back(point: Array) -> Recourse:
        return boundary(logit_fn, x, point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)

    found = jax.vmap(back)(members.x)
    valid = found.valid & members.valid
    nearest = jnp.argmin(jnp.where(valid, jnp.sum(jnp.abs(found.x - x[None, :]), axis=1), jnp.inf))
    return Recourse(found.x[nearest], valid[nearest] & allows(space, x, found.x[nearest]))


def generate_set(hp: Dice, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """A diverse set of recourses for `x` (d,), with the members (num_counterfactuals,) in front.

    They stay where the descent left them, for on the way back to the boundary they would come close to each other. Ours
    are the L1 distance in encoded units, where the paper scales by deviations; the logarithm of the determinant, whose
    gradient parts members that start close; and the start, which is random in the paper: around an accepted point that
    a descent with restarts has found.
    """
    key_first, key_starts = jax.random.split(key)
    first = search(hp, key_first, lambda z, _: _hinge(logit_fn(z)), logit_fn, x, space)
    points = _descend_set(hp, key_starts, logit_fn, x, first, space)
    accepted = jax.vmap(logit_fn)(points) >= hp.margin
    return Recourse(points, accepted & jax.vmap(lambda point: allows(space, x, point))(points))


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
    """The members (m, d), each where it was last accepted while all of them descended from around `first` (d,)."""
    optimiser = optax.adam(optax.linear_schedule(hp.learning_rate, 0, hp.num_steps))
    shape = (hp.num_counterfactuals, x.shape[0])

    def objective(points: Array) -> tuple[Array, tuple[Array, Array]]:
        snapped = jax.vmap(lambda z: snap(space, x, z))(points)
        logits = jax.vmap(logit_fn)(snapped)
        proximity = jnp.mean(jnp.sum(jnp.abs(points - x[None, :]), axis=1))
        cost = hp.proximity_weight * proximity - hp.diversity_weight * log_diversity(points)
        return jnp.mean(_hinge(logits)) + cost, (snapped, logits)

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        points, state, best = carry
        slope, (snapped, logits) = jax.grad(objective, has_aux=True)(points)
        best = jnp.where((logits >= hp.margin)[:, None], snapped, best)
        updates, state = optimiser.update(jnp.where(space.mutable[None, :], slope, 0), state)
        points = jax.vmap(lambda z: relax(space, x, z))(points + updates)
        return (points, state, best), None

    noise = hp.start_scale * jax.random.normal(key, shape, x.dtype)
    starts = jax.vmap(lambda move: relax(space, x, first + move))(noise)
    begin = (starts, optimiser.init(starts), jnp.broadcast_to(first, shape))
    return jax.lax.scan(step, begin, length=hp.num_steps)[0][2]


def _hinge(logit: Array) -> Array:
    """The paper's loss of a member with `logit` (): 0 from 1 on, so that nothing is pushed further than that."""
    return jax.nn.relu(1 - logit)
