"""Which of a pool of recourses to ask about: the pair, or the set, that is expected to bring most."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import xlogy
from jax.scipy.stats import norm

from hare_jax.base import Recourse
from hare_jax.elicit.bayesian import posterior as beliefs
from hare_jax.elicit.bayesian.posterior import Belief

ACQUISITIONS = ("utility", "information")
_NUM_DRAWS = 256  # of people, to judge a set
_NODES, _SHARES = np.polynomial.hermite_e.hermegauss(9)  # to average over a normal


def best_pair(
    acquisition: str,
    num_favourites: int,
    noise: Array | float,
    belief: Belief,
    prior_cov: Array,
    x: Array,
    pool: Recourse,
) -> tuple[Array, Array, Array]:
    """The pair of one of the pool's favourites and one other that is expected to bring most.

    Returns both, (d,) and (d,), and what they are expected to bring, (): by "utility", how much better than the
    favourite the better of the two suits, in prior s.d.s of the utilities of the `pool` (m, d); by "information", what
    the answer tells about the person, in nats, if it stands on a difference of utilities with an s.d. of `noise` prior
    ones. It is -inf where there is no such pair.
    """
    (phi, c), scale = _pool_features(belief, prior_cov, x, pool)
    weight, (z, valid) = beliefs.weight(belief), pool
    utility = jnp.einsum("hmd,hd->hm", phi, belief.mean) + c
    total = jnp.where(valid, weight @ (utility / scale[:, None]), -jnp.inf)
    favourites = jax.lax.top_k(total, min(num_favourites, len(total)))[1]
    sd = _pair_sd(phi, belief.cov, favourites)
    gap = utility[:, favourites, None] - utility[:, None, :]
    if acquisition == "utility":
        better = utility[:, None, :] + gap * norm.cdf(gap / sd) + sd * norm.pdf(gap / sd)
        score = jnp.einsum("h,hfm->fm", weight / scale, better) - jnp.max(total)
    else:
        lapse = belief.lapse[:, None, None]
        doubt = noise * _pair_sd(phi, beliefs.by_hypothesis(belief, prior_cov), favourites)

        def entropy_at(node: Array) -> Array:
            """Of the answer of who is so many s.d.s off what is expected of them."""
            return _entropy(lapse + (1 - 2 * lapse) * norm.cdf((gap + node * sd) / doubt))

        nodes, shares = jnp.asarray(_NODES, x.dtype), jnp.asarray(_SHARES / _SHARES.sum(), x.dtype)
        known = jnp.tensordot(shares, jax.vmap(entropy_at)(nodes), axes=1)
        said = lapse + (1 - 2 * lapse) * norm.cdf(gap / jnp.sqrt(sd**2 + doubt**2))
        score = _entropy(jnp.einsum("h,hfm->fm", weight, said)) - jnp.einsum("h,hfm->fm", weight, known)
    differ = jnp.any(z[favourites, None, :] != z[None, :, :], axis=2)
    score = jnp.where(valid[favourites, None] & valid[None, :] & differ, score, -jnp.inf)
    first, second = jnp.unravel_index(jnp.argmax(score), score.shape)
    return z[favourites[first]], z[second], score[first, second]


def best_set(key: Array, belief: Belief, prior_cov: Array, x: Array, pool: Recourse, num: int) -> Recourse:
    """The set of `num` recourses (num, d) whose best is expected to suit best; the invalid ones would add nothing.

    Each is the one that raises the expected utility of the best of the set most, given those before it.
    """
    utility = _draw_utilities(key, belief, prior_cov, x, pool)

    def add(best: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        gain = jnp.mean(jnp.maximum(utility - best[:, None], 0), axis=0)
        gain = jnp.where(pool.valid, gain, -jnp.inf)
        at = jnp.argmax(gain)
        return jnp.maximum(best, utility[:, at]), (at, gain[at] > 0)

    _, (at, brings) = jax.lax.scan(add, jnp.min(utility, axis=1) - 1, length=num)
    return Recourse(pool.x[at], brings)


def utility_scales(prior_cov: Array, x: Array, pool: Recourse) -> Array:
    """Prior s.d. (2,) of the utility of the pool's recourses, to weigh what is in different units."""
    phi = jax.vmap(lambda z: beliefs.features(x, z)[0], out_axes=1)(pool.x)
    share = pool.valid.astype(x.dtype) / jnp.maximum(jnp.sum(pool.valid), 1)
    centred = phi - jnp.einsum("m,pmd->pd", share, phi)[:, None, :]
    variance = jnp.einsum("m,pmd,pde,pme->p", share, centred, prior_cov, centred)
    return jnp.sqrt(jnp.maximum(variance, 1e-12))


def _pool_features(belief: Belief, prior_cov: Array, x: Array, pool: Recourse) -> tuple[tuple[Array, Array], Array]:
    """For each hypothesis phi (h, m, d), c (h, m) and the scale of utilities (h,)."""
    phi, c = jax.vmap(lambda z: beliefs.features(x, z), out_axes=1)(pool.x)
    phi, c, scale = (beliefs.by_hypothesis(belief, leaf) for leaf in (phi, c, utility_scales(prior_cov, x, pool)))
    return (phi, c), scale


def _draw_utilities(key: Array, belief: Belief, prior_cov: Array, x: Array, pool: Recourse) -> Array:
    """Utilities (draws, m) of the pool's recourses to people drawn from the posterior, in prior s.d.s."""
    (phi, c), scale = _pool_features(belief, prior_cov, x, pool)
    key_which, key_theta = jax.random.split(key)
    which = jax.random.categorical(key_which, belief.evidence, shape=(_NUM_DRAWS,))
    roots = jax.vmap(lambda cov: beliefs.root(cov, jnp.ones(len(x), bool)))(belief.cov)
    normal = jax.random.normal(key_theta, (_NUM_DRAWS, len(x)), x.dtype)
    theta = belief.mean[which] + jnp.einsum("nde,ne->nd", roots[which], normal)
    utility = (jnp.einsum("hmd,nd->hnm", phi, theta) + c[:, None, :]) / scale[:, None, None]
    return jnp.take_along_axis(utility, which[None, :, None], axis=0)[0]


def _pair_sd(phi: Array, cov: Array, favourites: Array) -> Array:
    """S.d. (h, f, m) of the difference of the utilities of the `favourites` (f,) and of all others."""
    spread = jnp.einsum("hmd,hde->hme", phi, cov)
    own = jnp.einsum("hmd,hmd->hm", spread, phi)
    var = own[:, favourites, None] + own[:, None, :] - 2 * jnp.einsum("hfd,hmd->hfm", spread[:, favourites], phi)
    return jnp.sqrt(jnp.maximum(var, 1e-12))


def _entropy(chance: Array) -> Array:
    return -xlogy(chance, chance) - xlogy(1 - chance, 1 - chance)
