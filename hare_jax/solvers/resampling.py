"""Systematic resampling: draws from a discrete distribution at equal steps of its cdf.

Douc and Cappé (2005), "Comparison of resampling schemes for particle filtering".
"""

import jax
import jax.numpy as jnp
from jax import Array


def systematic(uniform: Array | float, log_weight: Array, num: int) -> Array:
    """Indices (num,), in ascending order, drawn with probabilities proportional to `exp(log_weight)` (n,).

    `uniform` () in [0, 1) shifts all of them; at 1/2 the draws are the middles of `num` equal parts.

    >>> systematic(0.5, jnp.log(jnp.array([0.5, 0.25, 0.25])), 4).tolist()
    [0, 0, 1, 2]
    """
    total = jnp.cumsum(jax.nn.softmax(log_weight))
    at = (jnp.arange(num) + uniform) / num * total[-1]
    return jnp.minimum(jnp.searchsorted(total, at), len(log_weight) - 1)
