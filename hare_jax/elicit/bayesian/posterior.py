"""Posterior of the hidden parameters of a person, given answers: a mixture of Gaussians, by expectation propagation.

Notation: theta (d,) are the hidden parameters. The utility of a recourse z is linear in them,
`u(z) = phi(z) . theta + c(z)`, with `phi` and `c` from `Person.features` of each kind of person. "a rather than b" has
the likelihood `lapse + (1 - 2 lapse) Phi((u(a) - u(b)) / noise)`, a probit with lapse rate `lapse`; a tie says that the
difference is 0 with a normal error of s.d. `noise`. A *hypothesis* is one of the k kinds with one of the L lapse rates;
there are h = k L of them, kind by kind. Each has a Gaussian over theta (`propagation`), and its probability is its
prior probability times the marginal likelihood of the answers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import choose
from hare_jax.elicit.bayesian.propagation import Site, sweep, update_site
from hare_jax.people import PERSONS, in_space
from hare_jax.solvers import linalg
from hare_jax.space import ActionSpace


@jax.tree_util.register_static
@dataclass(frozen=True)
class Kinds:
    """The kinds of persons that a posterior covers, rows of `PERSONS`: a static leaf."""

    names: tuple[str, ...]

    def index(self, kind: str) -> int:
        """The position of a `kind`.

        Raises:
            ValueError: the posterior does not cover it.
        """
        choose("kind", kind, self.names)
        return self.names.index(kind)


class Gaussian(NamedTuple):
    """Mean and covariance of theta, for one kind or, with a leading axis, for several."""

    mean: Array  # (d,)
    cov: Array  # (d, d)


class Belief(NamedTuple):
    """The posterior under h hypotheses after at most T answers."""

    kinds: Kinds
    mean: Array  # (h, d) of theta
    cov: Array  # (h, d, d)
    log_weight: Array  # (h,) log of prior probability times marginal likelihood, up to a constant
    lapse: Array  # (h,)
    plane: Array  # (h, T, d) phi(a) - phi(b) of each answer "a rather than b"; zeros where there is none yet
    offset: Array  # (h, T) c(a) - c(b)
    noise: Array  # (h, T) variance
    tied: Array  # (T,) bool: the answer is a tie
    precision: Array  # (h, T) of each answer's Gaussian site, along its plane
    shift: Array  # (h, T) that precision times the site's mean
    num_told: Array  # () int: answers so far

    @property
    def num_lapses(self) -> int:
        """L, the number of hypotheses for each kind."""
        return self.lapse.shape[0] // len(self.kinds.names)


_SHARED = ("kinds", "tied", "num_told")  # fields without a leading axis of hypotheses


def features(kinds: Kinds, x: Array, z: Array, space: ActionSpace | None = None) -> tuple[Array, Array]:
    """Return phi (k, d) and c (k,) of the recourse `z` (d,) for the factual `x` (d,), for each kind.

    In a `space` with relations they are those of own changes for the kinds that weigh them (`people.in_space`).
    """
    persons = [PERSONS[kind] for kind in kinds.names]
    phi, c = zip(*(in_space(person, person.features, space)(x, z) for person in persons), strict=True)  # type: ignore
    return jnp.stack(phi), jnp.stack(c)


def init(kinds: Kinds, prior: Gaussian, log_prior: Array, lapses: tuple[float, ...], num_answers: int) -> Belief:
    """Posterior before any answer, from the `prior` ((k, d), (k, d, d)) and the `log_prior` (k,) of each kind."""
    mean, cov, log_weight = (jnp.repeat(leaf, len(lapses), axis=0) for leaf in (*prior, log_prior))
    lapse = jnp.tile(jnp.array(lapses, mean.dtype), len(kinds.names))
    none = jnp.zeros((len(mean), num_answers), mean.dtype)
    return Belief(
        kinds=kinds,
        mean=mean,
        cov=cov,
        log_weight=log_weight,
        lapse=lapse,
        plane=jnp.zeros((*none.shape, mean.shape[1]), mean.dtype),
        offset=none,
        noise=none,
        tied=jnp.zeros(num_answers, bool),
        precision=none,
        shift=none,
        num_told=jnp.zeros((), jnp.int32),
    )


def weight(belief: Belief) -> Array:
    """Posterior probability (h,) of each hypothesis."""
    return jax.nn.softmax(belief.log_weight)


def by_hypothesis(belief: Belief, leaf: Array) -> Array:
    """Repeat an array with one entry for each kind, (k, ...), for all hypotheses: (h, ...)."""
    return jnp.repeat(leaf, belief.num_lapses, axis=0)


def of_kind(belief: Belief, kind: str) -> Belief:
    """The posterior given that the person is of a `kind`: its L hypotheses alone.

    Raises:
        ValueError: the posterior does not cover that kind.
    """
    first = belief.kinds.index(kind) * belief.num_lapses
    hypotheses = slice(first, first + belief.num_lapses)
    parts = {name: getattr(belief, name)[hypotheses] for name in Belief._fields if name not in _SHARED}
    return belief._replace(kinds=Kinds((kind,)), **parts)


def update(
    belief: Belief,
    x: Array,
    a: Array,
    b: Array,
    noise: Array,
    num_sweeps: int = 1,
    tied: Array | bool = False,
    space: ActionSpace | None = None,
) -> Belief:
    """Condition on the answer that `a` (d,) is preferred to `b` (d,) for the factual `x` (d,), or that they are `tied`.

    `noise` (k,) is the s.d. of the noise of the difference of utilities. After the new site, `num_sweeps` update all
    sites again. Answers beyond the T that there is room for are ignored. `space` is that of `features`.
    """
    (phi_a, c_a), (phi_b, c_b) = (features(belief.kinds, x, z, space) for z in (a, b))
    at = belief.num_told
    told = belief._replace(
        plane=belief.plane.at[:, at].set(by_hypothesis(belief, phi_a - phi_b)),
        offset=belief.offset.at[:, at].set(by_hypothesis(belief, c_a - c_b)),
        noise=belief.noise.at[:, at].set(by_hypothesis(belief, noise**2)),
        tied=belief.tied.at[at].set(tied),
        num_told=at + 1,
    )
    new = jax.lax.fori_loop(0, num_sweeps, lambda _, belief: _sweep(belief), _add_site(told, at))
    return jax.tree.map(lambda new, old: jnp.where(at < belief.offset.shape[1], new, old), new, belief)


def utilities(belief: Belief, x: Array, z: Array, space: ActionSpace | None = None) -> Array:
    """Expected utility (h,) of `z` (d,) for the factual `x` (d,), up to a constant of each hypothesis."""
    phi, c = (by_hypothesis(belief, leaf) for leaf in features(belief.kinds, x, z, space))
    return jnp.sum(phi * belief.mean, axis=1) + c


def clip_kind(kind: str, theta: Array) -> Array:
    """Move `theta` (..., d) into the support of a `kind`, where it has one (`Person.clip`)."""
    clip = PERSONS[kind].clip
    return theta if clip is None else clip(theta)


def clipped(belief: Belief) -> Belief:
    """The posterior with the mean of each hypothesis moved into the support of its kind."""
    names = belief.kinds.names
    means = jnp.split(belief.mean, len(names))
    clipped_means = [clip_kind(kind, mean) for kind, mean in zip(names, means, strict=True)]
    return belief._replace(mean=jnp.concatenate(clipped_means))


def draw_hidden(belief: Belief, mutable: Array, normal: dict[str, Array]) -> dict[str, Array]:
    """Draws (n, d) of theta of some kinds, each from its most probable hypothesis, from standard `normal` draws (n, d).

    Only the `mutable` (d,) columns vary.
    """
    parts = [of_kind(belief, kind) for kind in normal]
    likeliest = [jnp.argmax(part.log_weight) for part in parts]
    mean = jnp.stack([part.mean[at] for part, at in zip(parts, likeliest, strict=True)])
    cov = jnp.stack([part.cov[at] for part, at in zip(parts, likeliest, strict=True)])
    roots = jax.vmap(linalg.root, in_axes=(0, None))(cov, mutable)
    return {kind: mean[at][None, :] + draws @ roots[at].T for at, (kind, draws) in enumerate(normal.items())}


def _sites(belief: Belief) -> Site:
    """The sites of all answers: leaves (h, T, ...)."""
    tied = jnp.broadcast_to(belief.tied[None, :], belief.offset.shape)
    return Site(belief.plane, belief.offset, belief.noise, tied, belief.precision, belief.shift)


def _add_site(belief: Belief, at: Array) -> Belief:
    """Fit the site of answer number `at`, and multiply the hypotheses' weights by its marginal likelihood."""
    site = jax.tree.map(lambda leaf: leaf[:, at], _sites(belief))
    mean, cov, fit = jax.vmap(update_site)(belief.mean, belief.cov, belief.lapse, site)
    return belief._replace(
        mean=mean,
        cov=cov,
        log_weight=belief.log_weight + fit.log_likelihood,
        precision=belief.precision.at[:, at].set(fit.precision),
        shift=belief.shift.at[:, at].set(fit.shift),
    )


def _sweep(belief: Belief) -> Belief:
    """Update the sites of all answers once."""
    mean, cov, sites = jax.vmap(sweep)(belief.mean, belief.cov, belief.lapse, _sites(belief))
    return belief._replace(mean=mean, cov=cov, precision=sites.precision, shift=sites.shift)
