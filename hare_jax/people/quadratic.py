"""Persons with a hidden quadratic cost of a change, `(z - x)^T A (z - x)`, with A positive semidefinite.

The cost is that of Nguyen, Nguyen and Nguyen (2024), "Cost-adaptive recourse recommendation by adaptive preference
elicitation" (ReAP), https://arxiv.org/abs/2402.15073. Here `A = factor^T factor`.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, exact_products
from hare_jax.people.base import Person, Population, User, negative
from hare_jax.space import ActionSpace

_NUM_SQUARES = 12  # the largest eigenvalue to the power 2^12


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw a factor (d, d) of A for `x` (d,): standard normal entries, scaled so that A has spectral norm 1."""
    normal = jax.random.normal(key, (len(x), len(x)), x.dtype)
    return User(normal / _spectral_norm(normal), jnp.array(True))


@exact_products
def _spectral_norm(matrix: Array) -> Array:
    """The largest singular value (), by squaring: JAX's factorisations can't run on several CPU devices."""

    def square(power: Array, _: None) -> tuple[Array, None]:
        power = power @ power
        return power / jnp.trace(power), None

    gram = matrix.T @ matrix
    power, _ = jax.lax.scan(square, gram / jnp.trace(gram), length=_NUM_SQUARES)
    vector = power[:, jnp.argmax(jnp.diagonal(power))]
    return jnp.sqrt(jnp.sum((matrix @ vector) ** 2) / jnp.sum(vector**2))


@exact_products
def loss(factor: Array, x: Array, z: Array) -> Array:
    """`(z - x)^T A (z - x)`: ()."""
    return jnp.sum((factor @ (z - x)) ** 2)


PERSON = Person(draw=draw, utility=negative(loss), loss=loss, label="quadratic cost", of_own_changes=True)
