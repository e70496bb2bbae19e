"""Training: a step of an optimiser, and Adam that stops when the loss of held-out rows no longer falls."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import pytree_dataclass
from hare_jax.hyperparams import Count, NonNegative, Positive

# weights, key, row, context -> loss () that is minimised, loss () that is measured on the held-out rows
LossFn = Callable[[Any, Array, Any, Any], tuple[Array, Array]]

_ROWS_PER_HELD, _MOST_HELD = 8, 2048  # one row of 8 is held out, up to about 2048 rows in all
_ROWS_PER_STEP, _LEAST_STEPS = 8, 16  # an epoch of few rows has fewer steps


@pytree_dataclass
class Adam:
    """How long and how fast Adam descends."""

    learning_rate: NonNegative = 1e-2  # at the first step; falls linearly to 0 over all the epochs
    batch_size: Count = 128
    num_steps: Count = 100  # of an epoch, each with a batch of rows drawn at random; fewer for less than 800 rows
    num_epochs: Count = 20  # at most
    patience: Count = 4  # epochs without a lower held-out loss before training stops
    largest_slope: Positive = 10.0  # gradients of a greater norm are scaled to it: outlying rows have enormous ones


class State(NamedTuple):
    """What one step of an optimiser passes to the next."""

    weights: Any  # a pytree
    optimiser: optax.OptState


class Epoch(NamedTuple):
    """What one epoch passes to the next."""

    number: Array  # () int32
    state: State
    best: Any  # the weights of the least held-out loss so far
    least: Array  # () that loss
    waited: Array  # () int32 epochs since


class _Problem(NamedTuple):
    loss_fn: LossFn
    rows: Any  # a pytree, leaves (n, ...)
    context: Any


def descend(optimiser: optax.GradientTransformation, state: State, slope: Any) -> State:
    """One step of `optimiser` along the gradient `slope`, a pytree like the weights."""
    updates, memory = optimiser.update(slope, state.optimiser, state.weights)
    return State(optax.apply_updates(state.weights, updates), memory)


def train(loss_fn: LossFn, hp: Adam, key: Array, weights: Any, rows: Any, context: Any) -> Any:
    """The weights of the least held-out loss while Adam minimises the mean of `loss_fn` over batches of rows.

    `loss_fn(weights, key, row, context)` returns two losses of one row: the one that is minimised, and the one that is
    measured on the held-out rows, an eighth of all. `rows` is a pytree with leaves (n, ...), `context` any pytree. For
    an adversarial game, pass each player the other's weights through `stop_gradient`, and minimise the sum of both
    losses. To be called under `jit`.
    """
    problem, num_rows = _Problem(loss_fn, rows, context), _num_rows(rows)
    num_steps = min(hp.num_steps, max(_LEAST_STEPS, num_rows // _ROWS_PER_STEP))
    key_held, key_epochs = jax.random.split(key)
    optimiser = _optimiser(hp, num_steps)

    def step(state: State, key: Array) -> tuple[State, None]:
        return _step(problem, optimiser, hp.batch_size, state, key), None

    def epoch(last: Epoch) -> Epoch:
        keys = jax.random.split(jax.random.fold_in(key_epochs, last.number), num_steps)
        state, _ = jax.lax.scan(step, last.state, keys)
        _, loss = _mean_losses(state.weights, problem, key_held, jnp.arange(0, num_rows, _every(num_rows)))
        return _next_epoch(last, state, loss)

    def goes_on(last: Epoch) -> Array:
        return (last.number < hp.num_epochs) & (last.waited < hp.patience)

    zero, least = jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, jax.tree.leaves(weights)[0].dtype)
    first = Epoch(zero, State(weights, optimiser.init(weights)), weights, least, zero)
    return jax.lax.while_loop(goes_on, epoch, first).best


def _optimiser(hp: Adam, num_steps: int) -> optax.GradientTransformation:
    adam = optax.adam(optax.linear_schedule(hp.learning_rate, 0, hp.num_epochs * num_steps))
    bounded = optax.chain(optax.clip_by_global_norm(hp.largest_slope), adam)
    return optax.flatten(bounded)  # one vector compiles sooner than many leaves


def _num_rows(rows: Any) -> int:
    return jax.tree.leaves(rows)[0].shape[0]


def _every(num_rows: int) -> int:
    """Rows 0, k, 2k, ... are held out: this is k."""
    return max(_ROWS_PER_HELD, num_rows // _MOST_HELD)


def _step(
    problem: _Problem, optimiser: optax.GradientTransformation, batch_size: int, state: State, key: Array
) -> State:
    """Descend the mean loss of rows drawn at random, with replacement, from those that are not held out."""
    key_rows, key_loss = jax.random.split(key)
    num_rows = _num_rows(problem.rows)
    every = _every(num_rows)
    num_kept = num_rows - len(range(0, num_rows, every))
    kept = jax.random.randint(key_rows, (min(batch_size, num_rows),), 0, num_kept)
    chosen = kept + kept // (every - 1) + 1  # skips the rows that are held out
    slope, _ = jax.grad(_mean_losses, has_aux=True)(state.weights, problem, key_loss, chosen)
    return descend(optimiser, state, slope)


def _mean_losses(weights: Any, problem: _Problem, key: Array, chosen: Array) -> tuple[Array, Array]:
    """Means () and () of both losses over the rows `chosen` (m,)."""
    batch = jax.tree.map(lambda leaf: leaf[chosen], problem.rows)
    keys = jax.random.split(key, chosen.shape[0])
    one = jax.vmap(problem.loss_fn, in_axes=(None, 0, 0, None))
    minimised, measured = one(weights, keys, batch, problem.context)
    return jnp.mean(minimised), jnp.mean(measured)


def _next_epoch(last: Epoch, state: State, loss: Array) -> Epoch:
    better = loss < last.least
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.weights, last.best)
    waited = jnp.where(better, 0, last.waited + 1)
    return Epoch(last.number + 1, state, best, jnp.minimum(loss, last.least), waited)
