"""A kind of person: a row of `PERSONS`, and what its file is built from.

Notation: `hidden` are the parameters of the utility, which an elicitor has to infer: a pytree whose shape the kind
defines. `x` (d,) is the factual and `z` (d,) a recourse. In a space with relations some columns of `z` follow others;
`in_space` evaluates the functions of a kind with `of_own_changes` at the recourse without what only follows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import as_partial, pytree_dataclass
from hare_jax.hyperparams import Count, NonNegative
from hare_jax.people.levels import Levels
from hare_jax.people.marginals import Marginal
from hare_jax.recourse.growing_spheres import GrowingSpheres
from hare_jax.space import ActionSpace, own_change

DISTANCES = {"near": 0.2, "intermediate": 0.8, "far": 1.5}


@pytree_dataclass
class Population:
    """How simulated persons are drawn."""

    distance: NonNegative = 1.5  # L2 norm of the perturbation that gives an ideal: near 0.2, intermediate 0.8, far 1.5
    num_starts: Count = 32  # perturbations drawn, of which the first refused one is used
    spheres: GrowingSpheres = GrowingSpheres()


class User(NamedTuple):
    """One simulated person."""

    hidden: Any  # the parameters drawn by `Person.draw`
    valid: Array  # () bool: the draw succeeded; an ideal, for instance, has to be an accepted recourse


class Prior(NamedTuple):
    """Prior of hidden parameters (d,), for one kind or, with a leading axis, for several."""

    mean: Array  # (d,)
    cov: Array  # (d, d)
    marginals: Marginal  # (d, ...)
    varies: Array  # (d,) bool: the column has a site of its marginal
    levels: Levels  # (d,) categories, each with a site of its own


class Moment(NamedTuple):
    """What answers depend on at one question of a session."""

    hidden: Any  # the parameters of the utility
    flip: Array | None = None  # () probability of a flipped answer; None: 0


class Person(NamedTuple):
    """A kind of person: the distribution of the hidden parameters and the utility of a recourse.

    With `features` and `prior` the hidden parameters are a vector (d,) and the utility is linear in them,
    `utility(hidden, x, z) = phi . hidden + c`, up to a term that does not depend on `z`; the Bayesian elicitor then
    includes the kind in its posterior.

    The recourse of least loss is known exactly if the kind has a `target` (wherever the draw is valid), or if the loss
    is `weighted_l1` with `l1_weights`.
    """

    draw: Callable[..., User]  # population, key, logit_fn, x, space -> User
    utility: Callable[[Any, Array, Array], Array]  # hidden, x, z -> (); the higher, the better
    loss: Callable[[Any, Array, Array], Array]  # hidden, x, z -> (), non-negative; reported, the lower, the better
    label: str  # of the loss, in tables and plots
    features: Callable[[Array, Array], tuple[Array, Array]] | None = None  # x, z -> phi (d,), c ()
    prior: Callable[..., Prior] | None = None  # hp, x, space, reach -> Prior
    check_prior: Callable[[Any], None] | None = None  # hp of the prior; raises ValueError. None: there is no hp
    clip: Callable[[Array], Array] | None = None  # hidden (..., d) -> the nearest in its support. None: all of R^d
    target: Callable[[Any], Array] | None = None  # hidden -> z (d,) of highest utility. None: no closed form
    of_own_changes: bool = False  # the functions of x and z depend on own changes alone: see `in_space`
    of_ideal: bool = False  # `draw` also takes `ideal`, a drawn `User`, so that kinds can share the search for it
    l1_weights: Callable[[Any], Array] | None = None  # hidden -> (d,) of a weighted L1 cost: the loss, or like it
    at: Callable[[Any, Array], Moment] | None = None  # hidden, number of the question from 0 (). None: it has no effect


def in_space(person: Person, fn: Callable[..., Any], space: ActionSpace | None) -> Callable[..., Any]:
    """`fn: (..., x, z) -> ...`, a function of a `person`, as one of recourses of the `space`.

    Where own changes alone count and columns follow others, it is `fn` at `x + space.own_change(x, z)`.
    """
    if space is None or space.relations is None or not person.of_own_changes:
        return fn
    return Partial(_at_own_changes, as_partial(fn), space)


def _at_own_changes(fn: Partial, space: ActionSpace, *args: Any) -> Any:
    *others, x, z = args
    return fn(*others, x, x + own_change(space, x, z))


def prefers_by(utility: Partial, key: Array, x: Array, a: Array, b: Array) -> Array:
    """Whether `a` (d,) has a strictly higher `utility: (x, z) -> ()` than `b` (d,) for the factual `x`: () bool."""
    return utility(x, a) > utility(x, b)


def negative(loss: Callable[[Any, Array, Array], Array]) -> Callable[[Any, Array, Array], Array]:
    """The utility of a kind that is minus its `loss`."""

    def utility(hidden: Any, x: Array, z: Array) -> Array:
        return -loss(hidden, x, z)

    return utility


def root(squared: Array) -> Array:
    """Square root of a sum of squares (); its derivative at 0 is 0."""
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)
