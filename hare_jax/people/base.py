"""What a kind of person is: a row of `PERSONS`, and the answers of one simulated person.

Notation: `hidden` is what a person wants and does not say, a pytree of its kind's own shape; `x` (d,) is the factual
and `z` (d,) a recourse.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import hyperparams
from hare_jax.recourse.growing_spheres import GrowingSpheres

DISTANCES = {"near": 0.2, "intermediate": 0.8, "far": 1.5}


@hyperparams
class Population:
    """How simulated people are drawn."""

    distance: float = 1.5  # L2 norm of the perturbation that an ideal starts from: near 0.2, intermediate 0.8, far 1.5
    num_starts: int = 32  # perturbations tried until one is still refused
    spheres: GrowingSpheres = GrowingSpheres()


class User(NamedTuple):
    """One simulated person."""

    hidden: Any  # what `Person.draw` gave
    valid: Array  # () bool: such a person exists; an ideal, for instance, has to be an accepted recourse


class Person(NamedTuple):
    """A kind of person: what they hide, and what a recourse is worth to them.

    With `features` the utility is linear in what is hidden, `utility(hidden, x, z) = phi . hidden + c`, up to a term
    that all recourses share, and the Bayesian elicitor can learn it, from `prior` on.
    """

    draw: Callable[..., User]  # population, key, logit_fn, x, space -> User
    utility: Callable[[Any, Array, Array], Array]  # hidden, x, z -> (); of two recourses the higher one is preferred
    loss: Callable[[Any, Array, Array], Array]  # hidden, x, z -> (); what is reported, 0 or more, the lower the better
    label: str  # of the loss, in tables and plots
    features: Callable[[Array, Array], tuple[Array, Array]] | None = None  # x, z -> phi (d,), c ()
    prior: Callable[..., tuple[Array, Array]] | None = None  # hp, x, pool, space, reach -> mean (d,), covariance (d, d)


def prefers_by(utility: Partial, key: Array, x: Array, a: Array, b: Array) -> Array:
    """Whether `a` (d,) has a strictly higher `utility: (x, z) -> ()` than `b` (d,) for someone at `x`: () bool."""
    return utility(x, a) > utility(x, b)


def reachable(x: Array, lower: Array, upper: Array, reach: Array | float) -> tuple[Array, Array]:
    """Bounds (d,), (d,) of the box within `reach` of `x` (d,), inside `lower` and `upper` (d,)."""
    return jnp.maximum(lower, x - reach), jnp.minimum(upper, x + reach)
