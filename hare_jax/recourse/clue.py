"""CLUE: descent in the latent space of an autoencoder, from the factual's code to where the classifier is certain.

Descends `uncertainty(decode(z)) + distance_weight * ||decode(z) - x||_1` over codes z. Uncertainty is the entropy H of
the predicted class, signed so that it falls monotonically from certain refusal to certain acceptance: 2 ln 2 - H where
the prediction is a refusal, H where it is not. Of all points of the descent, the accepted one nearest to x is returned.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, Natural, NonNegative
from hare_jax.models import vae
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.descent import to_boundary
from hare_jax.recourse.latent import Fitted, LatentDescent, decode_point, own_code, search
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, distance


@pytree_dataclass
class Clue:
    """Autoencoder and descent of CLUE."""

    autoencoder: vae.Vae = vae.Vae(kl_weight=0.1)
    num_kept: Count = 64  # accepted training rows, at whose codes the descent starts again
    descent: LatentDescent = LatentDescent(learning_rate=0.2)  # of an uncertainty from 0 to 2 ln 2
    ensemble: Partial | None = None  # classifiers, leaves (members, ...), whose mean is uncertain; None is logit_fn
    num_boundary_steps: Natural = 20  # bisections back towards the factual; 0 leaves the decoded point
    margin: NonNegative = MARGIN  # the least logit of a recourse


@on_boundary
def generate(fitted: Fitted[Clue], key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Antoran et al. (2021), https://arxiv.org/abs/2006.06848.

    CLUE explains uncertainty: plain entropy leads a refused row to certain refusal as readily as to certain acceptance,
    hence the sign, which is an addition, as are the restarts and the boundary search from the decoded point back
    towards `x`.
    """
    hp = fitted.hp
    starts, loss = partial(own_code, fitted.model), partial(_loss, fitted, logit_fn, x, space)
    point = search(hp.descent, logit_fn, starts, loss, fitted.kept, x, space, margin=hp.margin)
    return to_boundary(logit_fn, x, point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)


def member_logits(ensemble: Partial, x: Array) -> Array:
    """Logits (members,) of `x` (d,) under classifiers that are stacked: each leaf of `ensemble` is (members, ...)."""
    return jax.vmap(lambda member: member(x))(ensemble)


def signed_entropy(logits: Array) -> Array:
    """Entropy () in nats of the mean of the probabilities of `logits` (members,), or 2 ln 2 less it if refused.

    Falls from 2 ln 2 for certain refusal by ln 2 at probability 1/2 to 0 for certain acceptance.

    >>> [round(float(signed_entropy(jnp.array([logit]))), 3) for logit in (-20.0, 0.0, 20.0)]
    [1.386, 0.693, 0.0]
    """
    log_members = jnp.log(logits.shape[0])
    accepted = jax.nn.logsumexp(jax.nn.log_sigmoid(logits)) - log_members
    refused = jax.nn.logsumexp(jax.nn.log_sigmoid(-logits)) - log_members
    entropy = -jnp.exp(accepted) * accepted - jnp.exp(refused) * refused
    return jnp.where(accepted >= refused, entropy, 2 * math.log(2) - entropy)


def _loss(
    fitted: Fitted[Clue], logit_fn: LogitFn, x: Array, space: ActionSpace, z: Array, distance_weight: Array
) -> tuple[Array, Array]:
    """Uncertainty and weighted L1 distance () of the relaxed point that code `z` (k,) means, and that point (d,)."""
    ensemble, point = fitted.hp.ensemble, partial(decode_point, fitted.model, x, space)
    logits = logit_fn(point(z))[None] if ensemble is None else member_logits(ensemble, point(z))
    return signed_entropy(logits) + distance_weight * distance(space, x, point(z)), point(z)
