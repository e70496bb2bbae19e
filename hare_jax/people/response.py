"""Smooth answer models: the probability that one of two recourses is preferred, given the difference of utilities.

With `delta = utility(a) - utility(b)`, a link F, the cdf of a symmetric distribution, and a lapse rate,

    P(a is preferred) = (1 - lapse) F(sharpness delta) + lapse F(-sharpness delta)
                      = lapse + (1 - 2 lapse) F(sharpness delta).

So an answer is flipped with probability `lapse`, the least probability of any answer. F is logistic in the model of
Bradley and Terry (1952), "Rank analysis of incomplete block designs", and normal (probit) in that of Thurstone (1927),
"A law of comparative judgment".
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import choose, holds, pytree_dataclass, require
from hare_jax.hyperparams import check_fields

LINKS = {"logistic": jax.nn.log_sigmoid, "probit": jax.scipy.stats.norm.logcdf}  # the logarithms of F
_MAX_LAPSE = 0.5  # above it, the worse recourse would be preferred


@pytree_dataclass
class Response:
    """How the probability of an answer depends on the difference of utilities."""

    link: str = "logistic"  # F: a row of `LINKS`
    sharpness: float = 1.0  # of the answers, in 1 / utility; 0 for answers at random
    lapse: float = 0.0  # probability of a flipped answer, in [0, 0.5]


def log_probability(hp: Response, delta: Array) -> Array:
    """Log-probability () that `a` is preferred to `b`, given `delta = utility(a) - utility(b)` (); `-delta` for `b`.

    Differentiable in `delta`, `sharpness` and `lapse`, at a lapse rate of 0 too. The value and the derivative by
    `delta` are finite where `sharpness delta` is large and its square does not overflow.

    Raises:
        ValueError: an unknown link, a negative sharpness, or a lapse rate outside of [0, 0.5].

    >>> answer = Response(sharpness=2.0, lapse=0.1)
    >>> round(float(jnp.exp(log_probability(answer, jnp.array(100.0)))), 4)
    0.9
    >>> float(log_probability(Response(), jnp.array(-1000.0)))
    -1000.0
    """
    check(hp)
    log_cdf = LINKS[hp.link]
    better, worse = log_cdf(hp.sharpness * delta), log_cdf(-hp.sharpness * delta)
    lapse = jnp.asarray(hp.lapse, better.dtype)
    fixed = jax.lax.stop_gradient((lapse, better, worse))
    value = jnp.logaddexp(jnp.log1p(-fixed[0]) + fixed[1], jnp.log(fixed[0]) + fixed[2])
    return value + jnp.log((1 - lapse) * jnp.exp(better - value) + lapse * _exp(worse - value))


def answering(hp: Response, utility: Partial) -> Partial:
    """The `Prefers` whose answers are drawn with these probabilities, given a `utility: (x, z) -> ()`.

    Raises:
        ValueError: as `log_probability`.
    """
    check(hp)
    return Partial(draw_answer, hp, utility)


def draw_answer(hp: Response, utility: Partial, key: Array, x: Array, a: Array, b: Array) -> Array:
    """Whether `a` (d,) is preferred to `b` (d,) for the factual `x`, drawn with its probability: () bool."""
    log_p = log_probability(hp, utility(x, a) - utility(x, b))
    return jax.random.uniform(key, (), log_p.dtype) < jnp.exp(log_p)


def check(hp: Response) -> None:
    """Check the parameters.

    Raises:
        ValueError: an unknown link, a negative sharpness, or a lapse rate outside of [0, 0.5].
    """
    check_fields(hp, Response)
    choose("link", hp.link, LINKS)
    require(holds(lambda sharpness: sharpness >= 0, hp.sharpness), "sharpness", "must be at least 0", hp.sharpness)
    within = holds(lambda lapse: (lapse >= 0) & (lapse <= _MAX_LAPSE), hp.lapse)
    require(within, "lapse", f"must be from 0 to {_MAX_LAPSE}", hp.lapse)


def _exp(exponent: Array) -> Array:
    """`exp` up to the largest float: where the exponent is larger, the lapse rate that multiplies it is 0."""
    return jnp.exp(jnp.minimum(exponent, jnp.log(jnp.finfo(exponent.dtype).max / jnp.e)))
