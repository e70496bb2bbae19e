"""Features and their changes, for the kinds of persons that count or order features.

A feature is a column, or a whole one-hot group: `space.same_feature`. `feature` (d,) holds the index of the first
column of each column's feature, so that the functions of a kind need no action space.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.space import ActionSpace, same_feature

CHANGED = 1e-5  # smaller differences do not count as changes
_SWITCHED = 2  # columns that differ between two levels of a one-hot group


def first_columns(space: ActionSpace) -> Array:
    """Index (d,) of the first column of each column's feature: int32."""
    return jnp.argmax(same_feature(space), axis=1).astype(jnp.int32)


def is_first(feature: Array) -> Array:
    """Which columns (d,) are the first of their feature."""
    return feature == jnp.arange(len(feature))


def changed(feature: Array, x: Array, z: Array) -> Array:
    """Which features changed from `x` (d,) to `z` (d,), each marked at its first column: (d,) bool."""
    moved = jnp.abs(z - x) > CHANGED
    same = feature[:, None] == feature[None, :]
    return is_first(feature) & jnp.any(same & moved[None, :], axis=1)


def per_feature(key: Array, x: Array, feature: Array) -> Array:
    """A uniform number in [0, 1) for each feature, equal in all of its columns: (d,) in the dtype of `x`."""
    return jax.random.uniform(key, x.shape, x.dtype)[feature]


def share_of_switch(space: ActionSpace, x: Array) -> Array:
    """Factor (d,) that makes the change of a category cost as much as that of a column by 1: 1/2 in one-hot groups."""
    return jnp.where(space.group >= 0, jnp.ones_like(x) / _SWITCHED, 1)
