"""Simulated users: what a person wants and does not say, and how they answer.

A user holds an ideal recourse or weights of cost, both hidden; `Partial(prefers_nearer, ideal)` or
`Partial(prefers_cheaper, weights)` is the `Prefers` that answers for them. Noise wraps one `Prefers` into another.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Prefers, Recourse, hyperparams
from hare_jax.recourse import growing_spheres
from hare_jax.space import ActionSpace, project, weighted_l1

DISTANCES = {"near": 0.2, "intermediate": 0.8, "far": 1.5}
_WEIGHT_CENTRES = (0.2, 1.0, 2.0, 3.0, 4.0)


@hyperparams
class Population:
    """How simulated users are drawn."""

    distance: float = 1.5  # L2 norm of the perturbation that an ideal starts from: near 0.2, intermediate 0.8, far 1.5
    num_starts: int = 32  # perturbations tried until one is still refused
    spheres: growing_spheres.GrowingSpheres = growing_spheres.GrowingSpheres()


class User(NamedTuple):
    """What one person hides."""

    ideal: Recourse  # the recourse they dream of; valid = it is allowed and accepted
    weights: Array  # (d,) cost of a unit of change of each column


def draw(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> User:
    """Draw the user who stands at `x` (d,), independently of every other key."""
    key_ideal, key_weights = jax.random.split(key)
    return User(hidden_ideal(hp, key_ideal, logit_fn, x, space), cost_weights(key_weights, x))


def hidden_ideal(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Draw a hidden ideal for `x` (d,): the recourse nearest to a random point at the population's distance.

    HARE (TMLR 2025), experimental set-up. Here the ideal is itself an allowed and accepted recourse, where the original
    clips it afterwards and never asks the classifier again.
    """
    key_start, key_spheres = jax.random.split(key)
    start, refused = refused_start(hp, key_start, logit_fn, x, space)
    ideal = growing_spheres.search(hp.spheres, key_spheres, logit_fn, start, x, space)
    return Recourse(ideal.x, ideal.valid & refused)


def refused_start(hp: Population, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> tuple[Array, Array]:
    """Perturb the mutable columns of `x` (d,) by a uniform direction of the population's L2 distance.

    The points are projected onto the action space. Returns the first of `num_starts` points that the classifier still
    refuses, and whether there is one; `x` if not.
    """
    noise = jax.random.uniform(key, (hp.num_starts, x.shape[0]), x.dtype, minval=-1.0)
    noise = jnp.where(space.mutable[None, :], noise, 0)
    norm = jnp.maximum(jnp.linalg.norm(noise, axis=1, keepdims=True), jnp.finfo(x.dtype).tiny)
    points = jax.vmap(lambda move: project(space, x, x + move))(hp.distance * noise / norm)
    refused = jax.vmap(logit_fn)(points) < 0
    return jnp.where(jnp.any(refused), points[jnp.argmax(refused)], x), jnp.any(refused)


def cost_weights(key: Array, x: Array) -> Array:
    """Draw hidden cost weights (d,) for the columns of `x` (d,): `clip(centre + N(0, 1), 0.1, 5)`, centre one of five.

    The centres are 0.2, 1, 2, 3 and 4, each as likely. HARE (TMLR 2025), experimental set-up.
    """
    key_centre, key_noise = jax.random.split(key)
    centre = jax.random.choice(key_centre, jnp.array(_WEIGHT_CENTRES, x.dtype), x.shape)
    return jnp.clip(centre + jax.random.normal(key_noise, x.shape, x.dtype), 0.1, 5.0)


def prefers_nearer(ideal: Array, key: Array, x: Array, a: Array, b: Array) -> Array:
    """Whether `a` (d,) is strictly nearer to `ideal` (d,) in L2 than `b` (d,): () bool."""
    return jnp.sum((a - ideal) ** 2) < jnp.sum((b - ideal) ** 2)


def prefers_cheaper(weights: Array, key: Array, x: Array, a: Array, b: Array) -> Array:
    """Whether the change from `x` to `a` (d,) costs strictly less than to `b` (d,): `sum_j weights_j |a_j - x_j|`."""
    return weighted_l1(weights, x, a) < weighted_l1(weights, x, b)


def flipped(probability: Array, prefers: Prefers, key: Array, x: Array, a: Array, b: Array) -> Array:
    """The answer of `prefers`, turned round with `probability` () (Bernoulli noise)."""
    key_answer, key_flip = jax.random.split(key)
    return prefers(key_answer, x, a, b) ^ (jax.random.uniform(key_flip) < probability)


def logistic_flipped(prefers: Prefers, key: Array, x: Array, a: Array, b: Array) -> Array:
    """The answer of `prefers`, turned round with probability `sigmoid(-2 (||a - b||_2 + 1))`, at most 0.119."""
    return flipped(jax.nn.sigmoid(-2 * (jnp.linalg.norm(a - b) + 1)), prefers, key, x, a, b)
