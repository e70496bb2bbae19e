"""The classifier and the method of an explainer, from what the user gives."""

from collections.abc import Mapping
from typing import Any, cast

import jax
from jax import Array
from jax.tree_util import Partial

from hare_jax import models
from hare_jax.app.compiling import quick_jit, quickest_jit
from hare_jax.base import LogitFn, choose, require
from hare_jax.data import Table
from hare_jax.recourse import METHODS, BoundMethod
from hare_jax.solvers.host import calls_host
from hare_jax.solvers.local_search import LocalSearch

_QUICK = {"search": LocalSearch(num_first=8, num_starts=2, num_rounds=0), "num_switches": 1, "num_rounds": 8}
DEFAULT: tuple[str, dict[str, Any]] = "least_cost", _QUICK  # a tenth of the time of the budget of `LeastCost`
DEFAULT_ON_HOST: tuple[str, dict[str, Any]] = "growing_spheres", {"num_attempts": 1}  # fewest calls of the model

_FEW_ROWS = 5000  # of training


def classifier(model: Any, table: Table, seed: int, options: Mapping[str, Any]) -> LogitFn:
    """`model` as a classifier: unchanged if it is one already, trained on the table if it is None, otherwise wrapped.

    Raises:
        ValueError: `options` of `models.wrap` for a model that isn't wrapped; those of `models.wrap`.
    """
    if model is not None and not isinstance(model, Partial):
        return models.wrap(model, cast(Any, table), **options)
    kind = "the built-in classifier" if model is None else f"{model}, which is a classifier of encoded rows already"
    require(not options, "model", f"{kind} takes no {' and no '.join(options)}", list(options.values()))
    if model is not None:
        return model
    return built_in(table, seed)


def built_in(table: Table, seed: int) -> models.Classifier:
    """The built-in classifier, trained on the table; for few rows compilation takes longer than training."""
    jit = quickest_jit if len(table.x_train) <= _FEW_ROWS else quick_jit
    params = jit(models.fit)(models.balanced(table.y_train), jax.random.key(seed), table.x_train, table.y_train)
    return models.classifier(params)


def named_method(
    method: str | None, logit_fn: LogitFn, table: Table, hyperparameters: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The name of the method for a classifier, by default the one that suits it, and its hyperparameters.

    Raises:
        ValueError: no such method, or one that the classifier is unfit for.
    """
    if method is None:
        method, budget = DEFAULT_ON_HOST if calls_host(logit_fn, table.x_train[0]) else DEFAULT
        hyperparameters = budget | dict(hyperparameters)
    choose("method", method, METHODS)
    has_weights, differentiable = is_exact(logit_fn), has_gradient(logit_fn, table.x_train[0])
    fitting = [
        name
        for name, other in METHODS.items()
        if (has_weights or not other.uses_weights) and (differentiable or not other.uses_gradients)
    ]
    needs = "the weights of a models.Classifier" if METHODS[method].uses_weights else "the gradient of the model"
    require(method in fitting, "method", f"needs {needs}; for this model choose one of {', '.join(fitting)}", method)
    return method, dict(hyperparameters)


def name_of(generate: BoundMethod) -> str:
    """The name of a bound method."""
    return next(name for name, method in METHODS.items() if method.generate is generate.args[0].func)


def has_gradient(logit_fn: LogitFn, x: Array) -> bool:
    """Whether the logit has a derivative in `x` (d,)."""
    try:
        jax.eval_shape(jax.grad(logit_fn), x)
    except TypeError:  # of a function on the host
        return False
    return True


def is_exact(logit_fn: LogitFn) -> bool:
    """Whether `exact` can read the weights of the classifier."""
    return isinstance(logit_fn, models.Classifier)
