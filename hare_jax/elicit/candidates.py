"""Candidates: valid points, far apart from each other, on a sphere around a recourse (HARE's actionable sampling).

Notation: N directions, whose unit vectors are optimised: see `spreading`. The validity loss of the direction `unit_i`
is `BCE(logit(centre + radius * unit_i), 1)`. All users of a `vmap` are optimised together, in the last axis of each
array.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap
from jax.tree_util import Partial

from hare_jax.base import LogitFn, as_partial, check_key, check_logit, check_row, check_shapes, pytree_dataclass
from hare_jax.elicit import spreading
from hare_jax.hyperparams import Count, Natural, NonNegative, Positive, check_fields
from hare_jax.space import ActionSpace, bounds, complete, project


@pytree_dataclass
class Sampling:
    """Hyperparameters of the candidates around a recourse; the paper's are `PAPER`."""

    num_directions: Count = 30  # candidates per round, N
    num_steps: Natural = 25  # Adam steps
    learning_rate: Positive = 0.5  # of Adam, at the first step
    annealed: bool = True  # False: the paper's solver, a constant rate and the subgradient of the largest cosines
    spread_weight: NonNegative = 10.0  # weight of the largest cosine against the validity loss
    radius: Positive = 1.0  # of the sphere, in encoded units
    validity_gradient: bool = True  # False: the spread alone is optimised, and the classifier may be a black box


PAPER = Sampling(num_steps=100, learning_rate=0.1, annealed=False)


def sample(hp: Sampling, key: Array, logit_fn: LogitFn, x: Array, centre: Array, space: ActionSpace) -> Array:
    """Draw N candidates (N, d) around `centre` (d,), each allowed from `x` (d,); they need not be accepted.

    HARE (TMLR 2025), algorithm 1, by another solver unless `hp` is `PAPER` (see `spreading`). Directions vary in the
    mutable columns alone, and the points are projected onto the action space, where the original masks the result and
    does not project it.

    Raises:
        ValueError: `hp` is not a `Sampling`, `key` not a key, `logit_fn` not a classifier of one row, or a row has
            the wrong width.
    """
    check_fields(hp, Sampling)
    check_key(key)
    check_row(x, space, centre=centre)
    check_logit(logit_fn, x)
    noise = jax.random.normal(key, (hp.num_directions, x.shape[0]), x.dtype)
    unit = directions(hp, noise, logit_fn, x, centre, space)
    return jax.vmap(lambda point: project(space, x, point))(centre[None, :] + hp.radius * unit)


class _Problem(NamedTuple):
    """All that the directions depend on."""

    hp: Sampling
    logit_fn: Partial
    constants: tuple[Array, ...]  # arrays that `logit_fn` closes over
    noise: Array  # (N, d)
    x: Array  # (d,)
    centre: Array  # (d,)
    space: ActionSpace


def directions(hp: Sampling, noise: Array, logit_fn: LogitFn, x: Array, centre: Array, space: ActionSpace) -> Array:
    """Optimise unit vectors (N, d), from `noise` (N, d), to be far apart and to lead from `centre` to accepted points.

    Immutable columns stay 0. The gradient of the validity loss is taken at the nearest point within the bounds
    (straight-through), and includes the columns that follow others. Differentiable; the paper's solver holds the
    nearest pairs constant.

    Raises:
        ValueError: `hp` is not a `Sampling`, or a row has the wrong width.
    """
    check_fields(hp, Sampling)
    check_row(x, space, centre=centre)
    check_shapes(noise=(noise, (None, len(x))))
    logit_fn = as_partial(logit_fn)
    call, constants = jax.closure_convert(lambda logit_fn, x: logit_fn(x), logit_fn, x)
    return _optimise(call, _Problem(hp, logit_fn, tuple(constants), noise, x, centre, space))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _optimise(call: Callable[..., Array], problem: _Problem) -> Array:
    """The directions (N, d) of one problem; those of a `vmap` are found together."""
    one_or_all = custom_vmap(partial(_optimise_one, call))
    one_or_all.def_vmap(partial(_optimise_all, call))
    return one_or_all(problem)


@_optimise.defjvp
def _optimise_jvp(call: Callable[..., Array], primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """The derivative of the solver's steps: a `custom_vmap` has none in reverse mode."""
    return jax.jvp(partial(_optimise_one, call), primals, tangents)


def _optimise_one(call: Callable[..., Array], problem: _Problem) -> Array:
    """The directions (N, d) of one problem."""
    arrays = (array[None] for array in (problem.noise, problem.x, problem.centre))
    return _optimise_batch(call, problem, *arrays)[0]


def _optimise_all(call: Callable[..., Array], size: int, batched: Any, problem: _Problem) -> tuple[Array, bool]:
    """The directions (B, N, d) of a `vmap` of `size` B, and that they have an axis in front."""
    (which,) = batched
    own = which._replace(noise=False, x=False, centre=False)
    if any(jax.tree.leaves(own)):  # classifiers, spaces or hyperparameters of their own
        axes = jax.tree.map(lambda mapped: 0 if mapped else None, which)
        return jax.vmap(partial(_optimise_one, call), in_axes=(axes,))(problem), True
    pairs = ((problem.noise, which.noise), (problem.x, which.x), (problem.centre, which.centre))
    arrays = (array if mapped else jnp.broadcast_to(array, (size, *array.shape)) for array, mapped in pairs)
    return _optimise_batch(call, problem, *arrays), True


def _optimise_batch(call: Callable[..., Array], problem: _Problem, noise: Array, x: Array, centre: Array) -> Array:
    """The directions (B, N, d) of B users; `noise` (B, N, d), `x`, `centre` (B, d) replace those of `problem`."""
    hp, dtype = problem.hp, noise.dtype
    solver = (spreading.annealed if hp.annealed else spreading.paper)(hp.num_steps, hp.learning_rate, dtype)
    slope = partial(_validity_slope, call, problem, x.T, centre.T) if hp.validity_gradient else None
    unit = spreading.spread(solver, hp.spread_weight, slope, jnp.transpose(noise), problem.space.mutable)
    return jnp.transpose(unit)


def _validity_slope(call: Callable[..., Array], problem: _Problem, x: Array, centre: Array, unit: Array) -> Array:
    """Gradient (d, N, B) of `mean_i BCE(logit(centre + radius * unit_i), 1)`, at points clipped to the bounds."""
    hp, space = problem.hp, problem.space
    lower, upper = jax.vmap(partial(bounds, space), in_axes=1, out_axes=1)(x)
    points = jnp.clip(centre[:, None] + hp.radius * unit, lower[:, None], upper[:, None])

    def loss(x: Array, point: Array) -> Array:
        return jax.nn.softplus(-call(problem.logit_fn, complete(space, x, point), *problem.constants))

    # The gradient of the sum over a batch, in one last axis: batched over points, products would be transposed.
    factuals = jnp.broadcast_to(x[:, None], unit.shape).reshape(len(x), -1)
    losses = jax.vmap(loss, in_axes=1)
    slope = jax.grad(lambda points: jnp.sum(losses(factuals, points)))(points.reshape(len(x), -1))
    return hp.radius / unit.shape[1] * slope.reshape(unit.shape)
