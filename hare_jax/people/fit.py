"""Cost weights from answers: the posterior mode under comparisons, ratings and vetoes, with its Laplace covariance.

Answers follow Bradley and Terry (1952): `a` is preferred to `b` with probability
`sigmoid(sharpness (cost(b) - cost(a)))`. The fit is differentiable in all of its arguments.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import check_shapes, exact_products, holds, pytree_dataclass, require
from hare_jax.hyperparams import Count, Positive, check_fields
from hare_jax.people.objective import Objective, column_costs
from hare_jax.solvers.argmin import argmin
from hare_jax.space import ActionSpace

_REACH = 8.0  # s.d. of the prior that a weight's logarithm may move


@pytree_dataclass
class Prior:
    """Prior of the weights, log-normal, and model of the answers."""

    centre: float = 0.7  # mean of a weight's logarithm
    spread: Positive = 1.0  # its s.d.
    sharpness: float = 10.0  # of the answers: 0 gives random answers, infinity noiseless ones
    rating_sd: Positive = 0.1  # s.d. of the error of a rating, in units of cost
    veto_weight: Positive = 1e3  # weight of a vetoed column
    num_steps: Count = 20  # Newton steps


class Comparisons(NamedTuple):
    """Which of two recourses was preferred, n times."""

    a: Array  # (n, d)
    b: Array  # (n, d)
    chose_a: Array  # (n,) 1 the first, 0 the second, between them where undecided
    trust: Array | None = None  # (n,) weight of each answer, 1 where left out; 0 is padding


class Ratings(NamedTuple):
    """How good m recourses are."""

    x: Array  # (m, d)
    value: Array  # (m,) higher is better, in units of cost, with any zero
    trust: Array | None = None  # (m,) weight of each rating, 1 where left out; 0 is padding


class Answers(NamedTuple):
    """The answers of one person, with the cost of each column's change in place of recourses; made by `answers`."""

    compared: Comparisons
    rated: Ratings
    vetoed: Array  # (d,) bool: the column must not change


class Preferences(NamedTuple):
    """Posterior of the weights of one person (Laplace approximation)."""

    log_weights: Array  # (d,) the mode
    covariance: Array  # (d, d) of the log-weights; 0 in a vetoed column

    @property
    def weights(self) -> Array:
        """The weights (d,)."""
        return jnp.exp(self.log_weights)


def answers(
    hp: Objective,
    x: Array,
    compared: Comparisons | None = None,
    rated: Ratings | None = None,
    vetoed: Array | None = None,
    space: ActionSpace | None = None,
) -> Answers:
    """Answers for the factual `x` (d,): comparisons, ratings and vetoed columns (d,), each of which may be left out.

    In a `space` with relations the costs are those of own changes: what only follows from them costs nothing.

    Raises:
        ValueError: recourses of another width, lengths that differ, or `chose_a` outside of [0, 1].
    """
    x = jnp.asarray(x)
    none, nothing = jnp.zeros((0, x.shape[0]), x.dtype), jnp.zeros(0, x.dtype)
    compared = Comparisons(none, none, nothing) if compared is None else compared
    rated = Ratings(none, nothing) if rated is None else rated
    _check_answers(x, compared, rated)
    vetoed = jnp.zeros(x.shape, bool) if vetoed is None else jnp.asarray(vetoed, bool)
    check_shapes(vetoed=(vetoed, x.shape))
    costs = jax.vmap(partial(column_costs, hp, x, space=space))
    chose_a, value = jnp.asarray(compared.chose_a, x.dtype), jnp.asarray(rated.value, x.dtype)
    return Answers(
        Comparisons(costs(compared.a), costs(compared.b), chose_a, _trust(compared.trust, chose_a)),
        Ratings(costs(rated.x), value, _trust(rated.trust, value)),
        vetoed,
    )


def _trust(given: Array | None, like: Array) -> Array:
    return jnp.ones_like(like) if given is None else jnp.asarray(given, like.dtype)


def _check_answers(x: Array, compared: Comparisons, rated: Ratings) -> None:
    for points, others in ((compared.a, compared._asdict()), (rated.x, rated._asdict())):
        num = jnp.shape(points)[:1]
        shapes = {name: num + x.shape if name in ("a", "b", "x") else num for name in others}
        check_shapes(**{name: (other, shapes[name]) for name, other in others.items() if other is not None})
    for name, given in {"a": compared.a, "b": compared.b, "rated": rated.x, "value": rated.value}.items():
        require(holds(np.isfinite, given), name, "must be finite", given)
    share = holds(lambda share: (share >= 0) & (share <= 1), compared.chose_a)
    require(share, "chose_a", "must be from 0 to 1", compared.chose_a)


@exact_products
def negative_log_posterior(hp: Prior, said: Answers, log_weights: Array) -> Array:
    """Minus the log posterior density of the log-weights (d,), given the answers `said`, up to a constant: ()."""
    weights = jnp.where(said.vetoed, 0, jnp.exp(log_weights))  # a vetoed column does not enter the comparisons
    (a, b, chose_a, _), (rated, value, _) = said.compared, said.rated
    trust, rated_trust = _trust(said.compared.trust, chose_a), _trust(said.rated.trust, value)
    lead = hp.sharpness * (b @ weights - a @ weights)
    chosen = chose_a * jax.nn.log_sigmoid(lead) + (1 - chose_a) * jax.nn.log_sigmoid(-lead)
    error = value + rated @ weights
    total = jnp.sum(rated_trust)
    mean = jnp.sum(rated_trust * error) / jnp.where(total > 0, total, 1)
    error = (error - mean) / hp.rating_sd  # the zero of the ratings is unknown
    prior = jnp.sum(((log_weights - hp.centre) / hp.spread) ** 2)
    return prior / 2 - jnp.sum(trust * chosen) + jnp.sum(rated_trust * error**2) / 2


def fit_preferences(hp: Prior, said: Answers) -> Preferences:
    """Posterior mode of the weights of one person, given the answers `said`; `vmap` for many, padded to one length.

    The prior is log-normal, comparisons follow Bradley and Terry, and ratings have normal errors; the inverse Hessian
    at the mode is the covariance (Laplace). Differentiable in the answers, the recourses shown, and the prior.

    Raises:
        ValueError: `hp` is not a `Prior`.

    >>> compared = Comparisons(a=jnp.eye(2)[:1], b=jnp.eye(2)[1:], chose_a=jnp.ones(1))  # 1st column, not 2nd
    >>> said = answers(Objective(), jnp.zeros(2), compared)
    >>> weights = jax.jit(fit_preferences)(Prior(), said).weights
    >>> bool(weights[0] < weights[1])
    True
    """
    check_fields(hp, Prior)
    veto, centre, reach = jnp.log(hp.veto_weight), hp.centre, _REACH * hp.spread
    start = jnp.where(said.vetoed, veto, jnp.asarray(centre, said.compared.a.dtype))
    lower, upper = jnp.where(said.vetoed, veto, centre - reach), jnp.where(said.vetoed, veto, centre + reach)
    bounds = (bound.astype(start.dtype) for bound in (lower, upper))
    log_weights = argmin(partial(negative_log_posterior, hp, said), start, *bounds, num_steps=hp.num_steps)
    curvature = jax.jacfwd(jax.grad(partial(negative_log_posterior, hp, said)))(log_weights)
    known = said.vetoed[:, None] | said.vetoed[None, :]
    identity = jnp.eye(start.shape[0], dtype=start.dtype)
    covariance = jnp.linalg.inv(jnp.where(known, identity, curvature))
    return Preferences(log_weights, jnp.where(known, 0, covariance))
