"""CLUE: descent in the latent space of an autoencoder, from the factual's code to where the classifier is sure.

Descends `uncertainty(decode(z)) + distance_weight * ||decode(z) - x||_1` over codes z. Uncertainty is the entropy H of
the predicted class, signed so that it falls all the way from surely refused to surely accepted: 2 ln 2 - H where the
prediction is a refusal, H where it is not. Of all points on the way, the accepted one nearest to x counts.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.models import vae
from hare_jax.recourse.latent import Fitted, search
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace


@hyperparams
class Clue:
    """The autoencoder of CLUE, and how it descends."""

    autoencoder: vae.Vae = vae.Vae(kl_weight=0.1)
    num_kept: int = 64  # accepted training rows, at whose codes the descent starts again
    num_steps: int = 100  # Adam steps of one attempt
    num_attempts: int = 4  # the first starts at the factual's code, the others at those of kept rows
    learning_rate: float = 0.2  # of Adam, in latent units
    distance_weight: float = 0.3  # of the L1 distance at the first step, beside an uncertainty from 0 to 2 ln 2
    distance_decay: float = 0.9  # of that weight after a refused point; it grows as much after an accepted one
    ensemble: Partial | None = None  # classifiers, leaves (members, ...), whose mean is uncertain; None is logit_fn
    num_boundary_steps: int = 20  # bisections back towards the factual; 0 leaves the decoded point
    margin: float = MARGIN  # the least logit of a recourse


def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Antoran et al. (2021), https://arxiv.org/abs/2006.06848.

    CLUE explains doubt: plain entropy leads a refused row to a sure refusal as gladly as to a sure acceptance, hence
    the sign. The restarts and the boundary search from the decoded point back towards `x` are ours, too.
    """
    hp, model = fitted.hp, fitted.model

    def starts(row: Array) -> Array:
        return vae.encode(model, row)[0][None, :]

    def point(z: Array) -> Array:
        return vae.mean_row(vae.decode(model, z, x, space), x, space)

    def loss(z: Array, distance_weight: Array) -> tuple[Array, Array]:
        logits = logit_fn(point(z))[None] if hp.ensemble is None else member_logits(hp.ensemble, point(z))
        return signed_entropy(logits) + distance_weight * jnp.sum(jnp.abs(point(z) - x)), point(z)

    return search(hp, logit_fn, starts, loss, fitted.kept, x, space)


def member_logits(ensemble: Partial, x: Array) -> Array:
    """Logits (members,) of `x` (d,) under classifiers that are stacked: each leaf of `ensemble` is (members, ...)."""
    return jax.vmap(lambda member: member(x))(ensemble)


def signed_entropy(logits: Array) -> Array:
    """Entropy () in nats of the mean of the probabilities that `logits` (members,) stand for, or 2 ln 2 less it.

    Falls from 2 ln 2 for sure refusal by ln 2 for doubt to 0 for sure acceptance.

    >>> [round(float(signed_entropy(jnp.array([logit]))), 3) for logit in (-20.0, 0.0, 20.0)]
    [1.386, 0.693, 0.0]
    """
    log_members = jnp.log(logits.shape[0])
    accepted = jax.nn.logsumexp(jax.nn.log_sigmoid(logits)) - log_members
    refused = jax.nn.logsumexp(jax.nn.log_sigmoid(-logits)) - log_members
    entropy = -jnp.exp(accepted) * accepted - jnp.exp(refused) * refused
    return jnp.where(accepted >= refused, entropy, 2 * math.log(2) - entropy)
