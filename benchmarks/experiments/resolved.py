"""The derivative of the least cost of recourse against differences of the cost, with the whole search repeated.

By the envelope theorem both are equal where the recourse is a local minimum. They differ at a kink, where the cost has
two one-sided derivatives, and where the repeated search ends near another minimum. Ordered columns are continuous.
`others` lists these rows: the reason, the row, the derivative, and the slopes of both one-sided differences.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.cohort import training_for
from benchmarks.specs import MODELS, REASONS, GradientSpec
from hare_jax import data, models, people, recourse
from hare_jax.evaluate.sharding import map_users
from hare_jax.recourse.cost import smoothed
from hare_jax.space import ActionSpace, weighted_l1

_STEP = 1e-4  # of the differences
_TOLERANCE = 0.01  # largest relative difference of two slopes that count as equal
_SMALLEST = 1e-3  # slope from which on differences are relative
_NUM_DIRECTIONS = 2
_NEAR = 100  # steps: a recourse that moves further has jumped to another minimum


class _Problem(NamedTuple):
    """Refused rows, and all arguments of their costs."""

    method: str
    params: models.Params
    weights: Array  # (n, d) of the cost
    keys: Array  # (n,)
    x: Array  # (n, d)
    rows: Array  # training rows
    space: ActionSpace


class _Slopes(NamedTuple):
    """Slopes of each row's cost in one direction, from the derivative and from differences."""

    derivative: np.ndarray  # (n,)
    below: np.ndarray  # (n,)
    above: np.ndarray  # (n,)
    jump: np.ndarray  # (n,) how far the recourse moves, in steps

    @property
    def error(self) -> np.ndarray:
        """Difference (n,) of the derivative from the central difference, relative to the latter."""
        return _relative(self.derivative, (self.below + self.above) / 2)


def figures(spec: GradientSpec) -> dict[str, Any]:
    """Shares of rows whose derivative is that of the repeated search, and reasons of the others; in x64."""
    problem = _problem(spec)
    directions = {"classifier": problem.params, "weights": problem.weights}
    shown: dict[str, Any] = {}
    for name, tree in directions.items():
        if name == "weights" and spec.method == "ar":  # its cost is the L1
            continue
        slopes = [_slopes(problem, name, _direction(seed, tree)) for seed in range(_NUM_DIRECTIONS)]
        worst = np.argmax([one.error for one in slopes], axis=0)
        chosen = _Slopes(*(np.take_along_axis(np.stack(leaf), worst[None], 0)[0] for leaf in zip(*slopes, strict=True)))
        shown |= {f"{name}_{key}": value for key, value in _reasons(chosen).items()}
    return shown | {"rows": len(problem.x)}


def _reasons(slopes: _Slopes) -> dict[str, Any]:
    """The share of rows with an equal slope, the numbers of the others by reason, and each of them with its slopes."""
    equal = slopes.error <= _TOLERANCE
    kink = _relative(slopes.below, slopes.above) > _TOLERANCE
    reason = np.select([equal, slopes.jump > _NEAR, kink], ["", "other_minimum", "kink"], "unexplained")
    others = [
        f"{reason[row]} {row}: {slopes.derivative[row]:.4g}, {slopes.below[row]:.4g} to {slopes.above[row]:.4g}"
        for row in np.flatnonzero(~equal)
    ]
    counts = {name: int(np.sum(reason == name)) for name in REASONS}
    return {"within": round(float(equal.mean()), 4), **counts, "others": "; ".join(others) or "none"}


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a - b) / np.maximum(np.abs(b), _SMALLEST)


def _problem(spec: GradientSpec) -> _Problem:
    table = data.load(spec.dataset)
    hp = training_for(table, MODELS[spec.model])
    params = jax.jit(models.fit)(hp, jax.random.key(spec.seed), table.x_train, table.y_train)
    x = table.x_test[jax.vmap(models.classifier(params))(table.x_test) < 0][: spec.users]
    key_weights, key_search = jax.random.split(jax.random.key(spec.seed))
    weights = jax.vmap(people.cost_weights)(jax.random.split(key_weights, len(x)), x)
    keys = jax.random.split(key_search, len(x))
    return _Problem(spec.method, params, weights, keys, x, table.x_train, smoothed(table.space))


def _direction(seed: int, tree: Any) -> Any:
    """Random tangents of the leaves of `tree`."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), tree)


def _slopes(problem: _Problem, name: str, direction: Any) -> _Slopes:
    """Slopes of the costs if `name`, the classifier or the weights, moves in a `direction`."""

    def cost(size: Array) -> tuple[Array, Array]:
        tree = problem.params if name == "classifier" else problem.weights
        moved = jax.tree.map(lambda leaf, way: leaf + size * way, tree, direction)
        return _costs(problem._replace(**{"params" if name == "classifier" else "weights": moved}))

    (value, point), (derivative, _) = jax.jit(lambda size: jax.jvp(cost, (size,), (jnp.ones(()),)))(jnp.zeros(()))
    repeated = jax.jit(cost)
    (below, left), (above, right) = repeated(jnp.asarray(-_STEP)), repeated(jnp.asarray(_STEP))
    jump = jnp.maximum(jnp.max(jnp.abs(left - point), axis=1), jnp.max(jnp.abs(right - point), axis=1)) / _STEP
    leaves = derivative, (value - below) / _STEP, (above - value) / _STEP, jump
    return _Slopes(*(np.asarray(leaf) for leaf in leaves))


def _costs(problem: _Problem) -> tuple[Array, Array]:
    """The cost (n,) of each row's recourse, and the recourse (n, d)."""
    logit_fn = models.classifier(problem.params)

    def one(row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        key, x, weights = row
        own = {"weights": weights} if problem.method == "least_cost" else {}
        generate = recourse.bind(problem.method, key, logit_fn, problem.rows, problem.space, **own)
        found = generate(key, logit_fn, x, problem.space)
        return weighted_l1(own.get("weights", jnp.ones_like(x)), x, found.x), found.x

    return map_users(one, (problem.keys, problem.x, problem.weights))
