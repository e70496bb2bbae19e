"""Classifiers: a linear model and a multilayer perceptron, as pure functions of their parameters.

Any `(d,) -> ()` callable is a classifier for the rest of the package; these two are the paper's. A linear model is a
perceptron without hidden layers. Weights are (out, in), so that a batch of rows ends up in the last axis of each
product, which is the fast layout.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import hyperparams, is_known, require

_LEAST_STEPS = 600  # 20 epochs of a small data set leave a classifier half trained


class Layer(NamedTuple):
    """One affine layer."""

    weight: Array  # (out, in)
    bias: Array  # (out,)


Params = tuple[Layer, ...]


@hyperparams
class Training:
    """How a classifier is trained; the defaults are the paper's."""

    hidden: tuple[int, ...] = (10, 5, 10)  # width of each hidden layer; () is the linear model
    learning_rate: float = 2e-3  # of RMSprop
    positive_weight: float = 1.0  # weight of a row of class 1 in the loss; below 1 it raises balanced accuracy
    batch_size: int = 256
    num_epochs: int = 20


def init(key: Array, num_columns: int, hidden: tuple[int, ...] = (10, 5, 10)) -> Params:
    """Random parameters for rows of `num_columns`: uniform within 1/sqrt(fan-in), as in PyTorch's linear layer."""
    sizes = (num_columns, *hidden, 1)
    layers = []
    for key_layer, fan_in, fan_out in zip(jax.random.split(key, len(sizes) - 1), sizes[:-1], sizes[1:], strict=True):
        key_weight, key_bias = jax.random.split(key_layer)
        limit = fan_in**-0.5
        weight = jax.random.uniform(key_weight, (fan_out, fan_in), minval=-limit, maxval=limit)
        layers.append(Layer(weight, jax.random.uniform(key_bias, (fan_out,), minval=-limit, maxval=limit)))
    return tuple(layers)


def logit(params: Params, x: Array) -> Array:
    """Logit () of one row `x` (d,); at least 0 means accepted.

    Products are exact float32 on every device: the reduced precision that GPUs use otherwise moves the boundary by more
    than a recourse's margin.
    """
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(jnp.dot(layer.weight, x, precision="highest") + layer.bias)
    return (jnp.dot(last.weight, x, precision="highest") + last.bias)[0]


def classifier(params: Params) -> Partial:
    """Bind `params` to `logit`: a classifier that crosses `jit` without recompiling for new weights."""
    return Partial(logit, params)


def fit(
    hp: Training, key: Array, x: Array, y: Array, penalty: Callable[[Partial, Array], Array] | None = None
) -> Params:
    """Train on rows `x` (n, d) with labels `y` (n,) in {0, 1}, as one scan; `vmap` over `key` trains several at once.

    Binary cross-entropy, RMSprop, a new shuffle each epoch, the rows that don't fill a last batch left out of that
    epoch. The defaults are those of HARE's experiments (TMLR 2025).

    `penalty: (logit_fn, x (d,)) -> ()` is added to each row's loss, as `recourse.cost.penalty` makes one of the cost of
    recourse. None leaves the term out.

    Raises:
        ValueError: those of `check_rows`.
    """
    check_rows(x, y)
    x, y = jnp.asarray(x), jnp.asarray(y)
    num_rows, num_columns = x.shape
    batch_size = min(hp.batch_size, num_rows)
    num_batches = num_rows // batch_size
    key_init, key_shuffle = jax.random.split(key)
    params = init(key_init, num_columns, hp.hidden)
    optimiser = optax.rmsprop(hp.learning_rate, decay=0.99, eps=1e-8, eps_in_sqrt=False)

    def loss_fn(params: Params, rows: Array) -> Array:
        logits = jax.vmap(logit, in_axes=(None, 0))(params, x[rows])
        wanted = y[rows].astype(logits.dtype)
        weight = jnp.where(wanted > 0, hp.positive_weight, 1.0)
        loss = jnp.mean(weight * optax.sigmoid_binary_cross_entropy(logits, wanted))
        return loss if penalty is None else loss + mean_penalty(params, rows, penalty)

    def mean_penalty(params: Params, rows: Array, penalty: Callable) -> Array:
        return jnp.mean(jax.vmap(lambda row: penalty(classifier(params), row))(x[rows]))

    def step(carry: tuple[Params, optax.OptState], rows: Array) -> tuple[tuple[Params, optax.OptState], None]:
        params, state = carry
        updates, state = optimiser.update(jax.grad(loss_fn)(params, rows), state)
        return (optax.apply_updates(params, updates), state), None

    def epoch(carry: tuple[Params, optax.OptState], key: Array) -> tuple[tuple[Params, optax.OptState], None]:
        rows = jax.random.permutation(key, num_rows)[: num_batches * batch_size]
        return jax.lax.scan(step, carry, rows.reshape(num_batches, batch_size))

    keys = jax.random.split(key_shuffle, hp.num_epochs)
    (params, _), _ = jax.lax.scan(epoch, (params, optimiser.init(params)), keys)
    return params


def balanced(y: Array, hidden: tuple[int, ...] = (10, 5, 10)) -> Training:
    """The paper's training for labels `y` (n,), with both classes weighing the same and small data trained for longer.

    Class 1 gets the weight (rows of class 0) / (rows of class 1), so that a lopsided data set doesn't end in a
    classifier that accepts everyone; the epochs are as many as make 600 steps, 20 at least.

    Raises:
        ValueError: a class has no row.

    >>> balanced(jnp.array([0.0, 1.0, 1.0])).positive_weight
    0.5
    """
    num_positive = int(jnp.sum(y == 1))
    require(0 < num_positive < len(y), "y", "must hold both 0 and 1", sorted(set(np.unique(y).tolist())))
    num_batches = max(1, len(y) // Training.batch_size)
    num_epochs = max(Training.num_epochs, math.ceil(_LEAST_STEPS / num_batches))
    weight = (len(y) - num_positive) / num_positive
    return Training(hidden=hidden, positive_weight=weight, num_epochs=num_epochs)


def check_rows(x: Array, y: Array) -> None:
    """Raise a `ValueError` unless `x` is (n, d) without NaN and `y` (n,) holds both 0 and 1.

    Inside `jit` the values are not known, and only the shapes are checked.
    """
    require(x.ndim == 2, "x", "must have shape (n, d)", x.shape)
    require(y.shape == x.shape[:1], "y", f"must have shape ({x.shape[0]},), as x has rows", y.shape)
    if not is_known(x, y):
        return
    labels = np.unique(y)
    require(not np.isnan(x).any(), "x", "must not hold NaN", int(np.isnan(x).sum()))
    require(labels.tolist() == [0, 1], "y", "must hold both 0 and 1 and nothing else", labels[:5].tolist())


def accuracy(logit_fn: Partial, x: Array, y: Array) -> Array:
    """Share () of rows `x` (n, d) that are classified as `y` (n,) says."""
    return jnp.mean((jax.vmap(logit_fn)(x) >= 0) == (y > 0))


def balanced_accuracy(logit_fn: Partial, x: Array, y: Array) -> Array:
    """Mean () of the shares of each class that are classified right; always-approve scores 1/2."""
    accepted = jax.vmap(logit_fn)(x) >= 0
    positive = y > 0
    sensitivity = jnp.sum(accepted & positive) / jnp.sum(positive)
    return (sensitivity + jnp.sum(~accepted & ~positive) / jnp.sum(~positive)) / 2
