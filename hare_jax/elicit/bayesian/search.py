"""Recourses that are good under the posterior: the recommendation, and the parts of the pool that a proposal draws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import Recourse
from hare_jax.elicit.bayesian import pool
from hare_jax.elicit.bayesian.acquisition import utility_scales
from hare_jax.elicit.bayesian.answers import in_ranges
from hare_jax.elicit.bayesian.belief import Kinds, features, weight
from hare_jax.elicit.bayesian.pool import Pool
from hare_jax.elicit.bayesian.posterior import clip_kind, clipped, draw_hidden, on_boundary, utilities, worse
from hare_jax.elicit.bayesian.state import Bayes, State, hypotheses
from hare_jax.people import PERSONS
from hare_jax.solvers.host import calls_host
from hare_jax.solvers.local_search import local_search
from hare_jax.space import project

_PENALTY = 1e3  # of a probability of harm above the bound, in prior s.d.s of the utility
_DEEP = 0.1  # distance beyond the boundary from which on a recourse says little about where it lies
_UNKNOWN_VARIANCE = 1.0  # of the boundary before the first proposal


def recommend(hp: Bayes, state: State, key: Array) -> State:
    """Search for the valid recourse of highest expected utility, from the best of the pool.

    Recourses that are worse than the base with a probability above `hp.most_harm` are used only if the base is not
    valid.
    """
    belief, known = state.belief, pool.members(state.pool)
    usual = clipped(belief)
    scale = utility_scales(belief, state.x, known, state.space)
    share = weight(belief) / scale
    base = state.pool.base

    def cost(z: Array) -> Array:
        utility = jnp.sum(share * utilities(usual, state.x, z, state.space))
        harm = jnp.where(base.valid, worse(belief, state.x, z, base.x, state.space), 0)
        utility -= _PENALTY * jnp.maximum(harm - hp.most_harm, 0)
        return jnp.where(in_ranges(state.ranges, state.x, z), -utility, jnp.inf)

    costs = jnp.where(known.valid, jax.vmap(cost)(known.x), jnp.inf)
    near = jnp.argmin(costs)
    stays = state.best.valid & (cost(state.best.x) <= costs[near])
    start = Recourse(jnp.where(stays, state.best.x, known.x[near]), stays | known.valid[near])
    best = local_search(hp.search, key, cost, state.logit_fn, state.x, start, state.space)
    return state._replace(pool=state.pool._replace(best=best))


def at_boundary(hp: Bayes, state: State) -> State:
    """Update the posterior's site of the decision boundary, linearised at the recommendation.

    Its level is the mean, and its variance that, of recourses near draws of the target point along the classifier's
    gradient, plus the square of `hp.thickness`. Recourses that are accepted by more than the gradient times a tenth
    weigh less. A classifier on the host has no gradient, and no site.
    """
    if not hp.boundary_gradient or calls_host(state.logit_fn, state.x):
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


def first_pool(hp: Bayes, kinds: Kinds, base: Recourse, drawn: Recourse) -> Pool:
    """The pool before the first proposal."""
    targeted, searched = by_target(kinds)
    return pool.start(base, drawn, hp.num_local * len(targeted), hp.num_cheap * len(searched))


def refresh(hp: Bayes, state: State, key: Array) -> State:
    """Draw theta of each kind from the posterior, and put a recourse of high utility for each draw into the pool."""
    targeted, searched = by_target(state.belief.kinds)
    counts = [hp.num_local] * len(targeted) + [hp.num_cheap] * len(searched)
    keys = jax.random.split(key, 1 + hp.num_cheap * len(searched))
    normal = jax.random.normal(keys[0], (sum(counts), len(state.x)), state.x.dtype)
    parts = jnp.split(normal, np.cumsum(counts)[:-1])
    theta = draw_hidden(state.belief, state.space.mutable, dict(zip(targeted + searched, parts, strict=True)))
    local = _near_targets(hp, state, {kind: theta[kind] for kind in targeted})
    cheap = _of_low_cost(hp, state, keys[1:], {kind: theta[kind] for kind in searched})
    return state._replace(pool=state.pool._replace(local=local, cheap=cheap))


def by_target(kinds: Kinds) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kinds with a target point in closed form (`Person.target`), and those without, which need a search."""
    names = tuple(dict.fromkeys(kinds.names))
    targeted = tuple(kind for kind in names if PERSONS[kind].target is not None)
    return targeted, tuple(kind for kind in names if kind not in targeted)


def _near_targets(hp: Bayes, state: State, theta: dict[str, Array]) -> Recourse:
    """Recourses near the target points of draws of `theta` (n, d), by kind."""
    if not theta:
        return state.pool.local
    targets = jnp.concatenate([jax.vmap(PERSONS[kind].target)(draws) for kind, draws in theta.items()])  # type: ignore
    targets = jax.vmap(partial(project, state.space, state.x))(targets)
    found = pool.to_accepted(state.logit_fn, state.x, targets, pool.lasting(state.pool), state.space, hp.margin)
    return found._replace(valid=found.valid & jax.vmap(partial(in_ranges, state.ranges, state.x))(found.x))


def _of_low_cost(hp: Bayes, state: State, keys: Array, theta: dict[str, Array]) -> Recourse:
    """Recourses found by a short local search for the utility of each draw of `theta` (n, d), by kind."""
    if not theta:
        return state.pool.cheap
    kinds = Kinds(tuple(theta))
    draws = jnp.concatenate([clip_kind(kind, draws) for kind, draws in theta.items()])
    index = jnp.repeat(jnp.arange(len(theta)), hp.num_cheap)
    known = pool.lasting(state.pool)
    return jax.vmap(partial(_search_one, hp, state, kinds, known))(keys, draws, index)


def _search_one(
    hp: Bayes, state: State, kinds: Kinds, known: Recourse, key: Array, theta: Array, index: Array
) -> Recourse:
    """Local search from the `known` recourses (m, d), by the utility `theta` (d,) of the kind at `index` ()."""

    def cost(z: Array) -> Array:
        phi, c = features(kinds, state.x, z, state.space)
        utility = jnp.sum(phi[index] * theta) + c[index]
        return jnp.where(in_ranges(state.ranges, state.x, z), -utility, jnp.inf)

    near = jnp.argmin(jnp.where(known.valid, jax.vmap(cost)(known.x), jnp.inf))
    start = Recourse(known.x[near], known.valid[near])
    return local_search(hp.short_search, key, cost, state.logit_fn, state.x, start, state.space)
