"""Variational autoencoders that know the action space: mutable columns are decoded, immutable ones are given.

Notation: `x` is a row (d,), `z` its latent code (k,), `raw` the decoder's output for each column (d,). The encoder's
input is the whole row; the decoder's is `z` and the immutable columns of `x`: it is conditional on them. A column is
modelled by its kind: a number by a normal distribution with a learnt width, a two-level category by a Bernoulli, a
one-hot group by one categorical. Everything is a pure function of one row and of a `Model`; the action space is traced,
so a new one does not recompile.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import Array

from hare_jax.base import check_key, check_row, check_shapes, exact_products, is_known, pytree_dataclass, require
from hare_jax.hyperparams import Count, Counts, NonNegative, Positive, check_fields
from hare_jax.models.network import Params, Perceptron, apply, draw_normal, parameter_shapes
from hare_jax.models.training import Adam, train
from hare_jax.space import ActionSpace, bounds, is_category, is_one, relax, same_feature

_CONSTANT = 1e-5  # a column whose s.d. is less than this share of its mean varies by rounding alone
_CLOSED = -1e9  # logit of a level that is not open
_OTHER_GROUP = -1e30  # never the largest of a group


@pytree_dataclass
class Vae(Adam):
    """The shape of an autoencoder, and how it is trained."""

    hidden: Counts = (32,)  # width of each hidden layer of the encoder; the decoder's are the reverse
    num_latents: Count = 8
    kl_weight: NonNegative = 0.1  # of the divergence from the prior; at 1 a code keeps little of the categories
    least_noise: Positive = 0.02  # the narrowest learnt width, in standard deviations of the column


class Weights(NamedTuple):
    """What is learnt."""

    encoder: Params
    decoder: Params
    log_noise: Array  # (d,) logarithm of the width of numbers, in units of scale


class Model(NamedTuple):
    """A trained autoencoder."""

    hp: Vae
    centre: Array  # (d,) mean of each column
    scale: Array  # (d,) standard deviation of each column
    weights: Weights


def perceptron(params: Params, x: Array) -> Array:
    """Run `x` (in,) through layers with leaky ReLUs between them: (out,)."""
    return apply(params, x, nn.leaky_relu)


def init_perceptron(key: Array, sizes: tuple[int, ...], dtype: jnp.dtype) -> Params:
    """Random parameters of a `perceptron` from `sizes[0]` inputs to `sizes[-1]` outputs."""
    return draw_normal(key, parameter_shapes(Perceptron(sizes[1:], nn.leaky_relu), sizes[0], dtype))


def encode(model: Model, x: Array) -> tuple[Array, Array]:
    """Mean and log standard deviation (num_latents,), (num_latents,) of the code of `x` (d,)."""
    check_shapes(x=(x, model.centre.shape))
    code = perceptron(model.weights.encoder, (x - model.centre) / model.scale)
    return code[: model.hp.num_latents], code[model.hp.num_latents :]


def decode(model: Model, z: Array, x: Array, space: ActionSpace) -> Array:
    """Decode `z` (num_latents,), given the immutable columns of `x` (d,), to `raw` (d,).

    The entry of a number is its mean, in encoded units; that of a category is a logit.
    """
    check_row(x, space)
    check_shapes(z=(z, (model.hp.num_latents,)))
    given = jnp.where(space.mutable, 0, (x - model.centre) / model.scale)
    raw = perceptron(model.weights.decoder, jnp.concatenate([z, given]))
    return jnp.where(is_category(space), raw, model.centre + model.scale * raw)


def mean_row(raw: Array, x: Array, space: ActionSpace) -> Array:
    """The mean (d,) of the distribution `raw` (d,), as a relaxed point within `space.bounds` from `x` (d,).

    Numbers are their means, categories their probabilities among the levels open from `x`; immutables are those of `x`.
    """
    check_row(x, space, raw=raw)
    probability = jnp.exp(_log_softmax(space, jnp.where(is_one(bounds(space, x)[1]), raw, _CLOSED)))
    lower, step = space.lower.astype(x.dtype), space.step.astype(x.dtype)
    two_levels = jnp.where(_is_binary(space), lower, 0) + step * jax.nn.sigmoid(raw)
    point = jnp.where(_is_binary(space), two_levels, jnp.where(space.group >= 0, probability, raw))
    return relax(space, x, point)


def log_likelihood(model: Model, raw: Array, x: Array, space: ActionSpace) -> Array:
    """Log-likelihood () of the mutable columns of `x` (d,) under `raw` (d,); that of numbers in units of `scale`."""
    check_row(x, space, raw=raw)
    noise = jnp.maximum(jnp.exp(model.weights.log_noise), model.hp.least_noise)
    number = jax.scipy.stats.norm.logpdf((x - raw) / model.scale, scale=noise)
    lower = jnp.where(_is_binary(space), space.lower, 0).astype(x.dtype)
    high = jnp.where(_is_binary(space), x - lower > space.step / 2, 0).astype(x.dtype)
    two_levels = -optax.sigmoid_binary_cross_entropy(raw, high)
    level = x * _log_softmax(space, raw)
    each = jnp.where(_is_binary(space), two_levels, jnp.where(space.group >= 0, level, number))
    return jnp.sum(jnp.where(space.mutable, each, 0))


def divergence(mean: Array, log_sd: Array) -> Array:
    """Kullback-Leibler divergence () of a normal code, `mean` (k,) and `log_sd` (k,), from the standard normal."""
    return jnp.sum(jnp.exp(2 * log_sd) + mean**2 - 1 - 2 * log_sd) / 2


def init(hp: Vae, key: Array, rows: Array) -> Model:
    """An untrained autoencoder for rows (n, d), with their means and standard deviations."""
    key_encoder, key_decoder = jax.random.split(key)
    width = rows.shape[1]
    weights = Weights(
        encoder=init_perceptron(key_encoder, (width, *hp.hidden, 2 * hp.num_latents), rows.dtype),
        decoder=init_perceptron(key_decoder, (hp.num_latents + width, *reversed(hp.hidden), width), rows.dtype),
        log_noise=jnp.zeros(width, rows.dtype),
    )
    centre, spread = jnp.mean(rows, axis=0), jnp.std(rows, axis=0)
    constant = spread <= _CONSTANT * jnp.abs(centre)
    return Model(hp, centre, jnp.where(constant, 1, spread), weights)


def fit(hp: Vae, key: Array, rows: Array, space: ActionSpace) -> Model:
    """Train on rows (n, d) by the evidence lower bound. Kingma and Welling (2014), https://arxiv.org/abs/1312.6114.

    A second call with the same shapes and static hyperparameters does not recompile.

    Raises:
        ValueError: those of `check_rows`, or a hyperparameter is out of its range.
    """
    check_fields(hp, Vae)
    check_key(key)
    check_rows(rows)
    return _fit(hp, key, jnp.asarray(rows), space)


class _Context(NamedTuple):
    model: Model
    space: ActionSpace


@jax.jit
def _fit(hp: Vae, key: Array, rows: Array, space: ActionSpace) -> Model:
    key_init, key_train = jax.random.split(key)
    model = init(hp, key_init, rows)
    return model._replace(weights=train(_loss, hp, key_train, model.weights, rows, _Context(model, space)))


def _loss(weights: Weights, key: Array, x: Array, context: _Context) -> tuple[Array, Array]:
    """Negative evidence lower bound of one row, on training rows and on held-out ones."""
    model, space = context.model._replace(weights=weights), context.space
    mean, log_sd = encode(model, x)
    z = mean + jnp.exp(log_sd) * jax.random.normal(key, mean.shape, mean.dtype)
    likelihood = log_likelihood(model, decode(model, z, x, space), x, space)
    loss = model.hp.kl_weight * divergence(mean, log_sd) - likelihood
    return loss, loss


def check_rows(rows: Array) -> None:
    """Raise a `ValueError` unless `rows` is (n, d) with n > 0 and finite; inside `jit` only the shape is checked."""
    require(rows.ndim == 2 and rows.shape[0] > 0, "rows", "must have shape (n, d) with n > 0", rows.shape)
    if is_known(rows):
        bad = int((~np.isfinite(np.asarray(rows))).sum())
        require(bad == 0, "rows", "must be finite", f"{bad} that are not")


def _is_binary(space: ActionSpace) -> Array:
    return is_category(space) & (space.group < 0)


@exact_products
def _log_softmax(space: ActionSpace, raw: Array) -> Array:
    """Log-softmax (d,) of `raw` (d,) within each group; 0 outside of them all."""
    inside = space.group >= 0
    same = same_feature(space) & inside[None, :]
    top = jax.lax.stop_gradient(jnp.max(jnp.where(same, raw[None, :], _OTHER_GROUP), axis=1))
    spread = jnp.where(inside, raw - top, 0)
    total = jnp.where(inside, same.astype(raw.dtype) @ jnp.exp(spread), 1)
    return jnp.where(inside, spread - jnp.log(total), 0)
