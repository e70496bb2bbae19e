"""Recourses that are good under the posterior: the recommendation, and the parts of the pool that follow each answer.

One batched local search serves the expected utility, for the recommendation, and utilities drawn from the posterior;
each row of it starts from the best recourse known for its utility.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.elicit import pool
from hare_jax.elicit.answers import in_ranges
from hare_jax.elicit.bayesian import uphill
from hare_jax.elicit.bayesian.acquisition import utility_scales
from hare_jax.elicit.bayesian.belief import Kinds, by_coins, features_by_kind, features_of_points, weight
from hare_jax.elicit.bayesian.posterior import clip_kind, clipped, draw_hidden, not_better, on_boundary
from hare_jax.elicit.bayesian.reductions import equal_rows
from hare_jax.elicit.bayesian.state import Bayes, State, hypotheses
from hare_jax.elicit.pool import Pool
from hare_jax.people import PERSONS
from hare_jax.solvers.directions import uniform_moves
from hare_jax.solvers.host import calls_host
from hare_jax.solvers.local_search import local_search
from hare_jax.space import ActionSpace, project

_DEEP = 0.1  # distance beyond the boundary from which on a recourse says little about where it lies
_PROBABLE = 0.5  # least probability that answers are coin tosses, for the base to be recommended
_UNKNOWN_VARIANCE = 1.0  # of the boundary before the first answer


class _Utility(NamedTuple):
    """The utility `sum_k (phi_k(z) . slope_k + share_k c_k(z))` over k kinds of persons."""

    slope: Array  # (k, d) each theta of the kind times its share, summed
    share: Array  # (k,) summed, too


def draw(hp: Bayes, key: Array, logit_fn: LogitFn, x: Array, base: Recourse, space: ActionSpace) -> Recourse:
    """Recourses (num_pool, d) for target points in uniform directions: those of `pool.draw`, or nearer ones uphill."""
    distance = pool.distances(hp.num_pool, hp.reaches)
    drawn = pool.draw(key, logit_fn, x, base, space, distance, hp.margin)
    if not _has_gradient(hp, logit_fn, x):
        return drawn
    moves = uniform_moves(key, distance.astype(x.dtype), space)  # those that `pool.draw` draws
    targets = jax.vmap(lambda move: project(space, x, x + move))(moves)
    return uphill.nearer(targets, drawn, uphill.recourses(logit_fn, x, targets, space, hp.margin))


def first_pool(hp: Bayes, kinds: Kinds, base: Recourse, drawn: Recourse) -> Pool:
    """The pool before the first answer, which recommends the base, or if that is not valid the first valid one."""
    targeted, searched = by_target(kinds)
    first = jnp.argmax(drawn.valid)
    best = Recourse(jnp.where(base.valid, base.x, drawn.x[first]), base.valid | drawn.valid[first])
    return pool.start(base, best, drawn, hp.num_local * len(targeted), hp.num_cheap * len(searched))


def search(hp: Bayes, state: State, key: Array) -> State:
    """Recommend, and draw the other parts of the pool again, from the posterior.

    The recommendation is the known recourse of highest expected utility whose probability of being no better than the
    base is at most `hp.most_harm`, improved by a local search if what that finds is so, too. The base counts as such,
    and alone where the answers are probably coin tosses; if it is not valid, all recourses do.
    """
    targeted, searched = by_target(state.belief.kinds)
    counts = [hp.num_local] * len(targeted) + [hp.num_cheap] * len(searched)
    key_draws, key_search = jax.random.split(key)
    normal = jax.random.normal(key_draws, (sum(counts), len(state.x)), state.x.dtype)
    parts = jnp.split(normal, np.cumsum(counts)[:-1])
    theta = draw_hidden(state.belief, state.space.mutable, dict(zip(targeted + searched, parts, strict=True)))
    best, cheap = _of_high_utility(hp, state, key_search, {kind: theta[kind] for kind in searched})
    local = _near_targets(hp, state, {kind: theta[kind] for kind in targeted})
    return state._replace(pool=state.pool._replace(best=best, local=local, cheap=cheap))


def at_boundary(hp: Bayes, state: State) -> State:
    """Update the posterior's site of the decision boundary, linearised at the recommendation.

    Its level is the mean, and its variance that, of recourses near draws of the target point along the classifier's
    gradient, plus the square of `hp.thickness`. Recourses that are accepted by more than the gradient times a tenth
    weigh less. A classifier on the host has no gradient, and no site.
    """
    if not _has_gradient(hp, state.logit_fn, state.x):
        return state
    best, local = state.best, state.pool.local
    slope = jax.grad(state.logit_fn)(best.x)
    slope = jnp.where(state.space.mutable & jnp.isfinite(slope), slope, 0)
    steepness = jnp.sqrt(jnp.sum(slope**2))
    normal = slope / jnp.where(steepness > 0, steepness, 1)
    depth = jnp.maximum(jax.vmap(state.logit_fn)(local.x), 0) / jnp.where(steepness > 0, steepness, 1)
    near = jnp.where(local.valid, jnp.exp(-depth / _DEEP), 0)
    away = jnp.sum((local.x - best.x[None, :]) * normal[None, :], axis=1)
    total = jnp.sum(near) + 1  # the recommendation itself counts, too
    mean = jnp.sum(near * away) / total
    spread = jnp.where(jnp.any(local.valid), jnp.sum(near * (away - mean) ** 2) / total, _UNKNOWN_VARIANCE)
    on = [(reach >= hp.least_on_boundary) & (PERSONS[kind].target is not None) for kind, reach in hypotheses(hp)]
    applies = jnp.stack([jnp.asarray(each) for each in on]) & (steepness > 0) & best.valid
    level = jnp.sum(normal * best.x) + mean
    belief = on_boundary(state.belief, normal, level, spread + hp.thickness**2, applies)
    slack = jnp.where((steepness > 0) & best.valid, steepness * hp.thickness, jnp.inf)
    return state._replace(belief=belief, slack=slack)


def by_target(kinds: Kinds) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kinds with a target point in closed form (`Person.target`), and those without, which need a search."""
    names = kinds.distinct
    targeted = tuple(kind for kind in names if PERSONS[kind].target is not None)
    return targeted, tuple(kind for kind in names if kind not in targeted)


def _near_targets(hp: Bayes, state: State, theta: dict[str, Array]) -> Recourse:
    """Recourses near the target points of draws of `theta` (n, d), by kind."""
    if not theta:
        return state.pool.local
    targets = jnp.concatenate([jax.vmap(PERSONS[kind].target)(draws) for kind, draws in theta.items()])  # type: ignore
    targets = jax.vmap(partial(project, state.space, state.x))(targets)
    problem = state.logit_fn, state.x, targets
    found = _in_ranges(state, pool.to_accepted(*problem, pool.lasting(state.pool), state.space, hp.margin))
    if not _has_gradient(hp, state.logit_fn, state.x):
        return found
    return uphill.nearer(targets, found, _in_ranges(state, uphill.recourses(*problem, state.space, hp.margin)))


def _of_high_utility(hp: Bayes, state: State, key: Array, theta: dict[str, Array]) -> tuple[Recourse, Recourse]:
    """The recommendation (d,), and a recourse found for the utility of each draw of `theta` (n, d), by kind."""
    known = pool.members(state.pool)
    expected = _expected(state, known)
    wanted = jax.tree.map(lambda one, drawn: jnp.concatenate([one[None], drawn]), expected, _drawn(state, theta))
    value = _values(state, wanted, known)
    allowed = jnp.broadcast_to(known.valid, value.shape).at[0].set(known.valid & ~_are_harmful(hp, state, known.x))
    near = jnp.argmax(jnp.where(allowed, value, -jnp.inf), axis=1)

    def one(key: Array, utility: _Utility, near: Array) -> Recourse:
        start = jax.tree.map(lambda leaf: leaf[near], known)
        return local_search(hp.search, key, partial(_cost, state, utility), state.logit_fn, state.x, start, state.space)

    found = jax.vmap(one)(jax.random.split(key, len(near)), wanted, near)
    first, cheap = (jax.tree.map(lambda leaf, at=at: leaf[at], found) for at in (0, slice(1, None)))
    harmful = _are_harmful(hp, state, first.x[None])[0]
    return Recourse(jnp.where(harmful, known.x[near[0]], first.x), first.valid), cheap


def _expected(state: State, known: Recourse) -> _Utility:
    """The expected utility over all hypotheses, each in its s.d. over the `known` recourses (m, d)."""
    scale = utility_scales(state.belief, state.x, known, state.space)
    share = weight(state.belief) / scale
    of_kind = jax.nn.one_hot(state.belief.kinds.index, len(state.belief.kinds.distinct), axis=0, dtype=share.dtype)
    return _Utility(of_kind @ (share[:, None] * clipped(state.belief).mean), of_kind @ share)


def _drawn(state: State, theta: dict[str, Array]) -> _Utility:
    """The utility of each draw of `theta` (n, d), by kind: leaves with an axis of all draws in front."""
    kinds, none = state.belief.kinds.distinct, state.belief.mean[:0]
    at = np.repeat([kinds.index(kind) for kind in theta], [len(draws) for draws in theta.values()]).astype(int)
    draws = jnp.concatenate([none, *(clip_kind(kind, draws) for kind, draws in theta.items())])
    share = jax.nn.one_hot(at, len(kinds), dtype=none.dtype)
    return _Utility(share[:, :, None] * draws[:, None, :], share)


def _values(state: State, wanted: _Utility, known: Recourse) -> Array:
    """Each of the utilities `wanted`, with an axis of n in front, of each of the `known` recourses (m, d): (n, m).

    These are not compared with the ranges, as `_cost` does: all valid recourses of the pool are in them.
    """
    phi, c = features_of_points(state.belief.kinds, state.x, known.x, state.space)
    return jnp.einsum("nkd,kmd->nm", wanted.slope, phi) + wanted.share @ c


def _cost(state: State, utility: _Utility, z: Array) -> Array:
    """Minus the utility () of `z` (d,), infinite outside of the ranges."""
    phi, c = features_by_kind(state.belief.kinds, state.x, z, state.space)
    value = jnp.sum(phi * utility.slope) + jnp.sum(c * utility.share)
    return jnp.where(in_ranges(state.ranges, state.x, z), -value, jnp.inf)


def _are_harmful(hp: Bayes, state: State, z: Array) -> Array:
    """Whether each `z` (n, d) is not better than the base with a probability above `hp.most_harm`: (n,) bool.

    All but the base is so where the answers are probably coin tosses.
    """
    base = state.pool.base
    harm = not_better(state.belief, state.x, z, base.x, state.space)
    doubted = ~equal_rows(z, base.x[None, :])[:, 0] & (by_coins(state.belief) > _PROBABLE)
    return base.valid & (doubted | (harm > hp.most_harm))


def _in_ranges(state: State, found: Recourse) -> Recourse:
    """The recourses (n, d), valid where they are in the ranges."""
    return found._replace(valid=found.valid & jax.vmap(partial(in_ranges, state.ranges, state.x))(found.x))


def _has_gradient(hp: Bayes, logit_fn: LogitFn, x: Array) -> bool:
    """Whether the classifier is differentiated."""
    return hp.boundary_gradient and not calls_host(logit_fn, x)
