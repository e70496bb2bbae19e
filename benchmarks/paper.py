"""What the paper's code did and the package does not, each switch needed by a table of the paper.

The original has no notion of an action space past a mask: candidates and growing spheres leave the unit box, categories
turn fractional on the way to the boundary, candidates are masked only after they were optimised, and hidden ideals are
clipped and never checked again. All of it is said here with two wider spaces and two functions.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax import users
from hare_jax.base import LogitFn, Recourse
from hare_jax.candidates import Sampling, directions
from hare_jax.recourse import growing_spheres
from hare_jax.space import ActionSpace

BOXED = ("wachter",)  # base methods that the original keeps within the unit box


def box_space(movable: Array) -> ActionSpace:
    """The unit box over the `movable` (d,) continuous columns, without steps, groups or directions."""
    zero, one = jnp.zeros(movable.shape), jnp.ones(movable.shape)
    return ActionSpace(movable, zero, one, zero.astype(jnp.int8), -one.astype(jnp.int32), zero)


def free_space(movable: Array) -> ActionSpace:
    """As `box_space`, without the box."""
    infinite = jnp.full(movable.shape, jnp.inf)
    return box_space(movable)._replace(lower=-infinite, upper=infinite)


def sample(
    hp: Sampling, movable: Array, key: Array, logit_fn: LogitFn, x: Array, centre: Array, space: ActionSpace
) -> Array:
    """Candidates (N, d) of the original: see `from_noise`."""
    noise = jax.random.normal(key, (hp.num_directions, x.shape[0]), x.dtype)
    return from_noise(hp, movable, noise, key, logit_fn, x, centre, space)


def from_noise(
    hp: Sampling,
    movable: Array,
    noise: Array,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    centre: Array,
    space: ActionSpace,
) -> Array:
    """Optimise directions over all columns, then set those that are not `movable` to 0 and don't renormalise."""
    unit = directions(hp, noise, logit_fn, x, centre, free_space(jnp.ones_like(movable)))
    return centre[None, :] + jnp.where(movable[None, :], unit, 0)


def draw(hp: users.Population, key: Array, logit_fn: LogitFn, x: Array, movable: Array) -> users.User:
    """As `users.draw`, with the original's ideal."""
    key_ideal, key_weights = jax.random.split(key)
    return users.User(hidden_ideal(hp, key_ideal, logit_fn, x, movable), users.cost_weights(key_weights, x))


def hidden_ideal(hp: users.Population, key: Array, logit_fn: LogitFn, x: Array, movable: Array) -> Recourse:
    """The original's ideal: growing spheres from a perturbed point, clipped to the box and not asked about again."""
    key_start, key_spheres = jax.random.split(key)
    start, _ = users.refused_start(hp, key_start, logit_fn, x, box_space(movable))
    found = growing_spheres.search(hp.spheres, key_spheres, logit_fn, start, x, free_space(movable))
    return Recourse(jnp.clip(found.x, 0, 1), found.valid)
