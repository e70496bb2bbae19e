"""What is handed to each library for one data set, model and seed, and what its answers are judged by."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import prepare
from benchmarks.peers.judge import Referee
from benchmarks.specs import Spec
from hare_jax.base import LogitFn
from hare_jax.models.network import to_layers
from hare_jax.recourse import exact
from hare_jax.solvers.boundary import scale_back
from hare_jax.space import ActionSpace

_SPACE = ("mutable", "lower", "upper", "direction", "group", "step")  # the fields of a space without relations


class Task(NamedTuple):
    """A problem, as arrays for `drivers.protocol`, and its referee."""

    problem: dict[str, np.ndarray]
    num_layers: int  # of the classifier
    referee: Referee


def make(spec: Spec) -> Task:
    """The task of a spec: the first test rows that its classifier refuses, at most `users` of them."""
    setting = prepare(spec, (spec.seed,))
    logit_fn, rows, space = setting.classifier(spec.seed), setting.table, setting.space
    refused = np.asarray(jax.vmap(logit_fn)(rows.x_test)) < 0
    x, x_train = np.asarray(rows.x_test)[refused][: spec.users], np.asarray(rows.x_train)
    accepted = np.asarray(jax.vmap(logit_fn)(rows.x_train)) >= 0
    layers = to_layers(logit_fn.args[0])
    problem = {"x": x, "x_train": x_train, "y_train": np.asarray(rows.y_train)}
    problem |= {name: np.asarray(getattr(space, name)) for name in _SPACE}
    for index, layer in enumerate(layers):
        problem |= {f"weight_{index}": np.asarray(layer.weight), f"bias_{index}": np.asarray(layer.bias)}
    optimum = _least_cost(spec.seed, logit_fn, x, space)
    return Task(problem, len(layers), Referee(logit_fn, space, x, optimum, x_train[accepted]))


def _least_cost(seed: int, logit_fn: Partial, x: np.ndarray, space: ActionSpace) -> np.ndarray:
    """The least L1 cost of rows `x` (n, d): (n,), NaN where it is not proved."""
    keys = jax.random.split(jax.random.key(seed), len(x))
    found, status = jax.jit(jax.vmap(_exact, in_axes=(0, None, 0, None)))(keys, logit_fn, jnp.asarray(x), space)
    return np.where(np.asarray(status) == exact.OPTIMAL, np.abs(np.asarray(found) - x).sum(axis=1), np.nan)


def _exact(key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> tuple[Array, Array]:
    """The exact recourse (d,) of `x` (d,), as `exact.generate` scales it back, and its status ()."""
    hp = exact.Exact()
    found, status = exact.solve(hp, key, logit_fn, x, space)
    return scale_back(logit_fn, x, found, space, margin=hp.margin, num_steps=hp.num_boundary_steps).x, status
