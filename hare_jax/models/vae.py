"""Variational autoencoders that know the action space: what may change is decoded, what may not is given.

Notation: `x` is a row (d,), `z` its latent code, `raw` what the decoder says of each column (d,). The encoder sees the
whole row; the decoder sees `z` and the immutable columns of `x`, so that a code means "somebody like this, who is also
...". A column is modelled by its kind: a number by a normal distribution with a learnt width, a two-level category by
a Bernoulli, a one-hot group by one categorical. Everything is a pure function of one row and of a `Model`; the action
space is traced, so a new one compiles nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from hare_jax.base import hyperparams, is_known, require
from hare_jax.models import Layer, Params
from hare_jax.space import ActionSpace, bounds, is_category, relax, same_feature


@hyperparams
class Vae:
    """The shape of an autoencoder, and how it is trained."""

    hidden: tuple[int, ...] = (32,)  # width of each hidden layer of the encoder; the decoder's are the reverse
    num_latents: int = 8
    kl_weight: float = 0.1  # of the divergence from the prior; at 1 a code keeps little of the categories
    learning_rate: float = 1e-2  # of Adam, at the first step; falls linearly to 0 over all the epochs
    batch_size: int = 128
    num_steps: int = 100  # of an epoch, each with a batch of rows drawn at random; fewer for less than 800 rows
    num_epochs: int = 20  # at most
    patience: int = 4  # epochs without a lower held-out loss before training stops
    largest_slope: float = 10.0  # a longer gradient is shortened to it: rows far out have enormous ones
    least_noise: float = 0.02  # the narrowest learnt width, in standard deviations of the column


class Model(NamedTuple):
    """A trained autoencoder."""

    hp: Vae
    centre: Array  # (d,) mean of each column
    scale: Array  # (d,) standard deviation of each column
    weights: dict[str, Any]  # encoder, decoder: layers; log_noise: (d,) width of numbers in units of scale


def perceptron(layers: Params, x: Array) -> Array:
    """Run `x` (sizes[0],) through dense layers with leaky ReLUs between them: (sizes[-1],)."""
    *hidden, last = layers
    for layer in hidden:
        x = jax.nn.leaky_relu(jnp.dot(layer.weight, x, precision="highest") + layer.bias)
    return jnp.dot(last.weight, x, precision="highest") + last.bias


def init_perceptron(key: Array, sizes: tuple[int, ...], dtype: jnp.dtype) -> Params:
    """Random layers from `sizes[0]` inputs to `sizes[-1]` outputs, all of one draw, which compiles soonest."""
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    ends = np.cumsum([0] + [rows * columns for rows, columns in shapes])
    draw = jax.random.normal(key, (ends[-1],), dtype)
    weights = [draw[a:b].reshape(shape) for a, b, shape in zip(ends[:-1], ends[1:], shapes, strict=True)]
    return tuple(Layer(weight * weight.shape[1] ** -0.5, jnp.zeros(weight.shape[0], dtype)) for weight in weights)


def encode(model: Model, x: Array) -> tuple[Array, Array]:
    """Mean and log standard deviation (num_latents,), (num_latents,) of the code of `x` (d,)."""
    code = perceptron(model.weights["encoder"], (x - model.centre) / model.scale)
    return code[: model.hp.num_latents], code[model.hp.num_latents :]


def decode(model: Model, z: Array, x: Array, space: ActionSpace) -> Array:
    """What code `z` (num_latents,) means for someone with the immutable columns of `x` (d,), as `raw` (d,).

    A number's entry is its mean, in encoded units; a category's is a logit.
    """
    given = jnp.where(space.mutable, 0, (x - model.centre) / model.scale)
    raw = perceptron(model.weights["decoder"], jnp.concatenate([z, given]))
    return jnp.where(is_category(space), raw, model.centre + model.scale * raw)


def mean_row(raw: Array, x: Array, space: ActionSpace) -> Array:
    """The relaxed point (d,) that `raw` (d,) means for someone at `x` (d,), within `space.bounds`.

    Numbers are their means, categories their probabilities among the levels that are open to `x`; immutables are `x`'s.
    """
    probability = jnp.exp(_log_softmax(space, jnp.where(bounds(space, x)[1] > 0.5, raw, -1e9)))
    lower, step = space.lower.astype(x.dtype), space.step.astype(x.dtype)
    two_levels = jnp.where(_is_binary(space), lower, 0) + step * jax.nn.sigmoid(raw)
    point = jnp.where(_is_binary(space), two_levels, jnp.where(space.group >= 0, probability, raw))
    return relax(space, x, point)


def log_likelihood(model: Model, raw: Array, x: Array, space: ActionSpace) -> Array:
    """Log-likelihood () of the mutable columns of `x` (d,) under `raw` (d,); that of numbers in units of `scale`."""
    noise = jnp.maximum(jnp.exp(model.weights["log_noise"]), model.hp.least_noise)
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
    """An untrained autoencoder for rows (n, d), whose columns it measures."""
    key_encoder, key_decoder = jax.random.split(key)
    width = rows.shape[1]
    weights = {
        "encoder": init_perceptron(key_encoder, (width, *hp.hidden, 2 * hp.num_latents), rows.dtype),
        "decoder": init_perceptron(key_decoder, (hp.num_latents + width, *reversed(hp.hidden), width), rows.dtype),
        "log_noise": jnp.zeros(width, rows.dtype),
    }
    centre, spread = jnp.mean(rows, axis=0), jnp.std(rows, axis=0)
    constant = spread <= 1e-5 * jnp.abs(centre)  # of rounding alone
    return Model(hp, centre, jnp.where(constant, 1, spread), weights)


def fit(hp: Vae, key: Array, rows: Array, space: ActionSpace) -> Model:
    """Train on rows (n, d) by the evidence lower bound. Kingma and Welling (2014), https://arxiv.org/abs/1312.6114.

    A second call with the same shapes and static hyperparameters compiles nothing.

    Raises:
        ValueError: those of `check_rows`.
    """
    check_rows(rows)
    return _fit(hp, key, jnp.asarray(rows), space)


@jax.jit
def _fit(hp: Vae, key: Array, rows: Array, space: ActionSpace) -> Model:
    key_init, key_train = jax.random.split(key)
    model = init(hp, key_init, rows)
    return model._replace(weights=train(_loss, hp, key_train, model.weights, rows, (model, space)))


def _loss(weights: dict[str, Any], key: Array, x: Array, context: tuple[Model, ActionSpace]) -> tuple[Array, Array]:
    """Negative evidence lower bound of one row; the same when held out."""
    model, space = context[0]._replace(weights=weights), context[1]
    mean, log_sd = encode(model, x)
    z = mean + jnp.exp(log_sd) * jax.random.normal(key, mean.shape, mean.dtype)
    likelihood = log_likelihood(model, decode(model, z, x, space), x, space)
    loss = model.hp.kl_weight * divergence(mean, log_sd) - likelihood
    return loss, loss


def train(loss_fn: Callable, hp: Vae, key: Array, weights: Any, rows: Any, context: Any) -> Any:
    """The weights with the least held-out loss on the way of Adam down the mean of `loss_fn` over batches of rows.

    `loss_fn(weights, key, row, context)` returns two numbers for one row: the loss that is descended, and the one that
    is watched on the held-out rows, an eighth of all. `rows` and `context` are pytrees, with rows (n, ...) in front.
    Of two players, let each see the other's weights through `stop_gradient`, and descend the sum of their losses. To be
    called under `jit`.
    """
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    every = max(8, num_rows // 2048)
    held = jnp.arange(0, num_rows, every)
    num_steps = min(hp.num_steps, max(16, num_rows // 8))
    key_held, key_epochs = jax.random.split(key)
    adam = optax.adam(optax.linear_schedule(hp.learning_rate, 0, hp.num_epochs * num_steps))
    bounded = optax.chain(optax.clip_by_global_norm(hp.largest_slope), adam)
    optimiser = optax.flatten(bounded)  # one vector compiles sooner than many leaves

    def mean_loss(weights: Any, key: Array, chosen: Array) -> tuple[Array, Array]:
        batch = jax.tree.map(lambda leaf: leaf[chosen], rows)
        keys = jax.random.split(key, chosen.shape[0])
        descended, watched = jax.vmap(loss_fn, in_axes=(None, 0, 0, None))(weights, keys, batch, context)
        return jnp.mean(descended), jnp.mean(watched)

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
        weights, state = carry
        key_rows, key_loss = jax.random.split(key)
        kept = jax.random.randint(key_rows, (min(hp.batch_size, num_rows),), 0, num_rows - held.shape[0])
        chosen = kept + kept // (every - 1) + 1  # skips those held out
        slope, _ = jax.grad(mean_loss, has_aux=True)(weights, key_loss, chosen)
        updates, state = optimiser.update(slope, state)
        return (optax.apply_updates(weights, updates), state), None

    def epoch(carry: tuple) -> tuple:
        index, last, best, least, waited = carry
        keys = jax.random.split(jax.random.fold_in(key_epochs, index), num_steps)
        last, _ = jax.lax.scan(step, last, keys)
        _, loss = mean_loss(last[0], key_held, held)
        better = loss < least
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), last[0], best)
        return index + 1, last, best, jnp.minimum(loss, least), jnp.where(better, 0, waited + 1)

    zero, least = jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, jax.tree.leaves(weights)[0].dtype)
    begin = (zero, (weights, optimiser.init(weights)), weights, least, zero)
    return jax.lax.while_loop(lambda c: (c[0] < hp.num_epochs) & (c[4] < hp.patience), epoch, begin)[2]


def check_rows(rows: Array) -> None:
    """Raise a `ValueError` unless `rows` is (n, d) with n > 0 and finite; inside `jit` only the shape is checked."""
    require(rows.ndim == 2 and rows.shape[0] > 0, "rows", "must have shape (n, d) with n > 0", rows.shape)
    if is_known(rows):
        bad = int((~np.isfinite(np.asarray(rows))).sum())
        require(bad == 0, "rows", "must be finite", f"{bad} that are not")


def _is_binary(space: ActionSpace) -> Array:
    return is_category(space) & (space.group < 0)


def _log_softmax(space: ActionSpace, raw: Array) -> Array:
    """Log-softmax (d,) of `raw` (d,) within each group; 0 outside of them all."""
    inside = space.group >= 0
    same = same_feature(space) & inside[None, :]
    top = jax.lax.stop_gradient(jnp.max(jnp.where(same, raw[None, :], -1e30), axis=1))
    spread = jnp.where(inside, raw - top, 0)
    total = jnp.where(inside, same.astype(raw.dtype) @ jnp.exp(spread), 1)
    return jnp.where(inside, spread - jnp.log(total), 0)
