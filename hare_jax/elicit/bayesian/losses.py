"""Expected losses from expected utilities, of the kinds of persons that the posterior covers.

The utility of such a kind is minus its loss, or minus the square of its loss; in the latter case the kind has a row in
`SQUARED`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.elicit.bayesian.belief import Belief
from hare_jax.people.base import root


def _squared_distance(mean: Array, cov: Array, utility: Array) -> Array:
    """The utility of an ideal leaves out `-||ideal||^2`."""
    return jnp.sum(mean**2) + jnp.trace(cov) - utility


# by kind: mean (d,) and cov (d, d) of theta, expected utility phi . mean + c (...) -> expected square of the loss (...)
SQUARED: dict[str, Callable[[Array, Array, Array], Array]] = {"ideal": _squared_distance}


def slope(belief: Belief, kind: int, span: slice, one: Array, other: Array) -> Array:
    """Difference of utilities over difference of losses (n, ...) of two recourses with these expected utilities.

    The hypotheses (n,) are those of the `kind` with this number. Where the utility is minus the square of the loss, the
    slope is the sum of both losses, each the root of its expected square; else it is 1.
    """
    squared = SQUARED.get(belief.kinds.distinct[kind])
    if squared is None:
        return jnp.ones(jnp.broadcast_shapes(one.shape, other.shape), one.dtype)
    mean, cov = belief.mean[span], belief.cov[span]
    first, second = (root(jax.vmap(squared)(mean, cov, each)) for each in (one, other))
    return first + second
