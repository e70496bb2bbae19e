"""The posterior as a pytree: h hypotheses, each with a Gaussian, and what has been answered; see `posterior`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logit

from hare_jax.base import choose
from hare_jax.elicit.bayesian import manner
from hare_jax.elicit.bayesian.losses import Foci
from hare_jax.elicit.bayesian.manner import Grid, Manner
from hare_jax.elicit.bayesian.propagation import Plane
from hare_jax.people import PERSONS, in_space
from hare_jax.people.base import Prior
from hare_jax.space import ActionSpace


@jax.tree_util.register_static
@dataclass(frozen=True)
class Kinds:
    """The kind of person of each hypothesis, rows of `PERSONS`, those of one kind side by side: a static leaf."""

    names: tuple[str, ...]

    @property
    def distinct(self) -> tuple[str, ...]:
        """Each kind once."""
        return tuple(dict.fromkeys(self.names))

    @property
    def index(self) -> np.ndarray:
        """Which of the distinct kinds each hypothesis is of: (h,) int."""
        return np.array([self.distinct.index(name) for name in self.names])

    def span(self, kind: str) -> slice:
        """The hypotheses of a `kind`.

        Raises:
            ValueError: the posterior does not cover it.
        """
        choose("kind", kind, self.names)
        first = self.names.index(kind)
        return slice(first, first + self.names.count(kind))

    def concatenated(self, of_kind: Callable[[int, slice], Any]) -> Any:
        """A pytree of all hypotheses (h, ...) from those of each kind, by its number and the span of its hypotheses."""
        parts = [of_kind(number, self.span(kind)) for number, kind in enumerate(self.distinct)]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


class Features(NamedTuple):
    """The coefficients of the utility `phi . theta + c` of a recourse, for each of k kinds of persons."""

    phi: Array  # (k, d), or (k, m, d) of m recourses
    c: Array  # (k,) or (k, m)


class Belief(NamedTuple):
    """The posterior under h hypotheses after at most T answers."""

    kinds: Kinds
    prior: Prior  # (h, ...)
    grid: Grid
    mean: Array  # (h, d) of theta
    cov: Array  # (h, d, d)
    log_weight: Array  # (h,) log of prior probability times marginal likelihood, if answers are no coin tosses
    log_coins: Array  # () log of prior odds of coin tosses times their likelihood
    manner: Manner  # (h,)
    boundary: Plane  # (h, ...) near the recommendation, for target points
    plane: Array  # (h, T, d) phi(a) - phi(b) of each answer "a rather than b"; zeros where there is none yet
    offset: Array  # (h, T) c(a) - c(b)
    noise: Array  # (h, T) variance
    foci: Foci  # (h, T) the recourses of each answer
    pair: Array  # (T, 2, d) the recourses a and b of each answer
    tied: Array  # (T,) bool: the answer is a tie
    precision: Array  # (h, T) of each answer's Gaussian site, along its plane
    shift: Array  # (h, T) that precision times the site's mean
    num_told: Array  # () int: answers so far


def features(kinds: Kinds, x: Array, z: Array, space: ActionSpace | None = None) -> tuple[Array, Array]:
    """Return phi (h, d) and c (h,) of the recourse `z` (d,) for the factual `x` (d,), for each hypothesis.

    In a `space` with relations they are those of own changes for the kinds that weigh them (`people.in_space`).
    """
    phi, c = features_by_kind(kinds, x, z, space)
    return phi[kinds.index], c[kinds.index]


def features_by_kind(kinds: Kinds, x: Array, z: Array, space: ActionSpace | None = None) -> Features:
    """The features of the recourse `z` (d,) for each of the distinct kinds; see `features`."""
    persons = [PERSONS[kind] for kind in kinds.distinct]
    rows = [in_space(person, person.features, space)(x, z) for person in persons]  # type: ignore
    return Features(*(jnp.stack(leaves) for leaves in zip(*rows, strict=True)))


def features_of_points(kinds: Kinds, x: Array, points: Array, space: ActionSpace | None = None) -> Features:
    """The features of each of the recourses `points` (m, d) for each of the distinct kinds; see `features`."""
    return jax.vmap(lambda z: features_by_kind(kinds, x, z, space), out_axes=1)(points)


def init(
    kinds: Kinds, prior: Prior, log_prior: Array, grid: Grid, num_answers: int, coins: Array | float = 0.0
) -> Belief:
    """Posterior before any answer, from the `prior` (h, ...) and the `log_prior` (h,) of each hypothesis.

    `coins` is the prior probability that all answers are coin tosses.
    """
    num, width = prior.mean.shape
    dtype = prior.mean.dtype
    none, zero = jnp.zeros((num, num_answers), dtype), jnp.zeros(num, dtype)
    return Belief(
        kinds=kinds,
        prior=prior,
        grid=grid,
        mean=prior.mean,
        cov=prior.cov,
        log_weight=log_prior,
        log_coins=logit(jnp.asarray(coins, dtype)),
        manner=jax.tree.map(lambda leaf: jnp.full(num, leaf, dtype), manner.prior_mean(grid)),
        boundary=Plane(jnp.zeros_like(prior.mean), zero, zero),
        plane=jnp.zeros((num, num_answers, width), dtype),
        offset=none,
        noise=none,
        foci=Foci(none, none),
        pair=jnp.zeros((num_answers, 2, width), dtype),
        tied=jnp.zeros(num_answers, bool),
        precision=none,
        shift=none,
        num_told=jnp.zeros((), jnp.int32),
    )


def weight(belief: Belief) -> Array:
    """Posterior probability (h,) of each hypothesis."""
    return jax.nn.softmax(belief.log_weight)


def by_coins(belief: Belief) -> Array:
    """Posterior probability () that all answers are coin tosses, and say nothing."""
    return jax.nn.sigmoid(belief.log_coins - jax.nn.logsumexp(belief.log_weight))


def expected_utility(known: Features, kind: int, mean: Array) -> Array:
    """Expected utility (n,) or (n, m) of the recourses with the features `known`.

    The hypotheses (n,) of the `kind` with this number have the `mean` (n, d).
    """
    return mean @ known.phi[kind].T + known.c[kind][None]
