"""Persons with hidden cost weights and some features that must not change.

The weights of the latter are ten times the largest of the others. A one-hot group is one feature.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, Population, User
from hare_jax.people.changes import first_columns, per_feature
from hare_jax.people.weights import cost_weights, given_weights, utility
from hare_jax.space import ActionSpace, weighted_l1

_SHARE = 0.25  # of the mutable features that must not change, on average
_WEIGHT = 50.0  # of their columns


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw cost weights (d,) for `x` (d,), distributed as `cost_weights`, and the features that must not change.

    They are a random quarter of the mutable features: at least one, and not all if there are several.
    """
    key_weights, key_features = jax.random.split(key)
    score = per_feature(key_features, x, first_columns(space))
    least = jnp.min(jnp.where(space.mutable, score, 1))
    most = jnp.max(jnp.where(space.mutable, score, 0))
    kept = space.mutable & ((score < _SHARE) | (score == least)) & (score < most)
    return User(jnp.where(kept, jnp.asarray(_WEIGHT, x.dtype), cost_weights(key_weights, x)), jnp.array(True))


PERSON = Person(
    draw=draw,
    utility=utility,
    loss=weighted_l1,
    label="weighted cost, some features fixed",
    l1_weights=given_weights,
    of_own_changes=True,
)
