"""The price of a logit: how much a recourse costs more where a stricter classifier asks for a higher logit."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import Generate, LogitFn, Recourse, as_partial
from hare_jax.models.network import from_layers, to_layers
from hare_jax.models.perceptron import Classifier
from hare_jax.solvers.host import calls_host
from hare_jax.space import ActionSpace, distance

STEP = 0.25  # logits: the change of the margin from which the price of a black box is computed


class Priced(NamedTuple):
    """A recourse for one row, and the price of a logit."""

    recourse: Recourse  # (d,), ()
    price: Array  # () cost of one logit more; 0 where not known
    known: Array  # () bool: the recourse is valid, and for a black box also the one of the higher logit


def price(
    generate: Generate, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, *, step: float = STEP
) -> Priced:
    """Derivative of the cost of the recourse for `x` (d,) in the margin that its logit reaches.

    The cost is `space.distance`. Where it is the least one, the derivative is that of the least cost, by the envelope
    theorem: see `recourse.derivative`. It is the local slope: 0 where the recourse ends in a move by categories or
    steps, which reaches more than the margin, and of a method whose recourse does not lie on the boundary, such as
    `nnce`. With `recourse.cost.smoothed(space)` ordered columns have a slope, too.

    A classifier on the host has no derivative: the price is the difference of the costs of two recourses, the second
    one of a logit higher by `step`, over the step. As a search is random, it may be negative for a single row.

    >>> from hare_jax.recourse import bind
    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True], lower=[0.0], upper=[1.0])
    >>> logit_fn, x = Partial(lambda x: 4 * x[0] - 2), jnp.array([0.0])
    >>> generate = bind("growing_spheres", jax.random.key(0), logit_fn, x[None], space)
    >>> round(float(price(generate, jax.random.key(1), logit_fn, x, space).price), 3)
    0.25
    """

    def cost(rise: Array) -> tuple[Array, Recourse]:
        found = generate(key, stricter(logit_fn, rise), x, space)
        return distance(space, x, found.x), found

    zero, one = jnp.zeros((), x.dtype), jnp.ones((), x.dtype)
    if calls_host(logit_fn, x):
        (before, found), (after, further) = cost(zero), cost(step * one)
        slope, known = (after - before) / step, found.valid & further.valid
    else:
        _, slope, found = jax.jvp(cost, (zero,), (one,), has_aux=True)
        known = found.valid
    return Priced(found, jnp.where(known, slope, 0), known)


def stricter(logit_fn: LogitFn, rise: Array) -> Partial:
    """`logit_fn` less `rise` (): a classifier that asks for so many logits more. A `Classifier` stays one."""
    if isinstance(logit_fn, Classifier):
        *hidden, last = to_layers(logit_fn.args[0])
        return Classifier(logit_fn.func, from_layers([*hidden, last._replace(bias=last.bias - rise)]))
    return Partial(_less, as_partial(logit_fn), rise)


def _less(logit_fn: Any, rise: Array, x: Array) -> Array:
    return logit_fn(x) - rise
