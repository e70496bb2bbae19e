"""REVISE: descent in the latent space of an autoencoder, from the factual's code to the accepted side.

Descends `softplus(-logit(decode(z))) + distance_weight * ||decode(z) - x||_1` over codes z. The decoder is given the
factual's immutable columns. Of all points of the descent, the accepted one nearest to x is returned.
"""

from functools import partial

from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, Natural, NonNegative
from hare_jax.models import vae
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.descent import to_boundary
from hare_jax.recourse.latent import Fitted, LatentDescent, own_code, penalised_loss, search
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace


@pytree_dataclass
class Revise:
    """Autoencoder and descent of REVISE."""

    autoencoder: vae.Vae = vae.Vae()
    num_kept: Count = 64  # accepted training rows, at whose codes the descent starts again
    descent: LatentDescent = LatentDescent()
    num_boundary_steps: Natural = 20  # bisections back towards the factual; 0 leaves the decoded point, as published
    margin: NonNegative = MARGIN  # the least logit of a recourse


@on_boundary
def generate(fitted: Fitted[Revise], key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Joshi et al. (2019), https://arxiv.org/abs/1907.09615.

    The published descent has a constant weight of the distance; here it falls while the decoded point is refused.
    Additions are the decoder that is given the immutable columns, the restarts at accepted training rows and the
    boundary search.
    """
    hp, model = fitted.hp, fitted.model
    starts, loss = partial(own_code, model), partial(penalised_loss, model, logit_fn, x, space)
    point = search(hp.descent, logit_fn, starts, loss, fitted.kept, x, space, margin=hp.margin)
    return to_boundary(logit_fn, x, point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)
