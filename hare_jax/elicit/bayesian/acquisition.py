"""Acquisition functions: the pair, or the set, of recourses from a pool that is expected to be most useful to show.

Notation: h hypotheses (see `posterior`), m recourses in the pool, f favourites among them. Utilities of a hypothesis
are divided by the prior s.d. of the utility in the pool (`scale`), because kinds of persons have different units.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import xlogy
from jax.scipy.stats import norm

from hare_jax.base import Recourse
from hare_jax.elicit.bayesian import posterior
from hare_jax.elicit.bayesian.posterior import Belief, Kinds
from hare_jax.solvers import linalg
from hare_jax.space import ActionSpace

_NUM_DRAWS = 256  # of theta, to evaluate a set
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)  # quadrature for a standard normal
_LEAST_VARIANCE = 1e-12


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


def expected_utility(pairs: Pairs) -> Array:
    """Expected utility (f, m) of the better one of each pair, minus that of the best favourite, in prior s.d.s.

    Viappiani and Boutilier (2010), "Optimal Bayesian recommendation sets and myopically optimal choice query sets".
    """
    ratio = pairs.gap / pairs.sd
    better = pairs.utility[:, None, :] + pairs.gap * norm.cdf(ratio) + pairs.sd * norm.pdf(ratio)
    return jnp.einsum("h,hfm->fm", pairs.weight / pairs.scale, better) - jnp.max(pairs.total)


def mutual_information(pairs: Pairs) -> Array:
    """Mutual information (f, m) of the answer and theta with its hypothesis, in nats.

    The entropy of the answer minus its expected entropy given theta. Houlsby et al. (2011),
    https://arxiv.org/abs/1112.5745.
    """
    lapse = pairs.lapse[:, None, None]

    def entropy_at(node: Array) -> Array:
        """Answer entropy (h, f, m) where the utility gap lies `node` s.d.s from its mean."""
        return _entropy(_with_lapses(lapse, (pairs.gap + node * pairs.sd) / pairs.noise))

    dtype = pairs.gap.dtype
    nodes, shares = jnp.asarray(_NODES, dtype), jnp.asarray(_NODE_WEIGHTS / _NODE_WEIGHTS.sum(), dtype)
    given_theta = jnp.tensordot(shares, jax.vmap(entropy_at)(nodes), axes=1)
    answer = _with_lapses(lapse, pairs.gap / jnp.sqrt(pairs.sd**2 + pairs.noise**2))
    mean = jnp.einsum("h,hfm->fm", pairs.weight, answer)
    return _entropy(mean) - jnp.einsum("h,hfm->fm", pairs.weight, given_theta)


def approximate_information(pairs: Pairs) -> Array:
    """Mutual information (f, m), in bits, with the approximation of the expected entropy of Houlsby et al. (2011)."""
    lapse = pairs.lapse[:, None, None]
    m, s2 = pairs.gap / pairs.noise, (pairs.sd / pairs.noise) ** 2
    spread = s2 + _C2
    floor = _entropy(lapse) / np.log(2)
    given_theta = floor + (1 - floor) * jnp.sqrt(_C2 / spread) * jnp.exp(-(m**2) / (2 * spread))
    mean = jnp.einsum("h,hfm->fm", pairs.weight, _with_lapses(lapse, m / jnp.sqrt(s2 + 1)))
    return _entropy(mean) / np.log(2) - jnp.einsum("h,hfm->fm", pairs.weight, given_theta)


_C2 = np.pi * np.log(2) / 2

ACQUISITIONS: dict[str, Callable[[Pairs], Array]] = {
    "utility": expected_utility,
    "information": mutual_information,
    "both": mutual_information,
}


def best_pair(
    acquisition: str,
    num_favourites: int,
    noise: Array | float,
    told: Array,
    num_told: Array,
    info_weight: float,
    belief: Belief,
    prior_cov: Array,
    x: Array,
    pool: Recourse,
    space: ActionSpace | None = None,
) -> tuple[Array, Array, Array]:
    """The pair of one of the favourites and one other member of the `pool` (m, d) with the highest acquisition value.

    The favourites are the `num_favourites` members of highest expected utility. `noise` is the s.d. of the noise of an
    answer, relative to the prior s.d. of the difference of utilities under `prior_cov` (k, d, d). Returns both
    recourses, (d,) and (d,), and the value of the acquisition, (), which is -inf where there is no such pair. The
    `space` is that of `posterior.features`.
    """
    pairs, favourites = _pairs(num_favourites, noise, belief, prior_cov, x, pool, space)
    if acquisition == "both":
        eus, info = expected_utility(pairs), approximate_information(pairs)
        score = (eus - eus.min()) / (jnp.max(eus) - eus.min() + 1e-9) + info_weight * info / (jnp.max(info) + 1e-9)
    else:
        score = ACQUISITIONS[acquisition](pairs)
    asked_before = jnp.arange(len(told)) < num_told
    first_is, second_is = (
        (jnp.all(pool.x[:, None, :] == told[None, :, side], axis=2) & asked_before).astype(x.dtype) for side in (0, 1)
    )
    repeated = (first_is[favourites] @ second_is.T + second_is[favourites] @ first_is.T) > 0
    differ = ~repeated &  jnp.any(pool.x[favourites, None, :] != pool.x[None, :, :], axis=2)
    score = jnp.where(pool.valid[favourites, None] & pool.valid[None, :] & differ, score, -jnp.inf)
    first, second = jnp.unravel_index(jnp.argmax(score), score.shape)
    return pool.x[favourites[first]], pool.x[second], score[first, second]


def best_set(
    key: Array,
    belief: Belief,
    prior_cov: Array,
    x: Array,
    pool: Recourse,
    num: int,
    space: ActionSpace | None = None,
) -> Recourse:
    """The set of `num` recourses (num, d) of greatest expected maximum utility, chosen greedily.

    A recourse that adds nothing to those before it, or is invalid in the pool, has `valid=False`.
    """
    utility = _draw_utilities(key, belief, prior_cov, x, pool, space)

    def add(best: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        gain = jnp.mean(jnp.maximum(utility - best[:, None], 0), axis=0)
        gain = jnp.where(pool.valid, gain, -jnp.inf)
        at = jnp.argmax(gain)
        return jnp.maximum(best, utility[:, at]), (at, gain[at] > 0)

    _, (at, adds) = jax.lax.scan(add, jnp.min(utility, axis=1) - 1, length=num)
    return Recourse(pool.x[at], adds)


def utility_scales(kinds: Kinds, prior_cov: Array, x: Array, pool: Recourse, space: ActionSpace | None = None) -> Array:
    """Prior s.d. (k,) of the utility of the pool's valid recourses about their mean, for each kind."""
    phi = jax.vmap(lambda z: posterior.features(kinds, x, z, space)[0], out_axes=1)(pool.x)
    share = pool.valid.astype(x.dtype) / jnp.maximum(jnp.sum(pool.valid), 1)
    centred = phi - jnp.einsum("m,pmd->pd", share, phi)[:, None, :]
    variance = jnp.einsum("m,pmd,pde,pme->p", share, centred, prior_cov, centred)
    scale = jnp.sqrt(jnp.maximum(variance, _LEAST_VARIANCE))
    spans = [kinds.span(kind) for kind in dict.fromkeys(kinds.names)]
    return jnp.concatenate([jnp.full(stop - start, jnp.max(scale[start:stop])) for start, stop in spans])


def _pairs(
    num_favourites: int,
    noise: Array | float,
    belief: Belief,
    prior_cov: Array,
    x: Array,
    pool: Recourse,
    space: ActionSpace | None,
) -> tuple[Pairs, Array]:
    """The posterior of all pairs, and the favourites (f,) by index."""
    phi, c, scale = _pool_features(belief, prior_cov, x, pool, space)
    weight = posterior.weight(belief)
    utility = jnp.einsum("hmd,hd->hm", phi, belief.mean) + c
    total = jnp.where(pool.valid, weight @ (utility / scale[:, None]), -jnp.inf)
    favourites = jax.lax.top_k(total, min(num_favourites, len(total)))[1]
    prior_sd = _pair_sd(phi, posterior.by_hypothesis(belief, prior_cov), favourites)
    pairs = Pairs(
        weight=weight,
        lapse=belief.lapse,
        scale=scale,
        utility=utility,
        total=total,
        gap=utility[:, favourites, None] - utility[:, None, :],
        sd=_pair_sd(phi, belief.cov, favourites),
        noise=noise * prior_sd,
    )
    return pairs, favourites


def _pool_features(
    belief: Belief, prior_cov: Array, x: Array, pool: Recourse, space: ActionSpace | None
) -> tuple[Array, Array, Array]:
    """For each hypothesis phi (h, m, d), c (h, m) and the scale of utilities (h,)."""
    phi, c = jax.vmap(lambda z: posterior.features(belief.kinds, x, z, space), out_axes=1)(pool.x)
    scale = utility_scales(belief.kinds, prior_cov, x, pool, space)
    phi, c, scale = (posterior.by_hypothesis(belief, leaf) for leaf in (phi, c, scale))
    return phi, c, scale


def _draw_utilities(
    key: Array, belief: Belief, prior_cov: Array, x: Array, pool: Recourse, space: ActionSpace | None
) -> Array:
    """Utilities (draws, m) of the pool's recourses under draws of theta from the posterior, in prior s.d.s."""
    phi, c, scale = _pool_features(belief, prior_cov, x, pool, space)
    key_which, key_theta = jax.random.split(key)
    which = jax.random.categorical(key_which, belief.log_weight, shape=(_NUM_DRAWS,))
    roots = jax.vmap(lambda cov: linalg.root(cov, jnp.ones(len(x), bool)))(belief.cov)
    normal = jax.random.normal(key_theta, (_NUM_DRAWS, len(x)), x.dtype)
    theta = belief.mean[which] + jnp.einsum("nde,ne->nd", roots[which], normal)
    utility = (jnp.einsum("hmd,nd->hnm", phi, theta) + c[:, None, :]) / scale[:, None, None]
    return jnp.take_along_axis(utility, which[None, :, None], axis=0)[0]


def _pair_sd(phi: Array, cov: Array, favourites: Array) -> Array:
    """S.d. (h, f, m) of the difference of the utilities of the `favourites` (f,) and of all members."""
    spread = jnp.einsum("hmd,hde->hme", phi, cov)
    own = jnp.einsum("hmd,hmd->hm", spread, phi)
    cross = jnp.einsum("hfd,hmd->hfm", spread[:, favourites], phi)
    variance = own[:, favourites, None] + own[:, None, :] - 2 * cross
    return jnp.sqrt(jnp.maximum(variance, _LEAST_VARIANCE))


def _with_lapses(lapse: Array, t: Array) -> Array:
    """Probability of the answer that the first is preferred: a probit with lapses."""
    return lapse + (1 - 2 * lapse) * norm.cdf(t)


def _entropy(probability: Array) -> Array:
    """Entropy of a Bernoulli variable, in nats."""
    return -xlogy(probability, probability) - xlogy(1 - probability, 1 - probability)
