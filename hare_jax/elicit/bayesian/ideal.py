"""Draws of a hidden ideal from its posterior.

The Gaussians of `posterior` are cheap enough to choose questions, but have one mode each even where the error rate
makes the posterior multimodal. Here a draw is an allowed point, the likelihood of the answers is exact, with the error
rate integrated out, and the classifier is evaluated at each draw. The draws are those of `annealing`, from a mixture of
the prior and of the Gaussians, which are widened as they are too narrow where there are several modes.

Notation: a *target point* theta (d,) holds own values, and is normal around the factual a priori; the root mean square
of the L2 norm of its change is one of the reaches. The ideal is theta, with what follows it, projected onto the action
space.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, exact_products, pytree_dataclass
from hare_jax.elicit.bayesian.annealing import Path, Schedule, anneal
from hare_jax.elicit.bayesian.belief import Belief
from hare_jax.elicit.bayesian.losses import from_middle, in_utilities
from hare_jax.elicit.bayesian.manner import error_grid, log_likelihood, without_errors
from hare_jax.elicit.bayesian.posterior import ages, draw_mixture
from hare_jax.elicit.bayesian.propagation import TINY
from hare_jax.hyperparams import Count, Share
from hare_jax.solvers import linalg
from hare_jax.solvers.resampling import systematic
from hare_jax.space import ActionSpace, follow, own_values, project

_WIDENING = 3.0  # of the covariances of the elicitor's Gaussians, at the start
_LEAST_VARIANCE = 1e-5  # of a column, at the start
_SHARE_OF_PRIOR = 0.5  # of the first draws, whose number is rounded
_REFUSED = 10.0  # by which a refused point counts as farther from the boundary: ideals are accepted


@pytree_dataclass
class MonteCarlo:
    """Compute budget of the sampler, and its prior of the error rates."""

    num_draws: Count = 256
    num_temperatures: Count = 12
    num_moves: Count = 2  # slice moves of each draw at each temperature
    num_trials: Count = 4  # points tried in a move, until one lies on the slice
    rate_power: Share = 0.5  # power of the prior of error rates; 1 is that of the questions, which favours few errors


class Answers(NamedTuple):
    """T answers about an ideal."""

    plane: Array  # (T, d)
    offset: Array  # (T,)
    noise: Array  # (T,) variance
    width: Array  # () of ties, in losses
    middle: Array  # (T, d) halfway between both recourses
    tied: Array  # (T,) bool
    rates: Array  # (T, E) error rates
    log_prior: Array  # (E,) of each of them


class Mixture(NamedTuple):
    """A mixture of k normal distributions of target points."""

    log_share: Array  # (k,)
    mean: Array  # (k, d)
    root: Array  # (k, d, d) of the covariance
    whiten: Array  # (k, d, d) the inverse of that root


class Target(NamedTuple):
    """The posterior to sample from."""

    answers: Answers
    prior_sd: Array  # (r,) of a column of target points, for each of the reaches, which are equally probable
    near: Mixture  # the Gaussians of the elicitor, of own values and widened, where some of the draws start
    slack: Array  # () logits; how far from the decision boundary ideals are supposed to be. Infinite: anywhere
    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace


@exact_products
def target_of(
    belief: Belief, reaches: Array, slack: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, rate_power: float
) -> Target:
    """The posterior of the ideal after the answers of a session; the prior of rates is raised to the `rate_power`.

    Raises:
        ValueError: the posterior does not cover ideals.
    """
    answers = answers_of(belief, rate_power)
    prior_sd = reaches / jnp.sqrt(jnp.maximum(jnp.sum(space.mutable), 1).astype(x.dtype))
    return Target(answers, prior_sd, _near(belief, x, space), slack, logit_fn, x, space)


@exact_products
def draw_ideals(hp: MonteCarlo, key: Array, target: Target) -> Array:
    """Draws (n, d) of the ideal from the posterior given all answers."""
    key_first, key_steps = jax.random.split(key)
    path = Path(partial(_log_start, target), partial(_log_posterior, target), target.space.mutable)
    schedule = Schedule(hp.num_temperatures, hp.num_moves, hp.num_trials)
    points = anneal(key_steps, schedule, path, _first(target, key_first, hp.num_draws))
    return jax.vmap(partial(_ideal, target))(points)


def answers_of(belief: Belief, rate_power: Array | float) -> Answers:
    """The answers of a session, about ideals; the prior of error rates is raised to the `rate_power`.

    Raises:
        ValueError: the posterior does not cover ideals.
    """
    likely = belief.kinds.span("ideal")
    at = likely.start  # planes and offsets are the same for each reach, and noise almost
    best = jnp.argmax(belief.log_weight[likely])
    errors = error_grid(belief.grid, ages(belief), belief.tied, rate_power)
    return Answers(
        plane=belief.plane[at],
        offset=belief.offset[at],
        noise=belief.noise[likely][best],
        width=belief.manner.width[likely][best],
        middle=jnp.mean(belief.pair, axis=1),
        tied=belief.tied,
        rates=errors.rate,
        log_prior=errors.log_prior,
    )


def _near(belief: Belief, x: Array, space: ActionSpace) -> Mixture:
    """The Gaussians of the elicitor, of own values and widened."""
    of_ideals = belief.kinds.span("ideal")
    log_share = jax.nn.log_softmax(belief.log_weight[of_ideals])
    mean = jax.vmap(partial(own_values, space._replace(step=jnp.zeros_like(space.step)), x))(belief.mean[of_ideals])
    cov = _WIDENING * belief.cov[of_ideals] + _LEAST_VARIANCE * jnp.eye(mean.shape[1], dtype=mean.dtype)[None]
    root, whiten = (jax.vmap(of, in_axes=(0, None))(cov, space.mutable) for of in (linalg.root, linalg.whitening))
    return Mixture(log_share, mean, root, whiten)


def _first(target: Target, key: Array, num: int) -> Array:
    """Draws (num, d) of the start; columns vetoed since, in which its means may differ from the factual, are reset."""
    x, near, num_prior = target.x, target.near, round(_SHARE_OF_PRIOR * num)
    key_normal, key_order = jax.random.split(key)
    normal = jax.random.normal(key_normal, (num, len(x)), x.dtype)
    offset = jax.random.uniform(key_order, dtype=x.dtype)
    sd = target.prior_sd[systematic(offset, jnp.zeros_like(target.prior_sd), num_prior)]
    of_prior = x[None, :] + sd[:, None] * normal[:num_prior]
    of_near = draw_mixture(offset, near.log_share, near.mean, near.root, normal[num_prior:])
    return jnp.where(target.space.mutable[None, :], jnp.concatenate([of_prior, of_near]), x[None, :])


def _log_start(target: Target, points: Array) -> Array:
    """Log density (n,) of the `points` (n, d) where draws start, with the constant of `_log_prior`."""
    near, x = target.near, target.x
    white = jnp.einsum("kde,ne->nkd", near.whiten, points - x[None, :])
    white -= jnp.einsum("kde,ke->kd", near.whiten, near.mean - x[None, :])[None]
    pivots = jnp.diagonal(near.whiten, axis1=1, axis2=2)
    log_scale = near.log_share + jnp.sum(jnp.log(jnp.where(pivots > 0, pivots, 1)), axis=1)
    log_near = jax.nn.logsumexp(log_scale[None, :] - jnp.sum(white**2, axis=2) / 2, axis=1)
    log_share = math.log(1 - _SHARE_OF_PRIOR), math.log(_SHARE_OF_PRIOR)
    return jnp.logaddexp(log_share[0] + log_near, log_share[1] + _log_prior(target, points))


def _log_prior(target: Target, points: Array) -> Array:
    """Log density (n,) of target `points` (n, d) around the factual, up to a constant."""
    mutable, sd = target.space.mutable, target.prior_sd
    square = jnp.sum(jnp.where(mutable[None, :], points - target.x[None, :], 0) ** 2, axis=1)
    log_scale = -jnp.sum(mutable) * jnp.log(sd) - math.log(len(sd))
    return jax.nn.logsumexp(log_scale[None, :] - square[:, None] / (2 * sd**2)[None, :], axis=1)


def _log_posterior(target: Target, points: Array) -> Array:
    """Log posterior density (n,) of target `points` (n, d): prior, all answers, and the distance from the boundary.

    That is `logit / slack`, of which ideals have a Cauchy density: an ideal with another category may be deep inside.
    """
    ideals = jax.vmap(partial(_ideal, target))(points)
    depth = jnp.where(target.slack < jnp.inf, jax.vmap(target.logit_fn)(ideals) / target.slack, 0)
    at_boundary = -jnp.log1p(jnp.where(depth < 0, _REFUSED * depth, depth) ** 2)
    return _log_prior(target, points) + _of_answers(target.answers, ideals) + at_boundary


def _ideal(target: Target, point: Array) -> Array:
    """The ideal (d,) of a target `point` (d,)."""
    return project(target.space, target.x, follow(target.space, target.x, point))


def _of_answers(answers: Answers, ideals: Array) -> Array:
    """Log likelihood (n,) of all answers given each of the `ideals` (n, d), up to a constant."""
    sd = jnp.sqrt(answers.noise + TINY)[:, None]
    gap = answers.plane @ ideals.T + answers.offset[:, None]
    from_points, from_ideals = (jnp.sum(points**2, axis=1) for points in (answers.middle, ideals))
    middle = from_points[:, None] + from_ideals[None, :] - 2 * answers.middle @ ideals.T
    separation = jnp.sum(answers.plane**2, axis=1)[:, None]
    width = in_utilities(from_middle(separation, middle, gap**2), answers.width)
    probability = without_errors(gap, sd, width, answers.tied[:, None])  # (T, n)
    told = jnp.any(answers.plane != 0, axis=1)
    log_p = log_likelihood(answers.rates[:, :, None], probability[:, None, :], told)
    return jax.nn.logsumexp(answers.log_prior[:, None] + log_p, axis=0)
