"""CRUDS: descent over the few latents that carry the decision, with all that makes the person who they are kept.

A conditional subspace autoencoder splits the code of a row in two. The prior of `w` depends on the label, that of `z`
does not, and an adversary that guesses the label from `z` sees to it that `z` does not tell. A recourse keeps the
factual's `z` and descends `softplus(-logit(decode(z, w))) + distance_weight * ||decode(z, w) - x||_1` over `w`. Labels
are the classifier's own decisions. Notation: a code is `z` and then `w`, one after the other.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.models import Params, vae
from hare_jax.models.training import train
from hare_jax.recourse.latent import Fitted, keep_accepted, search
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace


@hyperparams
class Cruds:
    """The autoencoder of CRUDS, and how it descends."""

    autoencoder: vae.Vae = vae.Vae(kl_weight=0.5)  # its latents are z and w together
    num_labelled: int = 2  # latents of w
    separation: float = 3.0  # between the means of w's prior for refused and for accepted rows, in each latent
    entropy_weight: float = 5.0  # of the adversary's entropy, in nats of the likelihood
    num_kept: int = 64  # accepted training rows, at whose codes the descent starts again
    num_starts: int = 4  # descents of one attempt: from the row's own w, and from draws of accepted rows' prior
    num_steps: int = 100  # Adam steps of one descent
    num_attempts: int = 4  # the first keeps the factual's z, the others begin with a kept row's and move it
    learning_rate: float = 0.2  # of Adam, in latent units
    distance_weight: float = 0.3  # of the L1 distance at the first step, beside the classifier's loss
    distance_decay: float = 0.9  # of that weight after a refused point; it grows as much after an accepted one
    num_boundary_steps: int = 20  # bisections back towards the factual; 0 leaves the decoded point, as published
    margin: float = MARGIN  # the least logit of a recourse


def fit(hp: Cruds, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted:
    """Train the autoencoder on `rows` (n, d) and the classifier's decisions, and keep some rows that it accepts.

    Klys, Snell and Zemel (2018), https://arxiv.org/abs/1812.06190. The encoder of `w` needs no label beside the row,
    which decides it. The priors of `w` are fixed normal distributions of width 1, and the adversary gives refused and
    accepted rows the same weight in all, so that its doubt is greatest where `z` tells nothing.
    """
    vae.check_rows(rows)
    key_model, key_kept = jax.random.split(key)
    rows = jnp.asarray(rows)
    model = _fit(hp, key_model, rows, _decide(logit_fn, rows), space)
    return Fitted(hp, model, keep_accepted(key_kept, logit_fn, rows, hp.num_kept))


def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Downs et al. (2020), ICML workshop, https://finale.seas.harvard.edu.

    https://finale.seas.harvard.edu/files/finale/files/cruds-_counterfactual_recourse_using_disentangled_subspaces.pdf

    The published search has one random start, squared distances, and ends at a decoded point. Where it finds no `w`
    that is accepted together with the factual's `z`, ours goes on from accepted training rows, over `z` and `w`.
    """
    hp, model = fitted.hp, fitted.model
    num_private = hp.autoencoder.num_latents - hp.num_labelled
    drawn = jax.random.normal(key, (hp.num_starts - 1, hp.num_labelled), x.dtype) + hp.separation

    def starts(row: Array) -> Array:
        z, w = jnp.split(vae.encode(model, row)[0], [num_private])
        w = jnp.concatenate([w[None, :], drawn])
        return jnp.concatenate([jnp.tile(z, (hp.num_starts, 1)), w], axis=1)

    def loss(code: Array, distance_weight: Array) -> tuple[Array, Array]:
        point = vae.mean_row(vae.decode(model, code, x, space), x, space)
        return jax.nn.softplus(-logit_fn(point)) + distance_weight * jnp.sum(jnp.abs(point - x)), point

    is_z = jnp.arange(hp.autoencoder.num_latents) < num_private
    return search(hp, logit_fn, starts, loss, fitted.kept, x, space, held=is_z)


class _Players(NamedTuple):
    """What the two players of the game learn."""

    autoencoder: vae.Weights
    adversary: Params  # of a `vae.perceptron` from z to the logit of the label


@jax.jit
def _decide(logit_fn: LogitFn, rows: Array) -> Array:
    return (jax.vmap(logit_fn)(rows) >= 0).astype(rows.dtype)


@jax.jit
def _fit(hp: Cruds, key: Array, rows: Array, labels: Array, space: ActionSpace) -> vae.Model:
    key_init, key_adversary, key_train = jax.random.split(key, 3)
    model = vae.init(hp.autoencoder, key_init, rows)
    sizes = (hp.autoencoder.num_latents - hp.num_labelled, *hp.autoencoder.hidden, 1)
    players = _Players(model.weights, vae.init_perceptron(key_adversary, sizes, rows.dtype))
    rarity = 0.5 / jnp.where(labels > 0, jnp.mean(labels), jnp.mean(1 - labels))
    players = train(_loss, hp.autoencoder, key_train, players, (rows, labels, rarity), (hp, model, space))
    return model._replace(weights=players.autoencoder)


def _loss(players: _Players, key: Array, row: tuple[Array, Array, Array], context: tuple) -> tuple[Array, Array]:
    """Of a row, its label and how rare that is: the losses of both players together, and that of the autoencoder."""
    (x, label, rarity), (hp, model, space) = row, context
    model = model._replace(weights=players.autoencoder)
    mean, log_sd = vae.encode(model, x)
    code = mean + jnp.exp(log_sd) * jax.random.normal(key, mean.shape, mean.dtype)
    is_z = jnp.arange(mean.shape[0]) < mean.shape[0] - hp.num_labelled
    z = code[: mean.shape[0] - hp.num_labelled]
    divergence = vae.divergence(mean - jnp.where(is_z, 0, hp.separation * label), log_sd)
    likelihood = vae.log_likelihood(model, vae.decode(model, code, x, space), x, space)
    guess = vae.perceptron(jax.lax.stop_gradient(players.adversary), z)[0]
    entropy = jax.nn.softplus(guess) - guess * jax.nn.sigmoid(guess)
    loss = hp.autoencoder.kl_weight * divergence - likelihood - hp.entropy_weight * entropy
    guess = vae.perceptron(players.adversary, jax.lax.stop_gradient(z))[0]
    return loss + rarity * optax.sigmoid_binary_cross_entropy(guess, label), loss
