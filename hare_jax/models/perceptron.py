"""Classifiers: a linear model and a multilayer perceptron, as pure functions of their parameters.

Any `(d,) -> ()` callable is a classifier for the rest of the package; these two are the paper's. A linear model is a
perceptron without hidden layers. The network itself is `network.Perceptron`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from jax.typing import DTypeLike

from hare_jax.base import Bound, check_key, check_leaves, check_shapes, is_known, pytree_dataclass, require
from hare_jax.hyperparams import Count, Counts, Positive, Share, check_fields
from hare_jax.models.network import Params, Perceptron, apply, draw_uniform, parameter_shapes, to_layers
from hare_jax.models.training import State, descend

Penalty = Callable[[Any, Array, Partial, Array], Array]  # given (a row of `fit`'s), key, logit_fn, x (d,) -> ()

_LEAST_STEPS = 600  # 20 epochs of a small data set leave a classifier half trained
_DECAY, _EPSILON = 0.99, 1e-8  # of RMSprop, as in PyTorch


@pytree_dataclass
class Training:
    """How a classifier is trained; the defaults are the paper's."""

    hidden: Counts = (10, 5, 10)  # width of each hidden layer; () is the linear model
    learning_rate: Positive = 2e-3  # of RMSprop
    positive_weight: Positive = 1.0  # weight of a row of class 1 in the loss; below 1 it raises balanced accuracy
    batch_size: Count = 256
    num_epochs: Count = 20
    warmup: Share = 1 / 3  # share of the epochs, at the start, without the penalty


@jax.tree_util.register_pytree_node_class
class Classifier(Bound):
    """A `Partial` of `logit` and its parameters that prints their widths: `Classifier(13-10-5-10-1)`."""

    def __repr__(self) -> str:
        shapes = [np.shape(layer.weight) for layer in to_layers(self.args[0])]
        if min(map(len, shapes)) < 2:  # a tree of something else than weights, such as of axes
            return super().__repr__()
        widths = [shapes[0][-1], *(shape[-2] for shape in shapes)]
        return f"Classifier({'-'.join(map(str, widths))})"


def init(key: Array, num_columns: int, hidden: tuple[int, ...] = (10, 5, 10), dtype: DTypeLike = float) -> Params:
    """Random parameters for rows of `num_columns`: uniform within 1/sqrt(fan-in), as in PyTorch's linear layer."""
    return draw_uniform(key, parameter_shapes(Perceptron((*hidden, 1)), num_columns, dtype))


def logit(params: Params, x: Array) -> Array:
    """Logit () of one row `x` (d,); at least 0 means accepted. Products are exact float32 on every device.

    Raises:
        ValueError: `x` is no row of the classifier's width.
    """
    check_shapes(x=(x, to_layers(params)[0].weight.shape[-1:]))
    return apply(params, x)[0]


def classifier(params: Params) -> Classifier:
    """Bind `params` to `logit`: a classifier that crosses `jit` without recompiling for new weights.

    Raises:
        ValueError: the last layer has more than one output.

    >>> from hare_jax.models import from_layers
    >>> classifier(from_layers([([[1.0, -2.0]], [0.5])]))
    Classifier(2-1)
    """
    shape = np.shape(to_layers(params)[-1].bias)
    require(shape[-1] == 1, "params", "must have one output, the logit", shape)
    return Classifier(logit, params)


def fit(hp: Training, key: Array, x: Array, y: Array, penalty: Penalty | None = None, given: Any = None) -> Params:
    """Train on rows `x` (n, d) with labels `y` (n,) in {0, 1}, as one scan; `vmap` over `key` trains several at once.

    Binary cross-entropy, RMSprop, a new shuffle each epoch, the rows that don't fill a last batch left out of that
    epoch. The defaults are those of HARE's experiments (TMLR 2025).

    `penalty: (given, key, logit_fn, x (d,)) -> ()` is added to each row's loss, as `recourse.cost.penalty` makes one of
    the cost of recourse; None leaves the term out. `given` is a pytree with leaves (n, ...), whose row i is passed with
    row i of `x`, such as the hidden parameters of a person; `key` is another one for each row and step. The penalty is
    0 in the warm-up: added from the start, it ends in poor local minima.

    Raises:
        ValueError: those of `check_rows`, a leaf of `given` has not one entry per row, or a hyperparameter is out of
            its range.
    """
    check_fields(hp, Training)
    check_key(key)
    check_rows(x, y)
    check_leaves(given=(given, len(x)))
    rows = _Rows(jnp.asarray(x), jnp.asarray(y), jax.tree.map(jnp.asarray, given))
    batch_size = min(hp.batch_size, len(x))
    key_init, key_shuffle, key_penalty = jax.random.split(key, 3)
    optimiser = optax.rmsprop(hp.learning_rate, decay=_DECAY, eps=_EPSILON, eps_in_sqrt=False)
    slope = jax.grad(_mean_loss)

    def step(state: State, batch: _Batch) -> tuple[State, None]:
        return descend(optimiser, state, slope(state.weights, hp, rows, batch, penalty)), None

    def epoch(state: State, epoch: _Epoch) -> tuple[State, None]:
        return jax.lax.scan(step, state, _shuffle(epoch, len(x), batch_size))

    params = init(key_init, rows.x.shape[1], hp.hidden, _float_dtype(rows.x))
    start = State(params, optimiser.init(params))
    return jax.lax.scan(epoch, start, _epochs(hp, key_shuffle, key_penalty))[0].weights


class _Rows(NamedTuple):
    """Labelled rows."""

    x: Array  # (n, d)
    y: Array  # (n,) 0 or 1
    given: Any  # leaves (n, ...), for the penalty


class _Epoch(NamedTuple):
    """What differs between the epochs; with an axis in front, all of them."""

    key_shuffle: Array  # ()
    key_penalty: Array  # ()
    penalised: Array  # () bool: not in the warm-up


class _Batch(NamedTuple):
    """The rows of one step, and the key of their penalties; with an axis in front, the steps of an epoch."""

    chosen: Array  # (batch_size,) int
    key: Array  # ()
    penalised: Array  # () bool


def _epochs(hp: Training, key_shuffle: Array, key_penalty: Array) -> _Epoch:
    """All epochs."""
    keys, keys_penalty = jax.random.split(key_shuffle, hp.num_epochs), jax.random.split(key_penalty, hp.num_epochs)
    return _Epoch(keys, keys_penalty, jnp.arange(hp.num_epochs) >= hp.warmup * hp.num_epochs)


def _shuffle(epoch: _Epoch, num_rows: int, batch_size: int) -> _Batch:
    """The batches of an epoch."""
    num_batches = num_rows // batch_size
    chosen = jax.random.permutation(epoch.key_shuffle, num_rows)[: num_batches * batch_size]
    keys = jax.random.split(epoch.key_penalty, num_batches)
    return _Batch(chosen.reshape(num_batches, batch_size), keys, jnp.full(num_batches, epoch.penalised))


def _float_dtype(x: Array) -> DTypeLike:
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else float


def _mean_loss(params: Params, hp: Training, rows: _Rows, batch: _Batch, penalty: Penalty | None) -> Array:
    """Mean () over `batch` of the weighted cross-entropy, plus that of the penalty."""
    x, y, given = jax.tree.map(lambda leaf: leaf[batch.chosen], rows)
    logits = jax.vmap(logit, in_axes=(None, 0))(params, x)
    wanted = y.astype(logits.dtype)
    weight = jnp.where(wanted > 0, hp.positive_weight, 1.0)
    loss = jnp.mean(weight * optax.sigmoid_binary_cross_entropy(logits, wanted))
    if penalty is None:
        return loss
    keys = jax.random.split(batch.key, x.shape[0])
    penalties = jax.vmap(penalty, in_axes=(0, 0, None, 0))(given, keys, classifier(params), x)
    return loss + batch.penalised * jnp.mean(penalties)


def balanced(y: Array, hidden: tuple[int, ...] = (10, 5, 10)) -> Training:
    """The paper's training for labels `y` (n,), with equal total weights of both classes and more epochs for few rows.

    Class 1 has the weight (rows of class 0) / (rows of class 1), so that an imbalanced data set doesn't end in a
    classifier that accepts every row; the epochs are as many as make 600 steps, 20 at least.

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
    check_shapes(x=(x, (None, None)), y=(y, x.shape[:1]))
    return jnp.mean((jax.vmap(logit_fn)(x) >= 0) == (y > 0))


def balanced_accuracy(logit_fn: Partial, x: Array, y: Array) -> Array:
    """Mean () of the shares of each class that are classified correctly; a constant prediction scores 1/2."""
    check_shapes(x=(x, (None, None)), y=(y, x.shape[:1]))
    accepted = jax.vmap(logit_fn)(x) >= 0
    positive = y > 0
    sensitivity = jnp.sum(accepted & positive) / jnp.sum(positive)
    return (sensitivity + jnp.sum(~accepted & ~positive) / jnp.sum(~positive)) / 2
