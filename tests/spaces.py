"""Random action spaces, factual rows and classifiers for the tests: batches of one width, so that they compile once.

Everything here is a NumPy array of JAX's dtype, because slicing and comparing those compiles nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from hare_jax import models
from hare_jax.space import ActionSpace, action_space

# columns: 0-2 continuous, 3-4 ordered, 5 binary, 6-8 a group, 9 immutable, 10-11 an immutable group
GROUP = np.array([-1, -1, -1, -1, -1, -1, 3, 3, 3, -1, 0, 0])
STEP = np.array([0, 0, 0, 0.25, 1 / 15, 1, 1, 1, 1, 0, 1, 1])
CHANGEABLE = np.arange(12) < 9
WIDTH, HIDDEN = len(GROUP), (8,)
MOST = 1024  # random classifiers and keys are drawn all at once and sliced

# Compilation is most of the time of these tests. Where a program runs for long, or where rounding is what is tested,
# it is `jit_fast` or JAX's own jit.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
jit_fast = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})


class Problems(NamedTuple):
    """Problems of n people, each with their own action space and classifier."""

    space: ActionSpace  # fields (n, d)
    x: np.ndarray  # (n, d)
    params: models.Params  # leaves (n, ...)


def stack(trees: list) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def concatenate(trees: list) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)


def row(tree: Any, index: int | slice | np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def widen(tree: Any) -> Any:
    """Its floats in float64, for tests under x64: cheaper than to draw them anew there."""
    return jax.tree.map(lambda leaf: leaf.astype("float64") if np.issubdtype(leaf.dtype, np.floating) else leaf, tree)


def array(values: Any) -> np.ndarray:
    values = np.asarray(values)
    return values.astype(jax.dtypes.canonicalize_dtype(values.dtype))


def split(seed: int, num: int) -> jax.Array:
    """Keys for `num` people."""
    return _split(seed)[:num]


@jit
def _split(seed: int) -> jax.Array:
    return jax.random.split(jax.random.key(seed), MOST)


def full_space() -> ActionSpace:
    """Everything that can change may, within [0, 1]."""
    return action_space(CHANGEABLE, np.zeros(WIDTH), np.ones(WIDTH), group=GROUP, step=STEP)


def random_space(rng: np.random.Generator) -> ActionSpace:
    """Any mutability, direction and bounds; some bounds are infinite, some levels of the group closed."""
    mutable = CHANGEABLE & (rng.random(WIDTH) < 0.85)
    mutable[6:9] = mutable[6]
    number = STEP < 1
    lower = np.where(number, rng.uniform(0, 0.3, WIDTH), 0)
    upper = np.where(number, rng.uniform(0.6, 1.2, WIDTH), 1)
    lower[:5] = np.where(rng.random(5) < 0.1, -np.inf, lower[:5])
    upper[:5] = np.where(rng.random(5) < 0.1, np.inf, upper[:5])
    upper[6:9] = rng.random(3) < 0.8
    direction = np.where(GROUP < 0, rng.choice([-1, 0, 0, 1], WIDTH), 0)
    return action_space(mutable, lower, upper, direction, GROUP, STEP)


def random_row(rng: np.random.Generator, margin: float = 0.2) -> np.ndarray:
    """A factual whose numbers lie up to `margin` outside [0, 1], so more often outside the random bounds."""
    x = np.where(STEP == 1, rng.integers(2, size=WIDTH), rng.uniform(-margin, 1 + margin, WIDTH))
    x[6:9], x[10:] = np.eye(3)[rng.integers(3)], np.eye(2)[rng.integers(2)]
    return x


def random_rows(seed: int, num: int, margin: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return array([random_row(rng, margin) for _ in range(num)])


def random_spaces(seed: int, num: int) -> ActionSpace:
    rng = np.random.default_rng(seed)
    return stack([random_space(rng) for _ in range(num)])


def random_classifiers(seed: int, num: int) -> models.Params:
    """Perceptrons with steeper weights than at the start of training, so that they accept some and refuse others."""
    return jax.tree.map(lambda leaf: 3 * np.asarray(leaf)[:num], _initial(seed))


@jit
def _initial(seed: int) -> models.Params:
    keys = jax.random.split(jax.random.key(seed), MOST)
    return jax.vmap(lambda key: models.init(key, WIDTH, HIDDEN))(keys)


def random_problems(seed: int, num: int) -> Problems:
    return Problems(random_spaces(seed, num), random_rows(seed + 1, num), random_classifiers(seed + 2, num))


def one_unit(weight: np.ndarray, bias: float, slope: float, offset: float) -> models.Params:
    """The classifier `slope * relu(weight . x + bias) + offset`, of the same shape as the random ones."""
    first, biases, last = np.zeros((HIDDEN[0], WIDTH)), np.zeros(HIDDEN[0]), np.zeros((1, HIDDEN[0]))
    first[0], biases[0], last[0, 0] = weight, bias, slope
    return models.from_layers([(array(first), array(biases)), (array(last), array([offset]))])


def tanh_logit(params: models.Params, x: jax.Array) -> jax.Array:
    """The logit () of `x` (d,) by a smooth classifier, with tanh in place of the rectifier."""
    *hidden, last = models.to_layers(params)
    for layer in hidden:
        x = jax.numpy.tanh(layer.weight @ x + layer.bias)
    return (last.weight @ x + last.bias)[0]


def column(index: int) -> np.ndarray:
    return np.eye(WIDTH)[index]


def counting(fn: Callable) -> tuple[Callable, list]:
    """`fn` under jit, and a list that grows by one with each trace."""
    traces: list[None] = []

    def counted(*args: Any) -> Any:
        traces.append(None)
        return fn(*args)

    return jit(counted), traces
