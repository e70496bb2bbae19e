"""Cost weights from answers: the posterior mode under comparisons, ratings and vetoes, with its Laplace covariance.

Answers follow Bradley and Terry (1952): `a` is preferred to `b` with probability
`sigmoid(sharpness (cost(b) - cost(a)))`. The fit is differentiable in all of its arguments.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import holds, hyperparams, require
from hare_jax.people.objective import Objective, column_costs
from hare_jax.solvers.argmin import argmin

_REACH = 8.0  # s.d. of the prior that a weight's logarithm may move


@hyperparams
class Prior:
    """Prior of the weights, log-normal, and model of the answers."""

    centre: float = 0.7  # mean of a weight's logarithm
    spread: float = 1.0  # its s.d.
    sharpness: float = 10.0  # of the answers: 0 gives random answers, infinity noiseless ones
    rating_sd: float = 0.1  # s.d. of the error of a rating, in units of cost
    veto_weight: float = 1e3  # weight of a vetoed column
    num_steps: int = 20  # Newton steps


class Answers(NamedTuple):
    """The answers of one person; build it with `answers`. A row of weight 0 is padding."""

    a: Array  # (n, d) costs of each column's change, of the first recourse of a question
    b: Array  # (n, d) of the second
    chose_a: Array  # (n,) 1 the first, 0 the second, 1/2 undecided
    trust: Array  # (n,) weight of the answer
    rated: Array  # (m, d) costs of each column's change, of each rated recourse
    rating: Array  # (m,) higher is better, in units of cost, with any zero
    rated_trust: Array  # (m,) weight of the rating
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
    a: Array | None = None,
    b: Array | None = None,
    chose_a: Array | None = None,
    trust: Array | None = None,
    *,
    rated: Array | None = None,
    rating: Array | None = None,
    rated_trust: Array | None = None,
    vetoed: Array | None = None,
) -> Answers:
    """Answers for the factual `x` (d,): comparisons of `a` and `b` (n, d), ratings of `rated` (m, d), vetoed columns.

    `chose_a` (n,) is 1 where the first was preferred, 0 where the second, between them where undecided. Arguments left
    out mean no such answers; `trust` and `rated_trust` are weights, 1 where left out.

    Raises:
        ValueError: half of a pair or of a rating is missing, lengths differ, or `chose_a` is not a share.
    """
    _check_answers(a, b, chose_a, trust, rated, rating)
    none = jnp.zeros((0, x.shape[0]), x.dtype)
    costs = jax.vmap(partial(column_costs, hp, x))
    a, b, rated = (none if points is None else points for points in (a, b, rated))

    def filled(values: Array | None, num: int, default: float) -> Array:
        return jnp.full(num, default, x.dtype) if values is None else jnp.asarray(values, x.dtype)

    return Answers(
        a=costs(a),
        b=costs(b),
        chose_a=filled(chose_a, len(a), 0.5),
        trust=filled(trust, len(a), 1),
        rated=costs(rated),
        rating=filled(rating, len(rated), 0),
        rated_trust=filled(rated_trust, len(rated), 1),
        vetoed=jnp.zeros(x.shape, bool) if vetoed is None else jnp.asarray(vetoed, bool),
    )


def negative_log_posterior(hp: Prior, said: Answers, log_weights: Array) -> Array:
    """Minus the log posterior density of the log-weights (d,), given the answers `said`, up to a constant: ()."""
    weights = jnp.where(said.vetoed, 0, jnp.exp(log_weights))  # a vetoed column does not enter the comparisons
    lead = hp.sharpness * (said.b @ weights - said.a @ weights)
    chosen = said.chose_a * jax.nn.log_sigmoid(lead) + (1 - said.chose_a) * jax.nn.log_sigmoid(-lead)
    error = said.rating + said.rated @ weights
    total = jnp.sum(said.rated_trust)
    mean = jnp.sum(said.rated_trust * error) / jnp.where(total > 0, total, 1)
    error = (error - mean) / hp.rating_sd  # the zero of the ratings is unknown
    prior = jnp.sum(((log_weights - hp.centre) / hp.spread) ** 2)
    return prior / 2 - jnp.sum(said.trust * chosen) + jnp.sum(said.rated_trust * error**2) / 2


def fit_preferences(hp: Prior, said: Answers) -> Preferences:
    """Posterior mode of the weights of one person, given the answers `said`; `vmap` for many, padded to one length.

    The prior is log-normal, comparisons follow Bradley and Terry, and ratings have normal errors; the inverse Hessian
    at the mode is the covariance (Laplace). Differentiable in the answers, the recourses shown, and the prior.

    >>> said = answers(Objective(), jnp.zeros(2), jnp.eye(2)[:1], jnp.eye(2)[1:], jnp.ones(1))  # 1st column, not 2nd
    >>> weights = jax.jit(fit_preferences)(Prior(), said).weights
    >>> bool(weights[0] < weights[1])
    True
    """
    veto, centre, reach = jnp.log(hp.veto_weight), hp.centre, _REACH * hp.spread
    start = jnp.where(said.vetoed, veto, jnp.asarray(centre, said.a.dtype))
    lower, upper = jnp.where(said.vetoed, veto, centre - reach), jnp.where(said.vetoed, veto, centre + reach)
    bounds = (bound.astype(start.dtype) for bound in (lower, upper))
    log_weights = argmin(partial(negative_log_posterior, hp, said), start, *bounds, num_steps=hp.num_steps)
    curvature = jax.jacfwd(jax.grad(partial(negative_log_posterior, hp, said)))(log_weights)
    known = said.vetoed[:, None] | said.vetoed[None, :]
    identity = jnp.eye(start.shape[0], dtype=start.dtype)
    covariance = jnp.linalg.inv(jnp.where(known, identity, curvature))
    return Preferences(log_weights, jnp.where(known, 0, covariance))


def _check_answers(
    a: Array | None,
    b: Array | None,
    chose_a: Array | None,
    trust: Array | None,
    rated: Array | None,
    rating: Array | None,
) -> None:
    for name, given, partner, needed in (
        ("b", b, "a", a),
        ("a", a, "b", b),
        ("chose_a", chose_a, "a", a),
        ("a", a, "chose_a", chose_a),
        ("rating", rating, "rated", rated),
        ("rated", rated, "rating", rating),
    ):
        require((given is None) == (needed is None), name, f"must come with {partner}", given)
    for name, given, of in (("b", b, a), ("chose_a", chose_a, a), ("trust", trust, a), ("rating", rating, rated)):
        if given is not None:
            require(of is not None and len(given) == len(of), name, "must have one for each recourse", jnp.shape(given))
    share = chose_a is None or holds(lambda share: (share >= 0) & (share <= 1), chose_a)
    require(share, "chose_a", "must be from 0 to 1", chose_a)
