"""From an accepted point along the decision boundary to a nearer one, by setting features back to the factual's values.

This is the greedy feature selection of growing spheres (Laugel et al. 2018) and the sparsity step of DiCE (Mothilal et
al. 2020), with one addition. At the boundary the classifier refuses most points in which a feature is restored. Such a
point is *extended*: its other continuous and ordered columns move on in proportion to their changes, by at most the L1
distance that was saved, until it is accepted again.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.solvers.boundary import boundary
from hare_jax.space import (
    ActionSpace,
    allows,
    distance,
    is_held,
    keeps_relations,
    moved,
    norm,
    own_change,
    restore,
    same_feature,
    settle,
)

_NUM_BISECTIONS = 8  # of an extension


class _Problem(NamedTuple):
    """What is made sparse; constant during the rounds."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    margin: float | Array


class _Incumbent(NamedTuple):
    """State of the loop over the rounds, each of which restores one feature."""

    num_rounds: Array  # () int32
    found: Recourse  # the nearest accepted point so far; not valid if there is none
    done: Array  # () bool: the last round found no nearer one


class _Candidate(NamedTuple):
    """The incumbent with one feature restored; of all features, with an axis in front."""

    restored: Array  # (d,)
    extended: Array  # (d,) no further from the factual than the incumbent
    distance: Array  # () L1 from the factual of the first accepted point between them, if the logit is linear there


def sparsify(
    logit_fn: LogitFn,
    x: Array,
    point: Array,
    space: ActionSpace,
    *,
    margin: float | Array,
    num_restored: int = 20,
    num_steps: int = 20,
) -> Recourse:
    """Recourse no further from `x` (d,) in L1 than `point` (d,), and changing no feature that `point` does not change.

    It is `point`, moved to the boundary by `num_steps` bisections, with at most `num_restored` features restored, and
    moved to the boundary again. It is valid if it reaches the margin and the action space allows the move.

    Laugel et al. (2018), https://arxiv.org/abs/1712.08443, restore the smallest change first; Mothilal, Sharma and Tan
    (2020), https://arxiv.org/abs/1905.07697, section 3.3, restore continuous features. Here each round restores the
    feature that leads nearest, a one-hot group as a whole, and the extension is ours.

    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True, True], lower=[0.0, 0.0], upper=[2.0, 2.0])
    >>> found = sparsify(lambda z: z[0] + 2 * z[1] - 1, jnp.zeros(2), jnp.array([0.75, 0.5]), space, margin=0.0)
    >>> found.x.round(4).tolist(), bool(found.valid)
    ([0.0, 0.5], True)
    """
    to_boundary = partial(boundary, logit_fn, x, space=space, margin=margin, num_steps=num_steps)
    start = to_boundary(point)
    sparse = _restore_features(_Problem(logit_fn, x, space, margin), start, num_restored)
    end = to_boundary(sparse.x)  # evaluates the end of the rounds again
    found = Recourse(jnp.where(end.valid, end.x, start.x), end.valid | start.valid)
    return Recourse(found.x, found.valid & allows(space, x, found.x))


def _restore_features(problem: _Problem, start: Recourse, num_restored: int) -> Recourse:
    """The point (d,) after the rounds from `start`, valid if it was accepted when it was found."""
    first = _Incumbent(jnp.zeros((), jnp.int32), start, jnp.array(False))
    step = partial(_restore_best, problem)
    return jax.lax.while_loop(lambda now: ~now.done & (now.num_rounds < num_restored), step, first).found


def _restore_best(problem: _Problem, now: _Incumbent) -> _Incumbent:
    """Restore the feature that leads nearest to the factual by the estimate, if it leads nearer than the incumbent."""
    logit_fn, x, space, margin = problem
    movable = jnp.where(is_held(space, x, now.found.x), 0, own_change(space, x, now.found.x))
    candidates = jax.vmap(partial(_candidate, problem, now.found.x, movable))(same_feature(space))
    best = jax.tree.map(lambda leaf: leaf[jnp.argmin(candidates.distance)], candidates)
    extended = boundary(logit_fn, best.restored, best.extended, space, margin=margin, num_steps=_NUM_BISECTIONS)
    enough = logit_fn(best.restored) >= margin
    point = jnp.where(enough, best.restored, extended.x)
    nearer = (enough | extended.valid) & (distance(space, x, point) < distance(space, x, now.found.x))
    nearer &= keeps_relations(space, x, point)  # the path between the two points is that from the first of them
    found = Recourse(jnp.where(nearer, point, now.found.x), now.found.valid | nearer)
    return _Incumbent(now.num_rounds + 1, found, ~nearer)


def _candidate(problem: _Problem, z: Array, movable: Array, feature: Array) -> _Candidate:
    """The point `z` (d,) with the columns of `feature` (d,) restored; `movable` (d,) are the changes to extend."""
    logit_fn, x, space, margin = problem
    restored = jax.lax.optimization_barrier(restore(space, x, z, feature))  # the point returned is the one evaluated
    shortest, longest = distance(space, x, restored), distance(space, x, z)
    change = jnp.where(feature, 0, movable)
    tiny = jnp.finfo(x.dtype).tiny
    unit = change / jnp.maximum(norm(space, change), tiny)
    extended = settle(space, x, moved(space, x, restored, (longest - shortest) * unit))
    logits = jax.vmap(logit_fn)(jnp.stack([restored, extended]))
    share = jnp.clip((margin - logits[0]) / jnp.maximum(logits[1] - logits[0], tiny), 0, 1)
    estimate = shortest + share * (distance(space, x, extended) - shortest)
    some = (shortest < longest) & jnp.any(logits >= margin)
    return _Candidate(restored, extended, jnp.where(some, estimate, jnp.inf))
