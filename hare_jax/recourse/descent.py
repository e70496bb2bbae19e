"""Gradient descent with restarts, shared by the methods that differentiate the classifier. Not a method itself.

Adam descends an objective over relaxed points z, in which categories and steps are fractional, and stops at the first
z whose projection onto the action space reaches the required score. Where an attempt fails, as on the flat parts of a
classifier, the next one starts at a random point. Adam's steps have about the same length in all columns; here they are
scaled by each column's slope relative to the steepest one, which ends nearer in L1.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, NonNegative, Positive
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace, allows, distance, moved, own_slope, project, relax

Objective = Callable[[Array, Array], Array]  # relaxed point (d,), index of the step () -> ()
Score = Callable[[Array], Array]  # point (d,) -> ()


@pytree_dataclass
class Descent:
    """Number, starts and steps of the attempts of a descent."""

    num_steps: Count = 200  # Adam steps of one attempt
    num_attempts: Count = 20  # the first starts at the factual, the others at random points at a growing distance
    num_starts: Count = 16  # random points drawn for one attempt, which starts at the one with the highest score
    learning_rate: Positive = 0.03  # of Adam
    restart_scale: NonNegative = 0.1  # s.d. of the second attempt's start around the factual; grows with attempts


class _Problem(NamedTuple):
    """What is descended, and when it ends."""

    objective: Objective
    score_fn: Score
    margin: float | Array  # the descent ends where the score reaches it
    x: Array  # (d,)
    space: ActionSpace


class _Attempts(NamedTuple):
    """State of the loop over attempts."""

    num_tried: Array  # () int32, which is the index of the next attempt
    point: Array  # (d,) allowed point at which the last attempt ended
    done: Array  # () bool: its score reaches the margin


class _Iterate(NamedTuple):
    """State of the loop over the steps of one attempt."""

    num_taken: Array  # () int32, which is the index of the next step
    z: Array  # (d,) relaxed point
    adam: optax.OptState
    done: Array  # () bool: the projection of z reaches the margin, or the last step moved nothing


def search(
    hp: Descent,
    key: Array,
    objective: Objective,
    score_fn: Score,
    x: Array,
    space: ActionSpace,
    *,
    margin: float | Array,
    begin: Array | None = None,
) -> Array:
    """First allowed point (d,) of the descent whose `score_fn` is at least `margin`, or the end of the last attempt.

    If `begin` (d,), by default `x` (d,) itself, has that score already, it is returned and nothing is descended.
    """
    problem = _Problem(objective, score_fn, margin, x, space)
    point = x if begin is None else begin
    untried = _Attempts(jnp.zeros((), jnp.int32), point, score_fn(point) >= margin)
    attempt = partial(_attempt, hp, key, problem)
    return jax.lax.while_loop(lambda now: ~now.done & (now.num_tried < hp.num_attempts), attempt, untried).point


def to_boundary(
    logit_fn: LogitFn, x: Array, point: Array, space: ActionSpace, *, margin: float | Array, num_steps: int = 20
) -> Recourse:
    """Recourse at the decision boundary between `x` (d,) and `point` (d,), by `num_steps` bisections of `boundary`.

    With 0 steps it is `point` itself. It is valid if `point` reaches the margin and the action space allows the move.
    """
    found = boundary(logit_fn, x, point, space, margin=margin, num_steps=num_steps)
    return Recourse(found.x, found.valid & allows(space, x, found.x))


def penalised_loss(
    score_fn: Score,
    x: Array,
    space: ActionSpace,
    cost_weight: float | Array,
    cost_decay: float | Array,
    z: Array,
    index: Array,
) -> Array:
    """`softplus(-score(z)) + cost_weight * cost_decay^index * ||z - x||_1` at `z` (d,): (), for Wachter and ROAR.

    The norm is `space.distance`.

    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True, True], lower=[0.0, 0.0], upper=[1.0, 1.0])
    >>> float(penalised_loss(lambda z: jnp.inf, jnp.zeros(2), space, 0.5, 0.5, jnp.ones(2), 1))
    0.5
    """
    weight = cost_weight * cost_decay**index
    return jax.nn.softplus(-score_fn(z)) + weight * distance(space, x, z)


def _attempt(hp: Descent, key: Array, problem: _Problem, now: _Attempts) -> _Attempts:
    start = _draw_start(hp, jax.random.fold_in(key, now.num_tried), problem, now.num_tried)
    point = _descend(hp, problem, start, now.done)
    return _Attempts(now.num_tried + 1, point, problem.score_fn(point) >= problem.margin)


def _draw_start(hp: Descent, key: Array, problem: _Problem, index: Array) -> Array:
    """Start (d,) of the attempt number `index`: `x` for the first, else the random point with the highest score."""
    x, space = problem.x, problem.space
    noise = jax.random.normal(key, (hp.num_starts, x.shape[0]), x.dtype)
    starts = jax.vmap(lambda move: relax(space, x, x + move))(hp.restart_scale * index * noise)
    return starts[jnp.argmax(jax.vmap(problem.score_fn)(starts))]


def _descend(hp: Descent, problem: _Problem, start: Array, done: Array) -> Array:
    """Allowed point (d,) at the end of the descent from `start` (d,).

    If `done` () it takes no step: under `vmap` a solved row is called again while others of its batch are unsolved.
    """
    optimiser = optax.adam(hp.learning_rate)
    zero = jnp.zeros((), jnp.int32)
    first = _Iterate(zero, start, optimiser.init(start), done | _is_accepted(problem, start))
    step = partial(_step, problem, optimiser)
    last = jax.lax.while_loop(lambda now: ~now.done & (now.num_taken < hp.num_steps), step, first)
    return project(problem.space, problem.x, last.z)


def _step(problem: _Problem, optimiser: optax.GradientTransformation, now: _Iterate) -> _Iterate:
    """One step of Adam, scaled in each column by its slope relative to the steepest one."""
    x, space = problem.x, problem.space
    slope = own_slope(space, x, now.z, jax.grad(problem.objective)(now.z, now.num_taken))
    slope = jnp.where(space.mutable, slope, 0)
    updates, adam = optimiser.update(slope, now.adam)
    steepness = jnp.abs(slope) / jnp.maximum(jnp.max(jnp.abs(slope)), jnp.finfo(slope.dtype).tiny)
    z = relax(space, x, moved(space, x, now.z, steepness * updates))
    return _Iterate(now.num_taken + 1, z, adam, _is_accepted(problem, z) | jnp.all(z == now.z))


def _is_accepted(problem: _Problem, z: Array) -> Array:
    """Whether the projection of `z` (d,) reaches the margin: () bool."""
    return problem.score_fn(project(problem.space, problem.x, z)) >= problem.margin
