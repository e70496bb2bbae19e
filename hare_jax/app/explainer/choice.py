"""The classifier and the method of an explainer, from what the user gives."""

from collections.abc import Mapping
from typing import Any, cast

import jax
from jax import Array
from jax.tree_util import Partial

from hare_jax import models, recourse
from hare_jax.base import Bound, LogitFn, choose, require
from hare_jax.data import Table
from hare_jax.recourse import METHODS, BoundMethod

DEFAULT = "growing_spheres"


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
    training = models.balanced(table.y_train)
    return models.classifier(models.fit(training, jax.random.key(seed), table.x_train, table.y_train))


def bound_method(
    method: str | BoundMethod | None, key: Array, logit_fn: LogitFn, table: Table, hyperparameters: Mapping[str, Any]
) -> BoundMethod:
    """The method for a classifier, fitted to the training rows.

    Raises:
        ValueError: no such method, one that the classifier is unfit for, or hyperparameters that it lacks.
    """
    if isinstance(method, BoundMethod):
        require(not hyperparameters, "method", "is bound, and takes no hyperparameters", list(hyperparameters))
        return method
    choose("method", name := DEFAULT if method is None else method, METHODS)
    fitting = [other for other in METHODS if _fits(other, logit_fn, table)]
    needs = "the weights of a models.Classifier" if METHODS[name].uses_weights else "the gradient of the model"
    require(name in fitting, "method", f"needs {needs}; for this model choose one of {', '.join(fitting)}", name)
    return recourse.bind(name, key, logit_fn, table.x_train, table.space, **hyperparameters)


def name_of(generate: BoundMethod) -> str:
    """The name of a bound method."""
    return next(name for name, method in METHODS.items() if method.generate is generate.args[0].func)


def _fits(name: str, logit_fn: LogitFn, table: Table) -> bool:
    method = METHODS[name]
    if method.uses_weights:
        return isinstance(logit_fn, models.Classifier)
    return not method.uses_gradients or has_gradient(logit_fn, table.x_train[0])


def has_gradient(logit_fn: LogitFn, x: Array) -> bool:
    """Whether the logit has a derivative in `x` (d,)."""
    try:
        jax.eval_shape(jax.grad(logit_fn), x)
    except TypeError:  # of a function on the host
        return False
    return True


def is_exact(logit_fn: LogitFn) -> bool:
    """Whether `exact` can read the weights of the classifier."""
    return isinstance(logit_fn, models.Classifier) and isinstance(logit_fn, Bound)
