"""The cheapest recourse after one switch of a coarse column, by sequential linear programming of the other columns.

A switch takes a column that has changed back to its value in the factual, and a category or coarse column that has not
to another level or its further bound. The free columns then make up for the logit by one step of `cheapest_path`, so
a category whose change they can replace does not stay changed, as it does where rays alone are perturbed.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import Recourse
from hare_jax.recourse.cheapest_path import Incumbent, Problem, Round, improve, one_round
from hare_jax.space import FURTHEST, is_one, same_feature


def switch(problem: Problem, recourse: Recourse, num_rounds: int, round_fn: Round | None = None) -> Recourse:
    """A recourse that costs no more than `recourse`, by at most `num_rounds` switches.

    Each round evaluates `d (d + 30)` logits. An invalid recourse is returned unchanged. The default of `round_fn` is
    `cheapest_path.one_round`.
    """
    step = partial(_best_switch, round_fn or one_round, problem)
    return improve(problem, step, recourse, jnp.asarray(FURTHEST, recourse.x.dtype), num_rounds)


def _best_switch(round_fn: Round, problem: Problem, now: Incumbent) -> Incumbent:
    """The cheapest recourse after one switch, or the incumbent if none is cheaper."""
    nothing = jnp.full((), jnp.inf, now.z.dtype)
    ends = jax.vmap(lambda z: round_fn(problem, Incumbent(z, nothing, now.radius)))(_switched(problem, now.z))
    best = jnp.argmin(ends.cost)
    cheaper = ends.cost[best] < now.cost
    return Incumbent(jnp.where(cheaper, ends.z[best], now.z), jnp.minimum(ends.cost[best], now.cost), now.radius)


def _switched(problem: Problem, z: Array) -> Array:
    """The points (d, d) after a switch of each column of `z` (d,); `z` itself where there is none."""
    x, lower, upper, space = problem.x, problem.lower, problem.upper, problem.space
    same, level = same_feature(space), jnp.eye(len(x), dtype=z.dtype)
    further = jnp.where(x - lower > upper - x, lower, upper)
    there = jnp.where((space.group >= 0)[:, None], level, further[None, :])
    possible = ~problem.free & ((space.group < 0) | is_one(upper))
    to = jnp.where((z != x)[:, None], x[None, :], jnp.where(possible[:, None], there, z[None, :]))
    return jnp.where(same, to, z[None, :])
