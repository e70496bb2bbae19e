"""The second derivatives of each row of `METHODS`, with a smooth classifier."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jax.tree_util import Partial
from methods import BLIND, small
from reference import ON_ROWS, Held, hold_direction
from spaces import WIDTH, full_space, jit, random_classifiers, random_rows, row, split, tanh_logit, widen

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.recourse import METHODS, derivative
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import bounds

NUM_SMOOTH = 6
NUM_BISECTIONS = 45  # the points have to be exact
FURTHER = 1.05  # times the change: beyond the boundary


class Smooth(NamedTuple):
    """Answers to refused rows of one smooth classifier, none of which ends at a bound, and one fit for all of them."""

    fitted: Any
    params: models.Params
    x: jax.Array  # (n, d)
    keys: jax.Array  # (n,)
    held: Held  # (n, ...)


def with_margin(fitted, margin):
    hp = getattr(fitted, "hp", fitted)
    inner = {"search": replace(hp.search, margin=margin)} if hasattr(hp, "search") else {"margin": margin}
    return fitted._replace(hp=replace(hp, **inner)) if hasattr(fitted, "hp") else replace(hp, **inner)


def answers(name, fitted, keys, space, params, x, margin):
    """The points (n, d) of the method, with a smooth classifier."""
    call = partial(METHODS[name].generate, with_margin(fitted, margin))
    return jax.vmap(lambda key, x: call(key, Partial(tanh_logit, params), x, space))(keys, x)


def solve_smooth(name, space):
    """Rows are left out whose continuous columns could not go further in the same direction."""
    method, exact = METHODS[name], {} if name in ON_ROWS else {"num_boundary_steps": NUM_BISECTIONS}
    params, rows, x = widen((row(random_classifiers(50, 2), 1), random_rows(9, 64), random_rows(51, 100, margin=-0.05)))
    hp = method.hyperparams(**small(name), **exact)
    fitted = method.fit(hp, jax.random.key(0), Partial(tanh_logit, params), rows, space)
    keys = split(15, len(x))
    found = jit(partial(answers, name))(fitted, keys, space, params, x, MARGIN)
    held = jax.vmap(partial(hold_direction, name, tanh_logit), in_axes=(None, 0, None, 0))(space, x, params, found)
    target = further(held, x)
    lower, upper = jax.vmap(bounds, in_axes=(None, 0))(space, x)
    inside = jnp.all(~held.scaled | ((target > lower) & (target < upper)), axis=1)
    refused = jax.vmap(partial(tanh_logit, params))(x) < 0
    kept = np.flatnonzero(refused & found.valid & inside & (held.moves | (name in ON_ROWS)))[:NUM_SMOOTH]
    assert len(kept) == NUM_SMOOTH
    return Smooth(fitted, params, *row((x, keys, held), kept))


def further(held, x):
    """A point in the direction held, beyond the boundary."""
    return jnp.where(held.constant, held.x_cf, x + jnp.where(held.scaled, FURTHER, 1) * held.change)


def held_search(_, __, held, ___, x, ____):
    """In place of `derivative.hold`: it takes what to hold in place of the key."""
    return jax.lax.stop_gradient(Recourse(further(held, x), jnp.array(True)))


@pytest.mark.slow
@pytest.mark.parametrize("name", BLIND)
def test_second_order(name, monkeypatch):
    """In the classifier's arrays, the factual and the margin; with the search, and against differences without it."""
    with jax.enable_x64(True):
        space = widen(full_space())
        case = solve_smooth(name, space)
        args = case.params, case.x, jnp.asarray(MARGIN)
        directions = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(1.0, leaf.size + 1)).reshape(leaf.shape), args)

        def curvature(keys):
            def mixed(*args):
                points = answers(name, case.fitted, keys, space, *args).x
                return jnp.sum(points**2 @ jnp.sin(jnp.arange(1.0, WIDTH + 1)))

            return jit(lambda *args: jax.jvp(jax.grad(mixed, argnums=(0, 1, 2)), args, directions)[1])(*args)

        searched = curvature(case.keys)
        monkeypatch.setattr(derivative, "hold", held_search)
        for one, other in zip(*map(jax.tree.leaves, (searched, curvature(case.held))), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        points = jax.jit(lambda *args: answers(name, case.fitted, case.held, space, *args).x)
        check_grads(points, args, order=2, modes=["fwd", "rev"], eps=1e-6)
