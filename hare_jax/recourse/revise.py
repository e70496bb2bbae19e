"""REVISE: descent in the latent space of an autoencoder, from the factual's code to the accepted side.

Descends `softplus(-logit(decode(z))) + cost_weight * ||decode(z) - x||_1` over codes z. The decoder is told the
factual's immutable columns. Of all points on the way, the accepted one nearest to x counts.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.models import vae
from hare_jax.recourse.latent import Fitted, search
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace


@hyperparams
class Revise:
    """The autoencoder of REVISE, and how it descends."""

    autoencoder: vae.Vae = vae.Vae()
    num_kept: int = 64  # accepted training rows, at whose codes the descent starts again
    num_steps: int = 100  # Adam steps of one attempt
    num_attempts: int = 4  # the first starts at the factual's code, the others at those of kept rows
    learning_rate: float = 0.1  # of Adam, in latent units
    distance_weight: float = 0.3  # of the L1 distance at the first step, beside the classifier's loss
    distance_decay: float = 0.9  # of that weight after a refused point; it grows as much after an accepted one
    num_boundary_steps: int = 20  # bisections back towards the factual; 0 leaves the decoded point, as published
    margin: float = MARGIN  # the least logit of a recourse


def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Joshi et al. (2019), https://arxiv.org/abs/1907.09615.

    The published descent keeps one weight for the distance; ours lets it fall while the decoded point is refused. The
    decoder that knows the immutable columns, the restarts at accepted training rows and the boundary search are ours.
    """
    model = fitted.model

    def starts(row: Array) -> Array:
        return vae.encode(model, row)[0][None, :]

    def loss(z: Array, distance_weight: Array) -> tuple[Array, Array]:
        point = vae.mean_row(vae.decode(model, z, x, space), x, space)
        return jax.nn.softplus(-logit_fn(point)) + distance_weight * jnp.sum(jnp.abs(point - x)), point

    return search(fitted.hp, logit_fn, starts, loss, fitted.kept, x, space)
