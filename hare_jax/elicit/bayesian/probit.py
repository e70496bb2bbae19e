"""Probabilities of answers."""

import math

import jax
import jax.numpy as jnp
from jax import Array


def cdf(ratio: Array) -> Array:
    """The standard normal distribution function, with an absolute error of 1e-7 in both tails; `norm.cdf` is slower."""
    return jnp.clip((1 + jax.lax.erf(ratio * math.sqrt(0.5))) / 2, 0, 1)
