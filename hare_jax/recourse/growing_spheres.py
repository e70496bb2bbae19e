"""Growing spheres: the nearest of many random directions that reaches the accepted side.

Random directions from the start are evaluated on L1 spheres whose radius grows until one of them is accepted, and then
shrinks by bisection; the answer is the accepted sample nearest to the start in L1. Half of the samples also have a
random change of categories, which counts towards the sphere's radius. Then the features whose changes are not needed
are set back to the values of the factual.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, Growth, Natural, NonNegative, Positive
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.sparsify import sparsify
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, allows, costs, distance, is_coarse, moved, project, settle


@pytree_dataclass
class GrowingSpheres:
    """How densely and how far the spheres are sampled."""

    num_samples: Count = 128  # directions on each sphere
    num_spheres: Count = 16  # tried while growing: the largest has radius first_radius * growth^(num_spheres - 1)
    num_shrinks: Natural = 6  # bisections of the radius afterwards
    first_radius: Positive = 0.2  # L1, encoded units
    growth: Growth = 1.4
    sparse: bool = True  # make half of the directions sparse: nearer in L1, further in L2; the paper's are dense
    num_attempts: Count = 10  # sets of directions at most, until one of the spheres has an accepted point
    num_boundary_steps: Natural = 20  # bisections back towards the factual, in `generate`; 0 leaves the sample
    num_restored: Natural = 20  # features set back to the factual's values, at most, in `generate`; 0 for none
    margin: NonNegative = MARGIN  # the least logit of a recourse


class _Samples(NamedTuple):
    """Random directions, and the start with a random change of categories."""

    direction: Array  # (num_samples, d) own changes of cost 1, 0 in coarse columns
    switched: Array  # (num_samples, d)
    cost: Array  # (num_samples,) of the change of categories


class _Nearest(NamedTuple):
    """The accepted point nearest to the start so far."""

    x: Array  # (d,) the start while there is none
    distance: Array  # () in L1, infinite while there is none


@on_boundary
def generate(hp: GrowingSpheres, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Laugel et al. (2018), https://arxiv.org/abs/1712.08443.

    The paper's method shrinks first and then grows by equal shells of random radii; growing geometrically and then
    bisecting takes far fewer evaluations of the classifier and ends nearer. See `sparsify` for what differs from the
    paper's feature selection.
    """
    found = search(hp, key, logit_fn, x, x, space)
    return sparsify(
        logit_fn, x, found.x, space, margin=hp.margin, num_restored=hp.num_restored, num_steps=hp.num_boundary_steps
    )


def search(hp: GrowingSpheres, key: Array, logit_fn: LogitFn, start: Array, x: Array, space: ActionSpace) -> Recourse:
    """The accepted point nearest to `start` (d,), itself allowed from `x` (d,), in L1 among those allowed from `x`."""

    def attempt(carry: tuple[Array, Recourse]) -> tuple[Array, Recourse]:
        index, _ = carry
        return index + 1, _attempt(hp, jax.random.fold_in(key, index), logit_fn, start, x, space)

    nothing = Recourse(start, jnp.array(False))
    untried = (jnp.zeros((), jnp.int32), nothing)
    return jax.lax.while_loop(lambda c: ~c[1].valid & (c[0] < hp.num_attempts), attempt, untried)[1]


def _attempt(hp: GrowingSpheres, key: Array, logit_fn: LogitFn, start: Array, x: Array, space: ActionSpace) -> Recourse:
    """One set of directions, on spheres that grow and then shrink."""
    sphere = partial(_sphere, hp, logit_fn, _samples(hp, key, start, x, space), start, x, space)

    def grow(carry: tuple[Array, _Nearest]) -> tuple[Array, _Nearest]:
        index, nearest = carry
        return index + 1, sphere(hp.first_radius * hp.growth**index, nearest)[1]

    def shrink(_: int, carry: tuple[Array, Array, _Nearest]) -> tuple[Array, Array, _Nearest]:
        inner, outer, nearest = carry
        radius = (inner + outer) / 2
        any_accepted, nearest = sphere(radius, nearest)
        return jnp.where(any_accepted, inner, radius), jnp.where(any_accepted, radius, outer), nearest

    def unfinished(carry: tuple[Array, _Nearest]) -> Array:
        return ~jnp.isfinite(carry[1].distance) & (carry[0] < hp.num_spheres)

    nothing = _Nearest(start, jnp.full((), jnp.inf, start.dtype))
    index, nearest = jax.lax.while_loop(unfinished, grow, (jnp.zeros((), start.dtype), nothing))
    found = jnp.isfinite(nearest.distance)
    outer = hp.first_radius * hp.growth ** (index - 1)
    inner = jnp.where(index > 1, outer / hp.growth, 0)
    *_, nearest = jax.lax.fori_loop(0, hp.num_shrinks, shrink, (inner, outer, nearest))
    return Recourse(nearest.x, found & allows(space, x, nearest.x))


def _sphere(
    hp: GrowingSpheres,
    logit_fn: LogitFn,
    samples: _Samples,
    start: Array,
    x: Array,
    space: ActionSpace,
    radius: Array,
    nearest: _Nearest,
) -> tuple[Array, _Nearest]:
    """Evaluate the samples at a `radius` (): whether any is accepted (), and the nearest accepted point so far."""
    affordable = samples.cost <= radius
    base = jnp.where(affordable[:, None], samples.switched, start[None, :])
    length = radius - jnp.where(affordable, samples.cost, 0)
    ends = jax.vmap(partial(moved, space, x))(base, length[:, None] * samples.direction)
    points = jax.vmap(partial(settle, space, x))(ends)
    accepted = jax.vmap(logit_fn)(points) >= hp.margin
    distances = jnp.where(accepted, jax.vmap(partial(distance, space, start))(points), jnp.inf)
    index = jnp.argmin(distances)
    point = jnp.where(distances[index] < nearest.distance, points[index], nearest.x)
    return jnp.any(accepted), _Nearest(point, jnp.minimum(distances[index], nearest.distance))


def _samples(hp: GrowingSpheres, key: Array, start: Array, x: Array, space: ActionSpace) -> _Samples:
    """Random samples around `start` (d,).

    One normal draw serves fine and coarse columns (`is_coarse`): it is the direction of the former and the score of the
    latter. No sample is spent on a direction that the space forbids.
    """
    coarse = is_coarse(space, x)
    normal = jax.random.normal(key, (hp.num_samples, start.shape[0]), start.dtype)
    sign = space.direction.astype(start.dtype)[None, :]
    heading = jnp.where(sign == 0, normal, jnp.abs(normal) * sign)
    direction = _directions(hp, heading, space.mutable & ~coarse) / costs(space, start)[None, :]
    inertia = jnp.linspace(0, 1, hp.num_samples, dtype=start.dtype)
    switched = jax.vmap(partial(_switch, start, x, space, coarse))(heading, inertia)
    stays = jnp.arange(hp.num_samples) % 2 == 0
    switched = jnp.where(stays[:, None], start[None, :], switched)
    return _Samples(direction, switched, jax.vmap(partial(distance, space, start))(switched))


def _directions(hp: GrowingSpheres, heading: Array, fine: Array) -> Array:
    """Directions (n, d) of L1 norm 1 of the `heading` (n, d) over the `fine` columns (d,).

    Half of them are cubed: they move few columns far, and the nearest point in L1 often moves only one.
    """
    cubed = hp.sparse & (jnp.arange(hp.num_samples) % 4 < 2)  # in equal numbers with and without a change of categories
    spread = jnp.where(fine[None, :], jnp.where(cubed[:, None], heading**3, heading), 0)
    return spread / jnp.maximum(jnp.sum(jnp.abs(spread), axis=1, keepdims=True), jnp.finfo(heading.dtype).tiny)


def _switch(start: Array, x: Array, space: ActionSpace, coarse: Array, score: Array, inertia: Array) -> Array:
    """`start` (d,) with `coarse` columns moved by their `score` (d,), fewer of them for a high `inertia` ()."""
    one_hot = score + 2 * inertia * start  # in a group the present level wins more often
    moved = start + jnp.where(jnp.abs(score) > inertia, score, 0)
    target = jnp.where(space.group >= 0, one_hot, moved)
    return project(space, x, jnp.where(coarse, target, start))
