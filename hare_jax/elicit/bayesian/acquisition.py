"""Acquisition functions: the pair, or the set, of recourses from a pool that is expected to be most useful to show.

Notation: h hypotheses of k kinds of persons (see `posterior`), m recourses in the pool, f favourites among them.
Utilities of a hypothesis are divided by the prior s.d. of the utility in the pool (`scale`), because kinds have
different units.
"""

import math
import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import xlogy
from jax.scipy.stats import norm

from hare_jax.base import Recourse
from hare_jax.elicit.bayesian.belief import Belief, Features, Kinds, expected_utility, features_of_points
from hare_jax.elicit.bayesian.belief import weight as weight_of
from hare_jax.elicit.bayesian.losses import Compared, foci_of, in_utilities
from hare_jax.elicit.bayesian.probit import cdf
from hare_jax.elicit.bayesian.reductions import equal_rows, quadratic_forms
from hare_jax.solvers import linalg
from hare_jax.space import ActionSpace

_SAME = 1e-4  # largest difference of a column between recourses that are one to a person
_NUM_DRAWS = 256  # of theta, to evaluate a set
_BELL_VARIANCE = math.pi * math.log(2) / 2  # of the bell that approximates the entropy of a probit
_OVERLAP = 3.0  # rate at which the overlap of two bells decays, per s.d. of the noise in the width of ties
_HYPOTHESIS_SHARE = 0.25  # of the information on the hypothesis, beside its part in the information
_LEAST_UTILITY = 1e-5  # in prior s.d.s, to divide by: less is rounding
_LEAST_INFORMATION = 1e-4  # bits, to divide by: less is negligible
_LEAST_VARIANCE = 1e-12


class _Answer(NamedTuple):
    """The probability of each answer about the pairs: leaves (h, f, m) or (f, m)."""

    favourite: Array
    member: Array
    tie: Array


class Pairs(NamedTuple):
    """The posterior of all pairs of a favourite and a member of the pool."""

    weight: Array  # (h,) posterior probability of each hypothesis
    lapse: Array  # (h,)
    scale: Array  # (h,) prior s.d. of the utility in the pool
    utility: Array  # (h, m) expected utility
    total: Array  # (m,) expected utility over all hypotheses, in prior s.d.s; -inf where invalid
    gap: Array  # (h, f, m) expected utility of the favourite minus that of the member
    sd: Array  # (h, f, m) posterior s.d. of that difference
    noise: Array  # (h, f, m) s.d. of the noise of the answer
    width: Array  # (h, f, m) difference of utilities below which recourses are tied
    allowed: Array  # (f, m) bool: both are valid, and the pair may be shown


def utility_gain(pairs: Pairs) -> Array:
    """Expected utility (f, m) of the better one of each pair by its answer, minus that of the best favourite.

    After a tie it is the one of higher expected utility over all hypotheses. In prior s.d.s. Viappiani and Boutilier
    (2010), "Optimal Bayesian recommendation sets and myopically optimal choice query sets".
    """
    share = pairs.weight / pairs.scale
    ahead = jnp.einsum("h,hfm->fm", share, pairs.gap) >= 0
    lead = jnp.where(ahead[None], pairs.gap, -pairs.gap)
    ratio = (lead + pairs.width) / pairs.sd
    gain = jnp.where(ahead[None], pairs.gap, 0) + pairs.sd * norm.pdf(ratio) - lead * cdf(-ratio)
    return jnp.einsum("h,hfm->fm", share, pairs.utility[:, None, :] + gain) - jnp.max(pairs.total)


def mutual_information(pairs: Pairs) -> Array:
    """Mutual information (f, m) of the answer and theta with its hypothesis, in bits.

    The entropy of the answer minus its expected entropy given theta, where the entropy of a probit is approximated by
    a Gaussian bell, with the error rate as its floor. Houlsby et al. (2011), https://arxiv.org/abs/1112.5745, section
    3. With ties there is a bell at each end of their width, and the floor applies to the other answers alone. The
    height of the bells is fitted to the entropy halfway between them; at a width of 0 their sum is that of a probit.
    """
    answer, floor = _answer(pairs), _entropy(pairs.lapse, 1 - pairs.lapse)[:, None, None]
    spread, relative = pairs.sd**2 + _BELL_VARIANCE * pairs.noise**2, pairs.width / pairs.noise
    bells = (jnp.exp(-((pairs.gap + end) ** 2) / (2 * spread)) for end in (-pairs.width, pairs.width))
    height = 1 - jnp.exp(-_OVERLAP * relative) / 2 - floor / (2 * (1 + relative))
    given_theta = floor * (1 - answer.tie) + height * jnp.sqrt(_BELL_VARIANCE / spread) * pairs.noise * sum(bells)
    return jnp.maximum(_entropy(*_mean_answer(pairs, answer)) - _mean_of(pairs, given_theta), 0)


def hypothesis_information(pairs: Pairs) -> Array:
    """Mutual information (f, m) of the answer and the hypothesis alone, in bits: a part of `mutual_information`."""
    answer = _answer(pairs)
    return jnp.maximum(_entropy(*_mean_answer(pairs, answer)) - _mean_of(pairs, _entropy(*answer)), 0)


def mixed(pairs: Pairs) -> Array:
    """The gain of utility, the information, and a share of that on the hypothesis: (f, m).

    Each is relative to its largest value of the allowed pairs, but informations to no less than 1e-4 bits. A pair that
    is expected to be worse than the best favourite gains no utility.
    """
    utility = _relative(pairs, jnp.maximum(utility_gain(pairs), 0), _LEAST_UTILITY)
    information = _relative(pairs, mutual_information(pairs), _LEAST_INFORMATION)
    on_hypothesis = _relative(pairs, hypothesis_information(pairs), _LEAST_INFORMATION)
    return utility + information + _HYPOTHESIS_SHARE * on_hypothesis


ACQUISITIONS: dict[str, Callable[[Pairs], Array]] = {
    "mixed": mixed,
    "utility": utility_gain,
    "information": mutual_information,
}


def best_pair(
    acquisition: str,
    num_favourites: int,
    noise: Array | float,
    belief: Belief,
    x: Array,
    pool: Recourse,
    space: ActionSpace | None = None,
) -> tuple[Array, Array, Array]:
    """The pair of one of the favourites and one other member of the `pool` (m, d) with the highest acquisition value.

    The favourites are the `num_favourites` members of highest expected utility. `noise` is the s.d. of the noise of an
    answer, relative to the prior s.d. of the difference of utilities. Pairs that an answer is about are left out.
    Returns both recourses, (d,) and (d,), and the value of the acquisition, (), which is -inf where there is no such
    pair. The `space` is that of `belief.features`.
    """
    pairs, favourites = _pairs(num_favourites, noise, belief, x, pool, space)
    score = jnp.where(pairs.allowed, ACQUISITIONS[acquisition](pairs), -jnp.inf)
    first, second = jnp.unravel_index(jnp.argmax(score), score.shape)
    return pool.x[favourites[first]], pool.x[second], score[first, second]


def _allowed(belief: Belief, pool: Recourse, favourites: Array) -> Array:
    """Whether a favourite and a member are valid, differ, and have not been compared yet: (f, m) bool.

    As `elicit.base.is_compared`, but recourses that differ by less than `_SAME` are one.
    """
    shown = equal_rows(belief.pair.reshape(-1, pool.x.shape[1]), pool.x, _SAME)
    shown = jnp.any(shown.reshape(*belief.pair.shape[:2], -1), axis=1)  # (T, m)
    compared = jnp.any(shown[:, favourites, None] & shown[:, None, :], axis=0)
    valid = pool.valid[favourites, None] & pool.valid[None, :]
    return valid & ~equal_rows(pool.x[favourites], pool.x, _SAME) & ~compared


def best_set(
    key: Array,
    belief: Belief,
    x: Array,
    pool: Recourse,
    num: int,
    space: ActionSpace | None = None,
) -> Recourse:
    """The set of `num` recourses (num, d) of greatest expected maximum utility, chosen greedily.

    A recourse that adds nothing to those before it, or is invalid in the pool, has `valid=False`.
    """
    utility = _draw_utilities(key, belief, x, pool, space)

    def add(best: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        gain = jnp.mean(jnp.maximum(utility - best[:, None], 0), axis=0)
        gain = jnp.where(pool.valid, gain, -jnp.inf)
        at = jnp.argmax(gain)
        return jnp.maximum(best, utility[:, at]), (at, gain[at] > 0)

    _, (at, adds) = jax.lax.scan(add, jnp.min(utility, axis=1) - 1, length=num)
    return Recourse(pool.x[at], adds)


def utility_scales(belief: Belief, x: Array, pool: Recourse, space: ActionSpace | None = None) -> Array:
    """Prior s.d. (h,) of the utility of the pool's valid recourses about their mean, the largest of each kind."""
    return _scales(belief, features_of_points(belief.kinds, x, pool.x, space), pool.valid)


def _pairs(
    num_favourites: int,
    noise: Array | float,
    belief: Belief,
    x: Array,
    pool: Recourse,
    space: ActionSpace | None,
) -> tuple[Pairs, Array]:
    """The posterior of all pairs, and the favourites (f,) by index."""
    known, weight = features_of_points(belief.kinds, x, pool.x, space), weight_of(belief)
    scale = _scales(belief, known, pool.valid)

    def utility_of(kind: int, span: slice) -> Array:
        return expected_utility(known, kind, belief.mean[span])

    utility = belief.kinds.concatenated(utility_of)
    total = jnp.where(pool.valid, weight @ (utility / scale[:, None]), -jnp.inf)
    favourites = jax.lax.top_k(total, min(num_favourites, len(total)))[1]
    sd, prior_sd = (_pair_sd(belief.kinds, known, cov, favourites) for cov in (belief.cov, belief.prior.cov))
    pairs = Pairs(
        weight=weight,
        lapse=belief.manner.lapse,
        scale=scale,
        utility=utility,
        total=total,
        gap=utility[:, favourites, None] - utility[:, None, :],
        sd=sd,
        noise=noise * prior_sd,
        width=_tie_width(belief, known, utility, sd, favourites),
        allowed=_allowed(belief, pool, favourites),
    )
    return pairs, favourites


def _scales(belief: Belief, known: Features, valid: Array) -> Array:
    """As `utility_scales`, of a pool with the features `known`; `valid` (m,) says which of its recourses are."""
    share = valid.astype(known.c.dtype) / jnp.maximum(jnp.sum(valid), 1)

    def of_kind(kind: int, span: slice) -> Array:
        phi, prior = known.phi[kind], belief.prior.cov[span]
        centred = phi - (share @ phi)[None, :]
        moments = (share[:, None] * centred).T @ centred
        variance = jnp.max(jnp.sum(moments[None] * prior, axis=(1, 2)))
        return jnp.full(len(prior), jnp.sqrt(jnp.maximum(variance, _LEAST_VARIANCE)))

    return belief.kinds.concatenated(of_kind)


def _draw_utilities(key: Array, belief: Belief, x: Array, pool: Recourse, space: ActionSpace | None) -> Array:
    """Utilities (draws, m) of the pool's recourses under draws of theta from the posterior, in prior s.d.s."""
    known = features_of_points(belief.kinds, x, pool.x, space)
    key_which, key_theta = jax.random.split(key)
    which = jax.random.categorical(key_which, belief.log_weight, shape=(_NUM_DRAWS,))
    roots = jax.vmap(lambda cov: linalg.root(cov, jnp.ones(len(x), bool)))(belief.cov)
    normal = jax.random.normal(key_theta, (_NUM_DRAWS, len(x)), x.dtype)
    theta = belief.mean[which] + jnp.einsum("nde,ne->nd", roots[which], normal)
    utility = jnp.einsum("nd,kmd->knm", theta, known.phi) + known.c[:, None, :]
    utility = jnp.take_along_axis(utility, jnp.asarray(belief.kinds.index)[which][None, :, None], axis=0)[0]
    return utility / _scales(belief, known, pool.valid)[which, None]


def _pair_sd(kinds: Kinds, known: Features, cov: Array, favourites: Array) -> Array:
    """S.d. (h, f, m) of the difference of the utilities of the `favourites` (f,) and of all members."""

    def of_kind(kind: int, span: slice) -> Array:
        phi = known.phi[kind]
        own = quadratic_forms(cov[span], phi)
        cross = jnp.einsum("fd,nde,me->nfm", phi[favourites], cov[span], phi)
        return own[:, favourites, None] + own[:, None, :] - 2 * cross

    return jnp.sqrt(jnp.maximum(kinds.concatenated(of_kind), _LEAST_VARIANCE))


def _tie_width(belief: Belief, known: Features, utility: Array, sd: Array, favourites: Array) -> Array:
    """The width of ties (h, f, m) as a difference of utilities, of the `favourites` (f,) and of all members."""

    def of_kind(kind: int, span: slice) -> Array:
        phi = known.phi[kind]
        separation = jnp.sum((phi[favourites, None] - phi[None]) ** 2, axis=2)
        compared = Compared(utility[span][:, favourites, None], utility[span, None, :], sd[span] ** 2, separation)
        foci = foci_of(belief.kinds.distinct[kind], belief.mean[span], belief.cov[span], compared)
        return in_utilities(foci, belief.manner.width[span, None, None])

    return belief.kinds.concatenated(of_kind)


def _answer(pairs: Pairs) -> _Answer:
    """The probability of each answer under each hypothesis, leaves (h, f, m); an error exchanges the two recourses."""
    lapse, sd = pairs.lapse[:, None, None], jnp.sqrt(pairs.sd**2 + pairs.noise**2)
    above, below = (cdf((gap - pairs.width) / sd) for gap in (pairs.gap, -pairs.gap))
    untied, right = above + below, 1 - 2 * lapse
    tie = jnp.where(pairs.width > 0, jnp.maximum(1 - untied, 0), 0)
    return _Answer(lapse * untied + right * above, lapse * untied + right * below, tie)


def _mean_answer(pairs: Pairs, answer: _Answer) -> _Answer:
    """The mean (f, m) over the hypotheses of the probability of each answer."""
    return jax.tree.map(partial(_mean_of, pairs), answer)


def _mean_of(pairs: Pairs, value: Array) -> Array:
    """The mean (f, m) over the hypotheses of a `value` (h, f, m)."""
    return jnp.einsum("h,hfm->fm", pairs.weight, value)


def _relative(pairs: Pairs, gain: Array, least: float) -> Array:
    """A `gain` (f, m) relative to its largest value of the allowed pairs, or to the `least` one."""
    return gain / jnp.maximum(jnp.max(jnp.where(pairs.allowed, gain, 0)), least)


def _entropy(*probabilities: Array) -> Array:
    """Entropy of a variable with a few values, in bits."""
    return -reduce(operator.add, (xlogy(each, each) for each in probabilities)) / math.log(2)
