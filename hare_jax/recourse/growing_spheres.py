"""Growing spheres: the nearest of many random directions that reaches the accepted side.

Random directions around the start are tried on spheres (in L1) that grow until one of them is accepted, then shrink by
bisection to where none is; the accepted sample nearest to the start in L1 wins. Categories take part: half of the
samples carry a random change of categories, which counts towards the sphere's radius.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, allows, is_coarse, project, settle


@hyperparams
class GrowingSpheres:
    """How densely and how far growing spheres look."""

    num_samples: int = 128  # directions on each sphere
    num_spheres: int = 16  # spheres tried while growing: the largest has radius first_radius * growth^(num_spheres - 1)
    num_shrinks: int = 6  # bisections of the radius afterwards
    first_radius: float = 0.2  # L1, encoded units
    growth: float = 1.4
    sparse: bool = True  # make half of the directions sparse: nearer in L1, further in L2; published are dense ones
    num_attempts: int = 10  # fresh sets of directions, while none of the spheres holds an accepted point
    margin: float = MARGIN  # the least logit of a recourse


def generate(hp: GrowingSpheres, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Laugel et al. (2018), https://arxiv.org/abs/1712.08443.

    The published method shrinks first and grows by equal shells of random radii; growing geometrically and then
    bisecting asks the classifier far less often and ends nearer.
    """
    return search(hp, key, logit_fn, x, x, space)


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
    direction, switched = _samples(hp, key, start, x, space)
    switch_cost = jnp.sum(jnp.abs(switched - start[None, :]), axis=1)

    def sphere(radius: Array, best: Array, least: Array) -> tuple[Array, Array, Array]:
        """Try one sphere; return whether any sample was accepted, and the nearest accepted point so far."""
        affordable = switch_cost <= radius
        base = jnp.where(affordable[:, None], switched, start[None, :])
        reach = radius - jnp.where(affordable, switch_cost, 0)
        points = jax.vmap(lambda z: settle(space, x, z))(base + reach[:, None] * direction)
        accepted = jax.vmap(logit_fn)(points) >= hp.margin
        cost = jnp.where(accepted, jnp.sum(jnp.abs(points - start[None, :]), axis=1), jnp.inf)
        nearest = jnp.argmin(cost)
        better = cost[nearest] < least
        return jnp.any(accepted), jnp.where(better, points[nearest], best), jnp.minimum(cost[nearest], least)

    def grow(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        index, _, best, least = carry
        _, best, least = sphere(hp.first_radius * hp.growth**index, best, least)
        return index + 1, jnp.isfinite(least), best, least

    def shrink(_: int, carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        inner, outer, best, least = carry
        radius = (inner + outer) / 2
        some, best, least = sphere(radius, best, least)
        return jnp.where(some, inner, radius), jnp.where(some, radius, outer), best, least

    index = jnp.zeros((), start.dtype)
    nothing = (index, jnp.array(False), start, jnp.full((), jnp.inf, start.dtype))
    index, found, best, least = jax.lax.while_loop(lambda c: ~c[1] & (c[0] < hp.num_spheres), grow, nothing)
    outer = hp.first_radius * hp.growth ** (index - 1)
    inner = jnp.where(index > 1, outer / hp.growth, 0)
    *_, best, _ = jax.lax.fori_loop(0, hp.num_shrinks, shrink, (inner, outer, best, least))
    return Recourse(best, found & allows(space, x, best))


def _samples(hp: GrowingSpheres, key: Array, start: Array, x: Array, space: ActionSpace) -> tuple[Array, Array]:
    """Directions (num_samples, d) of L1 norm 1 over the fine columns, and `start` with random switches of category.

    One normal draw serves fine and coarse columns (`is_coarse`): it is the direction of the former, the score of the
    latter. Half of the directions are cubed: they move
    few columns far, and the nearest point in L1 often moves but one.
    """
    coarse = is_coarse(space, x)
    normal = jax.random.normal(key, (hp.num_samples, start.shape[0]), start.dtype)
    inertia = jnp.linspace(0, 1, hp.num_samples, dtype=start.dtype)
    sense = space.direction.astype(start.dtype)[None, :]
    heading = jnp.where(sense == 0, normal, jnp.abs(normal) * sense)  # no sample is spent on a forbidden direction
    sparse = hp.sparse & (jnp.arange(hp.num_samples) % 4 < 2)
    spread = jnp.where(sparse[:, None], heading**3, heading)
    fine = jnp.where((space.mutable & ~coarse)[None, :], spread, 0)
    direction = fine / jnp.maximum(jnp.sum(jnp.abs(fine), axis=1, keepdims=True), jnp.finfo(start.dtype).tiny)

    def switch(score: Array, inertia: Array) -> Array:
        one_hot = score + 2 * inertia * start  # the present level wins more often the more inertia there is
        moved = start + jnp.where(jnp.abs(score) > inertia, score, 0)
        target = jnp.where(space.group >= 0, one_hot, moved)
        return project(space, x, jnp.where(coarse, target, start))

    stays = jnp.arange(hp.num_samples) % 2 == 0
    switched = jnp.where(stays[:, None], start[None, :], jax.vmap(switch)(heading, inertia))
    return direction, switched
