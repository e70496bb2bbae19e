"""Classifiers: a linear model and a multilayer perceptron, as pure functions of their parameters.

Any `(d,) -> ()` callable is a classifier for the rest of the package; these two are the paper's. A linear model is a
perceptron without hidden layers. The network itself is `network.Perceptron`.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from jax.typing import DTypeLike

from hare_jax.base import (
    Bound,
    as_partial,
    check_key,
    check_leaves,
    check_shapes,
    is_known,
    require,
)
from hare_jax.hyperparams import check_fields
from hare_jax.models.network import (
    Params,
    Perceptron,
    Scaling,
    apply,
    draw_uniform,
    fold,
    parameter_shapes,
    scaling,
    standardise,
    to_layers,
)
from hare_jax.models.recipe import OPTIMISERS, Training, num_epochs_for
from hare_jax.models.training import State, descend

Penalty = Callable[[Any, Array, Partial, Array], Array]  # given (a row of `fit`'s), key, logit_fn, x (d,) -> ()


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
        ValueError: they are no parameters, the last layer has more than one output, or one is not finite.

    >>> from hare_jax.models import from_layers
    >>> classifier(from_layers([([[1.0, -2.0]], [0.5])]))
    Classifier(2-1)
    """
    known = isinstance(params, dict) and len(params) > 0
    require(known, "params", "must be the parameters of fit, init or from_layers", type(params).__name__)
    shape = np.shape(to_layers(params)[-1].bias)
    require(shape[-1] == 1, "params", "must have one output, the logit", shape)
    if is_known(params):
        bad = sum(int((~np.isfinite(np.asarray(leaf))).sum()) for leaf in jax.tree.leaves(params))
        require(bad == 0, "params", "must be finite, as training on finite rows makes them", f"{bad} that are not")
    return Classifier(logit, params)


class _Rows(NamedTuple):
    """Labelled rows."""

    x: Array  # (n, d)
    y: Array  # (n,) 0 or 1
    given: Any  # leaves (n, ...), for the penalty


class _Problem(NamedTuple):
    """What the loss depends on besides the weights and the batch."""

    hp: Training
    rows: _Rows  # in encoded units
    scale: Scaling | None  # to the units that the weights are trained in; None: those of `rows`
    penalty: Partial | None


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


def fit(hp: Training, key: Array, x: Array, y: Array, penalty: Penalty | None = None, given: Any = None) -> Params:
    """Train on rows `x` (n, d) with labels `y` (n,) in {0, 1}, as one scan; `vmap` over `key` trains several at once.

    Binary cross-entropy, a new shuffle each epoch, the rows that don't fill a last batch left out of that epoch. With
    `hp.standardise` the network is trained on columns of mean 0 and s.d. 1, and the scaling is then folded into its
    first layer: the parameters are those of a plain perceptron of `x`, and a constant column has weight 0.
    `hp=PAPER` is the training of HARE's experiments (TMLR 2025).

    `penalty: (given, key, logit_fn, x (d,)) -> ()` is added to each row's loss, as `recourse.cost.penalty` makes one of
    the cost of recourse; None leaves the term out. `given` is a pytree with leaves (n, ...), whose row i is passed with
    row i of `x`, such as the hidden parameters of a person; `key` is another one for each row and step. The penalty is
    0 in the warm-up: added from the start, it ends in poor local minima.

    It is compiled as one program, which new rows of the same shape and new floats in `hp` reuse. Inside the caller's
    own `jit` or `vmap` the values can't be checked: rows that are not finite give parameters that are not, which
    `classifier` rejects, and there is no warning.

    Raises:
        ValueError: those of `check_labelled`, a leaf of `given` has not one entry per row, or a hyperparameter is out
            of its range.

    Warns:
        UserWarning: the classifier accepts every training row, or none.
    """
    check_fields(hp, Training)
    check_key(key)
    check_labelled(x, y)
    check_leaves(given=(given, len(x)))
    rows = _Rows(jnp.asarray(x), jnp.asarray(y), jax.tree.map(jnp.asarray, given))
    params, accepted = _fit(hp, key, rows, None if penalty is None else as_partial(penalty))
    if is_known(accepted, y):
        _warn_if_constant(int(accepted), y)
    return params


@partial(jax.jit, inline=True)
def _fit(hp: Training, key: Array, rows: _Rows, penalty: Partial | None) -> tuple[Params, Array]:
    """The parameters, and the number () of training rows that they accept."""
    num_rows, num_columns = rows.x.shape
    batch_size = min(hp.batch_size, num_rows)
    num_epochs = num_epochs_for(hp, num_rows // batch_size)
    key_init, key_shuffle, key_penalty = jax.random.split(key, 3)
    optimiser = OPTIMISERS[hp.optimiser](hp, num_rows, num_epochs * (num_rows // batch_size))
    problem = _Problem(hp, rows, scaling(rows.x) if hp.standardise else None, penalty)
    slope = jax.grad(_mean_loss)

    def step(state: State, batch: _Batch) -> tuple[State, None]:
        return descend(optimiser, state, slope(state.weights, problem, batch)), None

    def epoch(state: State, epoch: _Epoch) -> tuple[State, None]:
        return jax.lax.scan(step, state, _shuffle(epoch, num_rows, batch_size))

    params = init(key_init, num_columns, hp.hidden, _float_dtype(rows.x))
    start = State(params, optimiser.init(params))
    last = jax.lax.scan(epoch, start, _epochs(hp, num_epochs, key_shuffle, key_penalty))[0].weights
    params = _in_encoded_units(problem, last)
    return params, jnp.sum(jax.vmap(logit, in_axes=(None, 0))(params, rows.x) >= 0)


def _epochs(hp: Training, num_epochs: int, key_shuffle: Array, key_penalty: Array) -> _Epoch:
    """All epochs."""
    keys, keys_penalty = jax.random.split(key_shuffle, num_epochs), jax.random.split(key_penalty, num_epochs)
    return _Epoch(keys, keys_penalty, jnp.arange(num_epochs) >= hp.warmup * num_epochs)


def _shuffle(epoch: _Epoch, num_rows: int, batch_size: int) -> _Batch:
    """The batches of an epoch."""
    num_batches = num_rows // batch_size
    chosen = jax.random.permutation(epoch.key_shuffle, num_rows)[: num_batches * batch_size]
    keys = jax.random.split(epoch.key_penalty, num_batches)
    return _Batch(chosen.reshape(num_batches, batch_size), keys, jnp.full(num_batches, epoch.penalised))


def _float_dtype(x: Array) -> DTypeLike:
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else float


def _in_encoded_units(problem: _Problem, params: Params) -> Params:
    return params if problem.scale is None else fold(problem.scale, params)


def _mean_loss(params: Params, problem: _Problem, batch: _Batch) -> Array:
    """Mean () over `batch` of the weighted cross-entropy, plus that of the penalty."""
    x, y, given = jax.tree.map(lambda leaf: leaf[batch.chosen], problem.rows)
    scaled = x if problem.scale is None else jax.vmap(standardise, in_axes=(None, 0))(problem.scale, x)
    logits = jax.vmap(logit, in_axes=(None, 0))(params, scaled)
    wanted = y.astype(logits.dtype)
    weight = jnp.where(wanted > 0, problem.hp.positive_weight, 1.0)
    loss = jnp.mean(weight * optax.sigmoid_binary_cross_entropy(logits, wanted))
    if problem.penalty is None:
        return loss
    keys, logit_fn = jax.random.split(batch.key, x.shape[0]), classifier(_in_encoded_units(problem, params))
    penalties = jax.vmap(problem.penalty, in_axes=(0, 0, None, 0))(given, keys, logit_fn, x)
    return loss + batch.penalised * jnp.mean(penalties)


def _warn_if_constant(accepted: int, y: Array) -> None:
    num_rows, num_positive = len(y), int(np.sum(np.asarray(y) == 1))
    if accepted in (0, num_rows):
        advice = "try balanced(y), another learning_rate, or more steps"
        found = f"accepts {accepted} of {num_rows} training rows, of which {num_positive} are of class 1"
        warnings.warn(f"fit: the classifier {found}: {advice}", UserWarning, stacklevel=3)


def check_labelled(x: Array, y: Array) -> None:
    """Raise a `ValueError` unless `x` is (n, d) and finite, and `y` (n,) holds both 0 and 1.

    Inside `jit` the values are not known, and only the shapes are checked.
    """
    for name, rows in (("x", x), ("y", y)):
        require(isinstance(rows, np.ndarray | Array), name, "must be an array", type(rows).__name__)
    require(x.ndim == 2 and x.size > 0, "x", "must have shape (n, d) with n > 0 and d > 0", x.shape)
    require(y.shape == x.shape[:1], "y", f"must have shape ({x.shape[0]},), as x has rows", y.shape)
    if not is_known(x, y):
        return
    labels, bad = np.unique(y), int((~np.isfinite(np.asarray(x))).sum())
    require(bad == 0, "x", "must be finite", f"{bad} values that are not")
    require(labels.tolist() == [0, 1], "y", "must hold both 0 and 1 and nothing else", labels[:5].tolist())


def accuracy(logit_fn: Partial, x: Array, y: Array) -> Array:
    """Share () of rows `x` (n, d) that are classified as `y` (n,) says.

    Raises:
        ValueError: `logit_fn` is not callable, or an array is of another shape.
    """
    require(callable(logit_fn), "logit_fn", "must be a classifier, a function of one row", type(logit_fn).__name__)
    check_shapes(x=(x, (None, None)), y=(y, x.shape[:1]))
    return jnp.mean((jax.vmap(logit_fn)(x) >= 0) == (y > 0))


def balanced_accuracy(logit_fn: Partial, x: Array, y: Array) -> Array:
    """Mean () of the shares of each class that are classified correctly; a constant prediction scores 1/2.

    Raises:
        ValueError: `logit_fn` is not callable, or an array is of another shape.
    """
    require(callable(logit_fn), "logit_fn", "must be a classifier, a function of one row", type(logit_fn).__name__)
    check_shapes(x=(x, (None, None)), y=(y, x.shape[:1]))
    accepted = jax.vmap(logit_fn)(x) >= 0
    positive = y > 0
    sensitivity = jnp.sum(accepted & positive) / jnp.sum(positive)
    return (sensitivity + jnp.sum(~accepted & ~positive) / jnp.sum(~positive)) / 2
