"""Persons with a hidden order of the features: the smaller change of the first feature that differs decides.

The order is a weighted L1 cost whose weights fall by a factor of 16 from each feature to the next, down to the sixth;
the others share its weight. So a difference in one feature decides unless it is below about 1/15 of the largest one in
the features after it. The weights are powers of 2, exact in float32.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn
from hare_jax.people.base import Person, Population, User
from hare_jax.people.changes import first_columns, is_first, per_feature, share_of_switch
from hare_jax.people.weights import given_weights, utility
from hare_jax.space import ActionSpace, weighted_l1

_WEIGHTS = 16.0 ** -np.arange(6)  # by rank; the last, about 1e-6, is near the precision of a float32


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw a random order of the features of `x` (d,), the mutable ones first, and return its weights (d,)."""
    feature = first_columns(space)
    score = per_feature(key, x, feature) + ~space.mutable
    rank = jnp.sum(is_first(feature)[None, :] & (score[None, :] < score[:, None]), axis=1)
    weights = jnp.asarray(_WEIGHTS, x.dtype)[jnp.minimum(rank, len(_WEIGHTS) - 1)]
    return User(weights * share_of_switch(space, x), jnp.array(True))


PERSON = Person(
    draw=draw,
    utility=utility,
    loss=weighted_l1,
    label="lexicographic cost",
    l1_weights=given_weights,
    of_own_changes=True,
)
