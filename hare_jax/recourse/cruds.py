"""CRUDS: descent over the few latents that carry the decision, with all other latents of the factual kept.

A conditional subspace autoencoder splits the code of a row into two parts, `z` and `w`. The prior of `w` depends on the
label, that of `z` does not, and an adversary that predicts the label from `z` trains `z` to be independent of it. The
search keeps the factual's `z` and descends `softplus(-logit(decode(z, w))) + distance_weight * ||decode(z, w) - x||_1`
over `w`. Labels are the classifier's own decisions. Notation: a code is the concatenation of `z` and `w`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, Natural, NonNegative
from hare_jax.models import Params, vae
from hare_jax.models.training import train
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.descent import to_boundary
from hare_jax.recourse.latent import Fitted, LatentDescent, keep_accepted, penalised_loss, search
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace

_EVEN = 0.5  # total weight of each of the two labels in the adversary's loss


@pytree_dataclass
class Cruds:
    """Autoencoder and descent of CRUDS."""

    autoencoder: vae.Vae = vae.Vae(kl_weight=0.5)  # its latents are z and w together
    num_labelled: Count = 2  # latents of w
    separation: NonNegative = 3.0  # between the means of w's prior for refused and for accepted rows, in each latent
    entropy_weight: NonNegative = 5.0  # of the adversary's entropy, in nats of the likelihood
    num_kept: Count = 64  # accepted training rows, at whose codes the descent starts again
    num_starts: Count = 4  # descents of one attempt: from the row's own w, and from draws of accepted rows' prior
    descent: LatentDescent = LatentDescent(learning_rate=0.2)  # over w; from the second attempt on, over z as well
    num_boundary_steps: Natural = 20  # bisections back towards the factual; 0 leaves the decoded point, as published
    margin: NonNegative = MARGIN  # the least logit of a recourse


class _Example(NamedTuple):
    """A training row for the autoencoder and the adversary, or all of them with an axis in front."""

    x: Array  # (d,)
    label: Array  # () 1 where the classifier accepts the row, else 0
    weight: Array  # () of the row in the adversary's loss


class _Context(NamedTuple):
    """What the training loss has beside the weights and the row."""

    hp: Cruds
    model: vae.Model
    space: ActionSpace


def fit(hp: Cruds, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted[Cruds]:
    """Train the autoencoder on `rows` (n, d) and the classifier's decisions, and keep some rows that it accepts.

    Klys, Snell and Zemel (2018), https://arxiv.org/abs/1812.06190. The encoder of `w` needs no label beside the row,
    which determines it. The priors of `w` are fixed normal distributions of width 1, and the adversary gives refused
    and accepted rows the same total weight, so that its entropy is greatest where `z` is independent of the label.
    """
    vae.check_rows(rows)
    key_model, key_kept = jax.random.split(key)
    rows = jnp.asarray(rows)
    model = _fit(hp, key_model, rows, _decide(logit_fn, rows), space)
    return Fitted(hp, model, keep_accepted(key_kept, logit_fn, rows, hp.num_kept))


@on_boundary
def generate(fitted: Fitted[Cruds], key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Downs et al. (2020), ICML workshop, https://finale.seas.harvard.edu.

    https://finale.seas.harvard.edu/files/finale/files/cruds-_counterfactual_recourse_using_disentangled_subspaces.pdf

    The published search has one random start, squared distances, and ends at a decoded point. Where no `w` is found
    that is accepted together with the factual's `z`, this version goes on from accepted training rows, over `z` and
    `w`.
    """
    hp, model = fitted.hp, fitted.model
    drawn = jax.random.normal(key, (hp.num_starts - 1, hp.num_labelled), x.dtype) + hp.separation
    starts, loss = partial(_codes, hp, model, drawn), partial(penalised_loss, model, logit_fn, x, space)
    point = search(hp.descent, logit_fn, starts, loss, fitted.kept, x, space, margin=hp.margin, held=_is_z(hp))
    return to_boundary(logit_fn, x, point, space, margin=hp.margin, num_steps=hp.num_boundary_steps)


def _num_z(hp: Cruds) -> int:
    return hp.autoencoder.num_latents - hp.num_labelled


def _is_z(hp: Cruds) -> Array:
    """Which latents (k,) of a code belong to `z`."""
    return jnp.arange(hp.autoencoder.num_latents) < _num_z(hp)


def _codes(hp: Cruds, model: vae.Model, drawn: Array, row: Array) -> Array:
    """Codes (num_starts, k) with the `z` of `row` (d,): with its own `w` and with each of those `drawn`."""
    z, w = jnp.split(vae.encode(model, row)[0], [_num_z(hp)])
    every_w = jnp.concatenate([w[None, :], drawn])
    return jnp.concatenate([jnp.tile(z, (hp.num_starts, 1)), every_w], axis=1)


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
    sizes = (_num_z(hp), *hp.autoencoder.hidden, 1)
    players = _Players(model.weights, vae.init_perceptron(key_adversary, sizes, rows.dtype))
    examples, context = _Example(rows, labels, _balance(labels)), _Context(hp, model, space)
    return model._replace(weights=train(_loss, hp.autoencoder, key_train, players, examples, context).autoencoder)


def _balance(labels: Array) -> Array:
    """Weights (n,) of rows with 0/1 `labels` (n,), such that both labels have the same weight in all."""
    return _EVEN / jnp.where(labels > 0, jnp.mean(labels), jnp.mean(1 - labels))


def _loss(players: _Players, key: Array, example: _Example, context: _Context) -> tuple[Array, Array]:
    """Loss () of the autoencoder and of the adversary together for one row, and that of the autoencoder alone ().

    Each of them sees the other through `stop_gradient`, so that descending the sum trains both.
    """
    hp, adversary = context.hp, players.adversary
    context = context._replace(model=context.model._replace(weights=players.autoencoder))
    code, bound = _evidence(key, example, context)
    z = code[: _num_z(hp)]
    entropy = _bernoulli_entropy(vae.perceptron(jax.lax.stop_gradient(adversary), z)[0])
    loss = bound - hp.entropy_weight * entropy
    guess = vae.perceptron(adversary, jax.lax.stop_gradient(z))[0]
    return loss + example.weight * optax.sigmoid_binary_cross_entropy(guess, example.label), loss


def _evidence(key: Array, example: _Example, context: _Context) -> tuple[Array, Array]:
    """A random code (k,) of the row, and its negative evidence lower bound () under the prior of its label."""
    hp, model, space = context
    mean, log_sd = vae.encode(model, example.x)
    code = mean + jnp.exp(log_sd) * jax.random.normal(key, mean.shape, mean.dtype)
    divergence = vae.divergence(mean - jnp.where(_is_z(hp), 0, hp.separation * example.label), log_sd)
    likelihood = vae.log_likelihood(model, vae.decode(model, code, example.x, space), example.x, space)
    return code, hp.autoencoder.kl_weight * divergence - likelihood


def _bernoulli_entropy(logit: Array) -> Array:
    """Entropy () in nats of a label whose probability has this `logit` ()."""
    return jax.nn.softplus(logit) - logit * jax.nn.sigmoid(logit)
