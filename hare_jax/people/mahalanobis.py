"""Persons with a hidden ideal, the distance to which is measured by a hidden positive definite matrix M.

`loss^2 = (z - ideal)^T M (z - ideal)`, with `M = factor^T factor`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, exact_products
from hare_jax.people.base import Person, Population, User, root
from hare_jax.people.ideal import given_or_drawn
from hare_jax.solvers import linalg
from hare_jax.space import ActionSpace

_MOST = 5.0  # largest eigenvalue of M; the least is its inverse, so the condition number is at most 25


class Mahalanobis(NamedTuple):
    """The hidden parameters."""

    ideal: Array  # (d,)
    factor: Array  # (d, d)


@exact_products
def draw(
    hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, ideal: User | None = None
) -> User:
    """Draw M for `x` (d,): random orthogonal eigenvectors, and eigenvalues log-uniform in [1/5, 5].

    The ideal is drawn unless it is given.
    """
    ideal, key_others = given_or_drawn(hp, key, logit_fn, x, space, ideal)
    key_vectors, key_values = jax.random.split(key_others)
    normal = jax.random.normal(key_vectors, (len(x), len(x)), x.dtype)
    vectors = linalg.whitening(normal @ normal.T, jnp.ones(len(x), bool)) @ normal  # orthogonal
    log_values = jax.random.uniform(key_values, x.shape, x.dtype, minval=-1.0) * jnp.log(_MOST).astype(x.dtype)
    return User(Mahalanobis(ideal.hidden, jnp.exp(log_values / 2)[:, None] * vectors.T), ideal.valid)


@exact_products
def utility(hidden: Mahalanobis, x: Array, z: Array) -> Array:
    """`-(z - ideal)^T M (z - ideal)`: ()."""
    return -jnp.sum((hidden.factor @ (z - hidden.ideal)) ** 2)


def loss(hidden: Mahalanobis, x: Array, z: Array) -> Array:
    """`sqrt((z - ideal)^T M (z - ideal))`: (); its derivative at the ideal itself is 0."""
    return root(-utility(hidden, x, z))


def target(hidden: Mahalanobis) -> Array:
    """The point (d,) of highest utility: the ideal itself."""
    return hidden.ideal


PERSON = Person(
    draw=draw, utility=utility, loss=loss, label="Mahalanobis distance to ideal", target=target, of_ideal=True
)
