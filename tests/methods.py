"""How the tests fit the rows of `METHODS`, and which of them are in the fast lane."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from spaces import row

from hare_jax import models
from hare_jax.recourse import METHODS
from hare_jax.solvers.local_search import LocalSearch

BLIND = [name for name, method in METHODS.items() if not method.uses_weights]  # those that take any classifier
QUICK = ("growing_spheres", "nnce", "wachter")  # little to compile; the others' own tests are among the fast ones

BUDGETS = {  # of those methods that have the hyperparameter
    "num_samples": 32,
    "num_spheres": 8,
    "num_attempts": 2,
    "num_nodes": 200,
    "search": LocalSearch(num_first=8, num_starts=2, num_rounds=4, num_rays=4),
}


def marked(name):
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)


def quick(name):
    """Hyperparameters, other than the defaults, of a method that would train an autoencoder for long."""
    autoencoder = getattr(METHODS[name].hyperparams(), "autoencoder", None)
    return {} if autoencoder is None else {"autoencoder": replace(autoencoder, num_epochs=4)}


def small(name):
    """Those of `quick`, and a small budget of each search, for tests that do not depend on how good a recourse is."""
    hp = METHODS[name].hyperparams()
    descent = {"descent": replace(hp.descent, num_attempts=2)} if hasattr(hp, "descent") else {}
    return quick(name) | descent | {key: value for key, value in BUDGETS.items() if hasattr(hp, key)}


def fit(name, key, problem, rows, hyperparameters=quick):
    method = METHODS[name]
    return method.fit(
        method.hyperparams(**hyperparameters(name)), key, models.classifier(problem.params), rows, problem.space
    )


def fit_all(name, keys, problems, rows, hyperparameters=quick):
    """What the method prepares for each of the problems, stacked."""

    def stacked(*leaves):
        return np.stack([np.asarray(leaf, rows.dtype) if isinstance(leaf, float) else leaf for leaf in leaves])

    one_by_one = (fit(name, key, row(problems, index), rows, hyperparameters) for index, key in enumerate(keys))
    return jax.tree.map(stacked, *map(jax.device_get, one_by_one))


def generate(name, fitted, key, problem):
    return METHODS[name].generate(fitted, key, models.classifier(problem.params), problem.x, problem.space)
