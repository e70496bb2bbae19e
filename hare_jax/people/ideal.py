"""Persons with a hidden ideal: of two recourses the one nearer to it is preferred.

`utility = -||z - ideal||^2 = 2 z . ideal - ||z||^2 + const` is linear in the ideal. HARE (TMLR 2025), set-up. In a
space with relations an ideal keeps them, as every recourse does, and the distance includes the columns that follow.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, exact_products, require
from hare_jax.people.base import Person, Population, User, reachable, root
from hare_jax.recourse import growing_spheres
from hare_jax.space import ActionSpace, bounds, is_category, project, with_own_change

_UNIFORM_VARIANCE = 1 / 12  # of a uniform distribution, in squared widths
_BINARY_VARIANCE = 1 / 4  # of a Bernoulli variable with probability 1/2


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
    noise = jax.random.uniform(key, (hp.num_starts, x.shape[0]), x.dtype, minval=-1.0)
    noise = jnp.where(space.mutable[None, :], noise, 0)
    norm = jnp.maximum(jnp.linalg.norm(noise, axis=1, keepdims=True), jnp.finfo(x.dtype).tiny)
    points = jax.vmap(lambda move: project(space, x, x + move))(hp.distance * noise / norm)
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
def prior(hp: None, x: Array, pool: Recourse, space: ActionSpace, reach: Array | float) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d) of an ideal for `x` (d,), from the `pool` (m, d) of recourses within `reach`.

    They are the moments of the valid members of the pool. To the variance of each mutable column is added the second
    moment, about that mean, of a uniform distribution over the box within `reach`, or, where larger, the variance per
    column of a target point up to `reach` away in a random direction. Columns that follow others follow these changes,
    to first order.
    """
    lower, upper = reachable(x, *bounds(space, x), reach)
    share = pool.valid / jnp.maximum(jnp.sum(pool.valid), 1).astype(x.dtype)
    mean = jnp.where(jnp.any(pool.valid), share @ pool.x, x)
    centred = pool.x - mean[None, :]
    own = (upper - lower) ** 2 * jnp.where(is_category(space), _BINARY_VARIANCE, _UNIFORM_VARIANCE)
    radial = reach**2 / 3 / jnp.maximum(jnp.sum(space.mutable), 1)  # E[r^2] = reach^2 / 3, over all directions
    variance = jnp.maximum(own + ((lower + upper) / 2 - mean) ** 2, radial)
    spread = jnp.diag(jnp.where(space.mutable, variance, 0))
    if space.relations is not None:
        effects = _effects(space, x, mean)
        spread = effects @ spread @ effects.T
    return mean, (centred * share[:, None]).T @ centred + spread


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
