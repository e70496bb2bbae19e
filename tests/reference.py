"""The recourse that a derivative is checked against: without a search, with the direction of the change held."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hare_jax import models
from hare_jax.recourse.roar import Roar, worst_logit
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import bounds, is_category

ON_ROWS = ("face", "nnce")  # their recourses are training rows
NUM_NEWTON = 4
NEAR_MARGIN = 1e-4  # logits: a recourse that was scaled back


class Held(NamedTuple):
    """What the derivative of one recourse holds constant, and the level of the score that it keeps."""

    x_cf: jax.Array  # (d,)
    change: jax.Array  # (d,)
    constant: jax.Array  # (d,) bool
    scaled: jax.Array  # (d,) bool
    radius: jax.Array  # () of ROAR's ball, 0 for the other methods
    level: jax.Array  # ()
    moves: jax.Array  # () bool: whether the point follows the boundary


def score(name, logit, params, radius, z):
    return worst_logit(partial(logit, params), z, radius=radius) if name == "roar" else logit(params, z)


def hold_direction(name, logit, space, x, params, found):
    """The rules of `scale_back` and of `constant`, from the recourse alone."""
    change, (lower, upper) = found.x - x, bounds(space, x)
    keeps = is_category(space) | (found.x <= lower + 1e-12) | (found.x >= upper - 1e-12)
    if name in ON_ROWS:
        keeps |= space.step == 0
    constant = found.valid & (change != 0) & keeps
    scaled = found.valid & (change != 0) & ~constant & (space.step == 0)
    radius = jnp.asarray(Roar().radius if name == "roar" else 0, x.dtype)
    radius = jnp.where(score(name, logit, params, radius, found.x) >= MARGIN - NEAR_MARGIN, radius, 0)
    level = score(name, logit, params, radius, found.x)
    near = (level >= MARGIN) & (level < MARGIN + NEAR_MARGIN)
    return Held(found.x, change, constant, scaled, radius, level, jnp.any(scaled) & near)


def move(name, held, params, x):
    """The point (d,) in the direction held at which the score keeps its level, by Newton's method."""

    def at(t):
        return jnp.where(held.constant, held.x_cf, x + jnp.where(held.scaled, t, 1) * held.change)

    def newton(_, t):
        excess, slope = jax.value_and_grad(
            lambda t: score(name, models.logit, params, held.radius, at(t)) - held.level
        )(t)
        return jnp.where(held.moves, t - excess / jnp.where(slope == 0, 1, slope), t)

    return at(jax.lax.fori_loop(0, NUM_NEWTON, newton, jnp.ones((), x.dtype)))
