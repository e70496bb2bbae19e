"""Persons with a hidden ideal: of two recourses the one nearer to it is preferred.

`utility = -||z - ideal||^2 = 2 z . ideal - ||z||^2 + const` is linear in the ideal. HARE (TMLR 2025), set-up. In a
space with relations an ideal keeps them, as every recourse does, and the distance includes the columns that follow.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr

from hare_jax.base import LogitFn, exact_products, require
from hare_jax.people import levels
from hare_jax.people.base import Person, Population, Prior, User, root
from hare_jax.people.marginals import clipped_normal, moments
from hare_jax.recourse import growing_spheres
from hare_jax.solvers.directions import uniform_moves
from hare_jax.space import ActionSpace, bounds, is_category, is_follower, project, with_own_change

_LEAST_SWITCH = 0.1  # prior probability of each value of a category


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw a hidden ideal for `x` (d,): the recourse nearest to a random point at the population's distance.

    HARE (TMLR 2025), experimental set-up. Here the ideal is itself an allowed and accepted recourse, where the original
    clips it afterwards and does not re-evaluate the classifier.
    """
    key_start, key_spheres = jax.random.split(key)
    start, refused = refused_start(hp, key_start, logit_fn, x, space)
    found = growing_spheres.search(hp.spheres, key_spheres, logit_fn, start, x, space)
    return User(found.x, found.valid & refused)


def given_or_drawn(
    hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, ideal: User | None
) -> tuple[User, Array]:
    """The `ideal`, or one that is drawn, and a key () for the other parameters of a kind that has an ideal."""
    key_ideal, key_others = jax.random.split(key)
    return draw(hp, key_ideal, logit_fn, x, space) if ideal is None else ideal, key_others


def refused_start(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> tuple[Array, Array]:
    """Perturb the mutable columns of `x` (d,) by a uniform direction of the population's L2 distance.

    The points are projected onto the action space. Returns the first of `num_starts` points that the classifier
    refuses, and whether there is one; `x` if there is none.
    """
    moves = uniform_moves(key, jnp.full(hp.num_starts, hp.distance, x.dtype), space)
    points = jax.vmap(lambda move: project(space, x, x + move))(moves)
    refused = jax.vmap(logit_fn)(points) < 0
    return jnp.where(jnp.any(refused), points[jnp.argmax(refused)], x), jnp.any(refused)


def utility(ideal: Array, x: Array, z: Array) -> Array:
    """`-||z - ideal||^2`: ()."""
    return -jnp.sum((z - ideal) ** 2)


def loss(ideal: Array, x: Array, z: Array) -> Array:
    """Distance `||z - ideal||` to the ideal (d,): (); its derivative at the ideal itself is 0."""
    return root(jnp.sum((z - ideal) ** 2))


def features(x: Array, z: Array) -> tuple[Array, Array]:
    """`phi = 2 z` (d,) and `c = -||z||^2` (): the utility is `phi . ideal + c`, up to a constant."""
    return 2 * z, -jnp.sum(z * z)


def target(ideal: Array) -> Array:
    """The point (d,) of highest utility: the ideal itself."""
    return ideal


def check_prior(hp: None) -> None:
    """The prior of an ideal has no hyperparameters.

    Raises:
        ValueError: some are given.
    """
    require(hp is None, "ideal prior", "has no hyperparameters", hp)


@exact_products
def prior(hp: None, x: Array, space: ActionSpace, reach: Array | float) -> Prior:
    """Prior of an ideal for `x` (d,): a point at about the distance `reach` in a random direction, made feasible."""
    lower, upper = bounds(space, x)
    sd = reach / jnp.sqrt(jnp.maximum(jnp.sum(space.mutable), 1).astype(x.dtype)) * jnp.ones_like(x)
    marginals = clipped_normal(x, sd, lower, upper)
    middle = (lower + upper) / 2
    switched = jnp.stack([log_ndtr((middle - x) / sd), log_ndtr((x - middle) / sd)], -1)
    category = is_category(space)
    marginals = marginals._replace(
        log_mass=jnp.where(category[:, None], jnp.maximum(switched, jnp.log(_LEAST_SWITCH)), marginals.log_mass),
        log_inside=jnp.where(category, -jnp.inf, marginals.log_inside),
    )
    mean, variance = moments(marginals)
    varies = space.mutable & (upper > lower)
    of_category = levels.of_space(space, varies, marginals.log_mass[:, -1])
    grouped = of_category.group >= 0
    probability, together = levels.moments(of_category)
    mean = jnp.where(grouped, probability, jnp.where(varies, mean, x))
    spread = together + jnp.diag(jnp.where(varies & ~grouped, variance, 0))
    varies &= ~grouped
    if space.relations is not None:
        effects = _effects(space, x, mean)
        mean = with_own_change(
            space._replace(step=jnp.zeros_like(space.step)), x, jnp.where(space.mutable, mean - x, 0)
        )
        spread = effects @ spread @ effects.T
        varies &= ~is_follower(space)
    return Prior(mean, spread, marginals, varies, of_category)


def _effects(space: ActionSpace, x: Array, mean: Array) -> Array:
    """Derivative (d, d) of all columns in the own changes from `x` (d,) at `mean` (d,), by formulas without steps."""
    smooth = space._replace(step=jnp.zeros_like(space.step))
    own = jnp.where(space.mutable, mean - x, 0)
    slopes = jax.jacfwd(partial(with_own_change, smooth, x))(own)
    return jnp.where(jnp.isfinite(slopes), slopes, 0)


def prefers_nearer(ideal: Array, key: Array, x: Array, a: Array, b: Array) -> Array:
    """Whether `a` (d,) is strictly nearer to `ideal` (d,) in L2 than `b` (d,): () bool."""
    return utility(ideal, x, a) > utility(ideal, x, b)


PERSON = Person(
    draw=draw,
    utility=utility,
    loss=loss,
    label="distance to ideal",
    features=features,
    prior=prior,
    check_prior=check_prior,
    target=target,
)
