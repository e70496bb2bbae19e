"""What a recourse costs a person, what their answers say about that, and what they will choose in the end.

A person is their weights `w` (d,): a recourse costs them `sum_j w_j cost_j(x_j, x'_j)`, and of two recourses they take
`a` with probability `sigmoid(sharpness (cost(b) - cost(a)))` (Bradley and Terry 1952). Everything here is smooth in the
weights and in the recourses, and differentiable to any order, the fit of the weights included.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, choose, holds, hyperparams, require
from hare_jax.boundary import MARGIN
from hare_jax.implicit import argmin

KINDS = ("l1", "squared", "percentile")
_REACH = 8.0  # s.d. of the prior that a weight's logarithm may move


@hyperparams
class Objective:
    """How a change is charged, and how a refusal is."""

    kind: str = "l1"  # `l1`, `squared` or `percentile`
    smoothing: float = 1e-2  # changes that are smaller cost their square, in encoded units or quantiles
    bandwidth: float = 2e-2  # of the quantiles, in encoded units
    margin: float = MARGIN  # the logit from which on nothing is charged for a refusal
    knots: Array | None = None  # (m, d) of `quantile_knots`, for `percentile`


def quantile_knots(rows: Array, num_knots: int = 64) -> Array:
    """Quantiles (m, d) of the columns of `rows` (n, d), evenly spaced: what `percentile` knows of the population."""
    levels = (jnp.arange(num_knots, dtype=rows.dtype) + 0.5) / num_knots
    return jnp.quantile(rows, levels, axis=0)


def column_costs(hp: Objective, x: Array, x_cf: Array) -> Array:
    """Cost (d,) of each column's change from `x` (d,) to `x_cf` (d,), before the weights.

    `l1` is `sqrt(change^2 + s^2) - s`, which is |change| where that is much more than s; `squared` is `change^2`;
    `percentile` is `l1` of the shift in the column's quantile (Ustun et al. 2019), smoothed by the bandwidth.

    Raises:
        ValueError: no such kind, `percentile` without knots, or a smoothing of 0 where it has no derivative.

    >>> column_costs(Objective(smoothing=0.0, kind="squared"), jnp.zeros(2), jnp.array([0.5, 2.0])).tolist()
    [0.25, 4.0]
    """
    choose("kind", hp.kind, KINDS)
    if hp.kind == "squared":
        return (x_cf - x) ** 2
    require(holds(lambda s: s > 0, hp.smoothing), "smoothing", "must be above 0 but for squared", hp.smoothing)
    change = x_cf - x
    if hp.kind == "percentile":
        require(hp.knots is not None, "knots", "must be given for percentile (see quantile_knots)", hp.knots)
        change = _quantile(hp, x_cf) - _quantile(hp, x)
    return jnp.sqrt(change**2 + hp.smoothing**2) - hp.smoothing


def objective(hp: Objective, weights: Array, penalty: Array, logit_fn: LogitFn, x: Array, x_cf: Array) -> Array:
    """`sum_j weights_j cost_j(x_j, x'_j) + penalty * max(margin - logit(x'), 0)^2`: ()."""
    short = jnp.maximum(hp.margin - logit_fn(x_cf), 0)
    return jnp.sum(weights * column_costs(hp, x, x_cf)) + penalty * short**2


def _quantile(hp: Objective, z: Array) -> Array:
    """Share (d,) of the population below `z` (d,)."""
    return jnp.mean(jax.nn.sigmoid((z[None, :] - hp.knots) / hp.bandwidth), axis=0)  # type: ignore[operator]


# Learning the weights


@hyperparams
class Prior:
    """What is known of a person before they answer; the weights are log-normal."""

    centre: float = 0.7  # mean of a weight's logarithm
    spread: float = 1.0  # its s.d.
    sharpness: float = 10.0  # of the answers: 0 is a coin, infinity never errs
    rating_sd: float = 0.1  # of a rating, in units of cost
    veto_weight: float = 1e3  # of a column that they rule out
    num_steps: int = 20  # Newton steps


class Answers(NamedTuple):
    """What one person has said; build it with `answers`. A row of weight 0 is padding."""

    a: Array  # (n, d) costs of each column's change, of the first recourse of a question
    b: Array  # (n, d) of the second
    chose_a: Array  # (n,) 1 the first, 0 the second, 1/2 can't tell
    trust: Array  # (n,) weight of the answer
    rated: Array  # (m, d) costs of each column's change, of a recourse that was rated
    rating: Array  # (m,) higher is better, in units of cost, from any zero
    rated_trust: Array  # (m,) weight of the rating
    vetoed: Array  # (d,) bool: they will not change this at all


class Preferences(NamedTuple):
    """The weights of one person as far as they are known."""

    log_weights: Array  # (d,) the most probable
    covariance: Array  # (d, d) of the log-weights (Laplace); 0 in a vetoed column

    @property
    def weights(self) -> Array:
        """The weights themselves, (d,)."""
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
    """What the person at `x` (d,) has said of pairs `a`, `b` (n, d), of `rated` (m, d) recourses and of columns.

    `chose_a` (n,) is 1 where they rather took the first, 0 where the second, and between them where they were unsure.
    What is left out was not said; trust is 1 where left out.

    Raises:
        ValueError: half of a pair or of a rating is missing, lengths differ, or `chose_a` is not a share.
    """
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


def surprise(hp: Prior, said: Answers, log_weights: Array) -> Array:
    """How improbable the weights (d,) are after what was said: minus the log posterior, up to a constant, ()."""
    weights = jnp.where(said.vetoed, 0, jnp.exp(log_weights))  # what they rule out is not weighed against the rest
    lead = hp.sharpness * (said.b @ weights - said.a @ weights)
    chosen = said.chose_a * jax.nn.log_sigmoid(lead) + (1 - said.chose_a) * jax.nn.log_sigmoid(-lead)
    error = said.rating + said.rated @ weights
    total = jnp.sum(said.rated_trust)
    mean = jnp.sum(said.rated_trust * error) / jnp.where(total > 0, total, 1)
    error = (error - mean) / hp.rating_sd  # the zero of the ratings is theirs
    prior = jnp.sum(((log_weights - hp.centre) / hp.spread) ** 2)
    return prior / 2 - jnp.sum(said.trust * chosen) + jnp.sum(said.rated_trust * error**2) / 2


def fit_preferences(hp: Prior, said: Answers) -> Preferences:
    """The most probable weights of one person after what they `said`; `vmap` for many, padded to one length.

    The maximum of the posterior under a log-normal prior, answers that follow Bradley and Terry, and ratings with
    normal errors; its curvature there gives the covariance. Differentiable in the answers, the recourses that were
    shown, and the prior.

    >>> said = answers(Objective(), jnp.zeros(2), jnp.eye(2)[:1], jnp.eye(2)[1:], jnp.ones(1))  # 1st column, not 2nd
    >>> weights = jax.jit(fit_preferences)(Prior(), said).weights
    >>> bool(weights[0] < weights[1])
    True
    """
    veto, centre, reach = jnp.log(hp.veto_weight), hp.centre, _REACH * hp.spread
    start = jnp.where(said.vetoed, veto, jnp.asarray(centre, said.a.dtype))
    lower, upper = jnp.where(said.vetoed, veto, centre - reach), jnp.where(said.vetoed, veto, centre + reach)
    bounds = (bound.astype(start.dtype) for bound in (lower, upper))
    log_weights = argmin(partial(surprise, hp, said), start, *bounds, num_steps=hp.num_steps)
    curvature = jax.jacfwd(jax.grad(partial(surprise, hp, said)))(log_weights)
    known = said.vetoed[:, None] | said.vetoed[None, :]
    identity = jnp.eye(start.shape[0], dtype=start.dtype)
    covariance = jnp.linalg.inv(jnp.where(known, identity, curvature))
    return Preferences(log_weights, jnp.where(known, 0, covariance))


# What they will choose


def beats_matrix(cost: Array, sharpness: Array, valid: Array | None = None) -> Array:
    """Probability (n, n) that recourse i is preferred to j, from what they `cost` (n,): Bradley and Terry's.

    One that is not `valid` (n,) loses for certain against any other.
    """
    odds = jax.nn.sigmoid(sharpness * (cost[None, :] - cost[:, None]))
    if valid is None:
        return odds
    return jnp.where(valid[:, None], jnp.where(valid[None, :], odds, 1), 0)


def expected_choice(beats: Array) -> Array:
    """Probability (n,) of each recourse to be the best at the end, exactly.

    Recourse 0 is the best at first, and 1 to n - 1 challenge it in turn: challenger k takes its place from i with the
    probability `beats[k, i]`, of `beats` (n, n). One scan: after k, `p_i <- p_i (1 - beats[k, i])` for i < k, and
    `p_k = sum_i p_i beats[k, i]`. It is the mean over all the answers of HARE's one round (TMLR 2025, algorithm 3).

    >>> expected_choice(jnp.array([[0.5, 0.75], [0.25, 0.5]])).tolist()
    [0.75, 0.25]
    """

    def challenge(chosen: Array, challenger: tuple[Array, Array]) -> tuple[Array, None]:
        index, wins = challenger
        lost = chosen * wins
        return (chosen - lost).at[index].set(jnp.sum(lost)), None

    num = beats.shape[0]
    first = jnp.zeros(num, beats.dtype).at[0].set(1)
    return jax.lax.scan(challenge, first, (jnp.arange(1, num), beats[1:]))[0]


def expected_recourse(chosen: Array, points: Array) -> Array:
    """Mean (d,) of the `points` (n, d) under the probabilities `chosen` (n,): a summary, and no recourse itself."""
    return chosen @ points


def expected_regret(chosen: Array, cost: Array, valid: Array | None = None) -> Array:
    """By how much what is chosen costs more, on average, than the cheapest `valid` (n,) recourse: ()."""
    offered = cost if valid is None else jnp.where(valid, cost, jnp.inf)
    least = jnp.min(offered)
    return chosen @ cost - jnp.where(jnp.isfinite(least), least, jnp.min(cost))


def sampled_choice(key: Array, chosen: Array) -> Array:
    """A draw (n,) of 0 and one 1 with the probabilities `chosen` (n,), and their gradient (straight-through)."""
    index = jax.random.categorical(key, jnp.log(jax.lax.stop_gradient(chosen)))
    one_hot = jax.nn.one_hot(index, chosen.shape[0], dtype=chosen.dtype)
    return chosen + jax.lax.stop_gradient(one_hot - chosen)
