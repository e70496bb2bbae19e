"""The standard normal distribution function, for probabilities of answers with an error rate as their floor."""

import math

import jax
import jax.numpy as jnp
from jax import Array


def cdf(ratio: Array) -> Array:
    """The distribution function, with an absolute error of 1e-7 in both tails, where `norm.cdf` is exact but slow."""
    return jnp.clip((1 + jax.lax.erf(ratio * math.sqrt(0.5))) / 2, 0, 1)
