"""The behaviour of the paper's code where it differs from the package, as far as the tables of the paper require it.

The original's only constraint is a mask of mutable columns: candidates and growing spheres leave the unit box,
categories become fractional in the boundary search, candidates are masked after their optimisation, hidden ideals are
clipped and not re-evaluated, and half of the base methods change immutable columns. This module reproduces it by wider
action spaces and two functions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax import people
from hare_jax.base import LogitFn
from hare_jax.data import Table
from hare_jax.elicit.candidates import Sampling, directions
from hare_jax.evaluate import simulate
from hare_jax.evaluate.sharding import map_users
from hare_jax.recourse import growing_spheres
from hare_jax.recourse.descent import Descent
from hare_jax.space import ActionSpace

SPHERES = growing_spheres.GrowingSpheres(num_samples=1000, sparse=False)
_STEPS = 2500  # of Adam, after which the weight of the cost is halved
_DESCENT = {
    "descent": Descent(num_steps=_STEPS, num_attempts=1, learning_rate=0.01),
    "cost_decay": 0.5 ** (1 / _STEPS),
}


class Base(NamedTuple):
    """A base method with its arguments."""

    method: str
    space: ActionSpace
    rows: Array  # (n, d) rows to fit on
    hyperparameters: dict[str, Any]


def base(method: str, key: Array, table: Table, movable: Array) -> Base:
    """The original's version of a base method, in terms of ours.

    - Wachter's changes the `movable` (d,) columns within the unit box, by one descent in small steps to the first
      accepted point. Growing spheres are without bounds, in 1,000 directions, and their radius is about as exact as the
      original's shells. Neither sets columns back, nor moves the point to the boundary.
    - FACE ignores all immutable columns but the last, and most of its edges. This is equivalent to the nearest accepted
      row of a random tenth of all rows.
    - C-CHVAE changes the mutable columns within the unit box, CLUE every column without bounds.
    - CRUDS forces each pair of neighbouring categorical columns, mutable or not, to be complementary.
    - The last three have no boundary search.
    """
    everything, categorical = jnp.ones_like(movable), is_categorical(table)
    rows = jnp.concatenate([table.x_train, table.x_test])
    as_found = {"num_boundary_steps": 0}
    unchanged = {**as_found, "num_restored": 0}
    whole_categories = box_space(table.space.mutable)._replace(step=jnp.where(categorical, 1.0, 0.0))
    match method:
        case "wachter":
            return Base(method, box_space(movable), rows, {**_DESCENT, **unchanged})
        case "face":
            tenth = jax.random.permutation(key, rows)[: len(rows) // 10]
            return Base("nnce", free_space(everything), tenth, {})
        case "cchvae":
            return Base(method, whole_categories, rows, as_found)
        case "clue":
            return Base(method, free_space(everything), table.x_train, as_found)
        case "cruds":
            return Base(method, paired(whole_categories, categorical), rows, as_found)
        case "growing_spheres":
            shells = {"sparse": False, "num_samples": SPHERES.num_samples, "num_shrinks": 2}
            return Base(method, free_space(movable), rows, {**shells, **unchanged})
        case _:
            return Base(method, free_space(movable), rows, {})


def is_categorical(table: Table) -> Array:
    """Whether each encoded column (d,) belongs to a categorical feature."""
    return jnp.array([feature.type == "categorical" for feature in table.features for _ in feature.columns])


def paired(space: ActionSpace, categorical: Array) -> ActionSpace:
    """Make mutable one-hot pairs of the `categorical` (d,) columns: the first and second, and so on.

    With an odd number, the last one is unchanged.
    """
    order = jnp.cumsum(categorical) - 1
    in_pair = categorical & (order < jnp.sum(categorical) // 2 * 2)
    group = jnp.where(in_pair, order // 2, -1).astype(jnp.int32)
    return space._replace(mutable=space.mutable | in_pair, group=group)


def box_space(movable: Array) -> ActionSpace:
    """The unit box over the `movable` (d,) continuous columns, without steps, groups or directions."""
    zero, one = jnp.zeros(movable.shape), jnp.ones(movable.shape)
    return ActionSpace(movable, zero, one, zero.astype(jnp.int8), -one.astype(jnp.int32), zero)


def free_space(movable: Array) -> ActionSpace:
    """As `box_space`, without bounds."""
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
    """Optimise directions over all columns, then set those that are not `movable` to 0 without renormalisation."""
    unit = directions(hp, noise, logit_fn, x, centre, free_space(jnp.ones_like(movable)))
    return centre[None, :] + jnp.where(movable[None, :], unit, 0)


def draw_all(
    hp: people.Population, keys: Array, logit_fn: LogitFn, x: Array, movable: Array, kinds: Sequence[str]
) -> simulate.Users:
    """As `simulate.draw_all` for rows `x` (n, d) with `keys` (n,), with the original's ideal."""

    def one(row: tuple[Array, Array]) -> simulate.Users:
        return draw(hp, row[0], logit_fn, row[1], movable, kinds)

    return map_users(one, (keys, x))


def draw(
    hp: people.Population, key: Array, logit_fn: LogitFn, x: Array, movable: Array, kinds: Sequence[str]
) -> dict[str, people.User]:
    """As `people.draw`, with the original's ideal."""
    others = [kind for kind in kinds if kind != "ideal"]
    key_ideal, _ = jax.random.split(key)
    ideal = hidden_ideal(hp, key_ideal, logit_fn, x, movable)
    return {"ideal": ideal, **people.draw(hp, key, logit_fn, x, free_space(movable), others)}


def hidden_ideal(hp: people.Population, key: Array, logit_fn: LogitFn, x: Array, movable: Array) -> people.User:
    """The original's ideal: growing spheres from a perturbed point, clipped to the unit box and not re-evaluated."""
    key_start, key_spheres = jax.random.split(key)
    start, _ = people.refused_start(hp, key_start, logit_fn, x, box_space(movable))
    found = growing_spheres.search(SPHERES, key_spheres, logit_fn, start, x, free_space(movable))
    return people.User(jnp.clip(found.x, 0, 1), found.valid)
