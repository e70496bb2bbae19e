"""Persons with hidden cost weights: of two recourses the cheaper one is preferred.

`utility = -sum_j weights_j |z_j - x_j|` is linear in the weights. HARE (TMLR 2025), table 7. In a space with relations
the changes are own changes, `space.own_change`: what only follows from them costs nothing. The hidden weights replace
the costs of the space.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, holds, pytree_dataclass, require
from hare_jax.people import levels
from hare_jax.people.base import Person, Population, Prior, User
from hare_jax.people.marginals import clipped_normal, moments
from hare_jax.space import ActionSpace, weighted_l1

_CENTRES = (0.2, 1.0, 2.0, 3.0, 4.0)  # of a weight's distribution before clipping
_LEAST, _MOST = 0.1, 5.0  # support of a weight


@pytree_dataclass
class WeightsPrior:
    """Gaussian prior of the cost weights, independent over columns."""

    mean: float | Array = 2.1  # of each column's weight; (d,) where the importance of the columns is known
    sd: float | Array = 1.6


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw hidden cost weights for `x` (d,): see `cost_weights`."""
    return User(cost_weights(key, x), jnp.array(True))


def cost_weights(key: Array, x: Array) -> Array:
    """Draw cost weights (d,) for the columns of `x` (d,): `clip(centre + N(0, 1), 0.1, 5)`.

    The centre is uniform on {0.2, 1, 2, 3, 4}. HARE (TMLR 2025), experimental set-up.
    """
    key_centre, key_noise = jax.random.split(key)
    centre = jax.random.choice(key_centre, jnp.array(_CENTRES, x.dtype), x.shape)
    return jnp.clip(centre + jax.random.normal(key_noise, x.shape, x.dtype), _LEAST, _MOST)


def given_weights(weights: Array) -> Array:
    """The weights (d,) of the loss: the hidden ones."""
    return weights


def weights_of(hidden: Any) -> Array:
    """The `weights` (d,) among the hidden parameters of a kind that has others, too."""
    return hidden.weights


def utility(weights: Array, x: Array, z: Array) -> Array:
    """`-sum_j weights_j |z_j - x_j|`: ()."""
    return -weighted_l1(weights, x, z)


def features(x: Array, z: Array) -> tuple[Array, Array]:
    """`phi = -|z - x|` (d,) and `c = 0` (): the utility is `phi . weights + c`."""
    return -jnp.abs(z - x), jnp.zeros((), z.dtype)


def clip(weights: Array) -> Array:
    """Raise the weights (..., d) to at least 0.1, the lower end of their support."""
    return jnp.maximum(weights, _LEAST)


def check_prior(hp: WeightsPrior | None) -> None:
    """Check the hyperparameters of `prior`.

    Raises:
        ValueError: not a `WeightsPrior`, or a standard deviation that is not positive.
    """
    if hp is not None:
        require(isinstance(hp, WeightsPrior), "weights prior", "must be a WeightsPrior", hp)
        require(holds(lambda sd: sd > 0, hp.sd), "weights prior sd", "must be above 0", hp.sd)


def prior(hp: WeightsPrior | None, x: Array, space: ActionSpace, reach: Array | float) -> Prior:
    """Prior of the weights for `x` (d,): normal, independent, clipped from below; it does not depend on `reach`."""
    hp = WeightsPrior() if hp is None else hp
    ones = jnp.ones_like(x)
    marginals = clipped_normal(hp.mean * ones, hp.sd * ones, _LEAST * ones, jnp.inf * ones)
    mean, variance = moments(marginals)
    return Prior(mean, jnp.diag(variance), marginals, space.mutable, levels.none(mean))


def prefers_cheaper(weights: Array, key: Array, x: Array, a: Array, b: Array) -> Array:
    """Whether the change from `x` to `a` (d,) costs strictly less than to `b` (d,): `sum_j weights_j |a_j - x_j|`."""
    return utility(weights, x, a) > utility(weights, x, b)


PERSON = Person(
    draw=draw,
    utility=utility,
    loss=weighted_l1,
    label="weighted cost",
    features=features,
    prior=prior,
    check_prior=check_prior,
    clip=clip,
    l1_weights=given_weights,
    of_own_changes=True,
)
