"""Recourse methods, one file each. To add one, write its file and add its line to `METHODS`."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import (
    Bound,
    LogitFn,
    Recourse,
    as_partial,
    check_key,
    check_logit,
    check_problem,
    check_row,
    check_rows,
    choose,
    require,
)
from hare_jax.hyperparams import check_fields
from hare_jax.recourse import (
    ar,
    cchvae,
    clue,
    cruds,
    dice,
    exact,
    face,
    growing_spheres,
    latent,
    least_cost,
    nnce,
    protocf,
    revise,
    roar,
    wachter,
)
from hare_jax.recourse.derivative import FittedGenerate
from hare_jax.recourse.reason import Reason as Reason
from hare_jax.recourse.reason import outcome
from hare_jax.space import ActionSpace

H = TypeVar("H")
Fit = Callable[[Any, Array, LogitFn, Array, ActionSpace], Any]  # hp, key, logit_fn, rows (n, d), space -> fitted
Failure = Callable[
    [Any, LogitFn, Array, ActionSpace, Recourse], Array
]  # fitted, logit_fn, x (d,), space, recourse -> code
FittedPath = Callable[[Any, Array, LogitFn, Array, ActionSpace], face.Path]  # likewise


def search_ended(fitted: Any, logit_fn: LogitFn, x: Array, space: ActionSpace, recourse: Recourse) -> Array:
    """The `failure` of a method that proves nothing: `Reason.SEARCH_ENDED` ()."""
    return jnp.asarray(Reason.SEARCH_ENDED)


class Method(NamedTuple):
    """A recourse method: its hyperparameters, what it learns from the training rows, and its recourse for one row.

    `path` and `many` take the arguments of `generate`; the decorators of `recourse.derivative` make all three
    differentiable.
    """

    hyperparams: type  # a class made by `base.pytree_dataclass`, with a default for each field
    fit: Fit  # returns a pytree, the first argument of the functions below
    generate: FittedGenerate
    uses_gradients: bool  # of the classifier; without these and weights, any `models.black_box` will do
    uses_weights: bool = False  # the parameters of a `models.Classifier`, which it has to be
    path: FittedPath | None = None  # the moves from the factual to the recourse
    many: FittedGenerate | None = None  # a set of recourses, with an axis in front
    failure: Failure = search_ended  # why `generate` found nothing for a row: the code of a `Reason`


def nothing_to_fit(hp: H, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> H:
    """The `fit` of a method that neither trains nor keeps data: its hyperparameters, unchanged."""
    return hp


METHODS: dict[str, Method] = {
    "ar": Method(ar.Ar, nothing_to_fit, ar.generate, uses_gradients=False),
    "cchvae": Method(cchvae.Cchvae, latent.fit, cchvae.generate, uses_gradients=False),
    "clue": Method(clue.Clue, latent.fit, clue.generate, uses_gradients=True),
    "cruds": Method(cruds.Cruds, cruds.fit, cruds.generate, uses_gradients=True),
    "dice": Method(dice.Dice, nothing_to_fit, dice.generate, uses_gradients=True, many=dice.generate_set),
    "exact": Method(
        exact.Exact, nothing_to_fit, exact.generate, uses_gradients=False, uses_weights=True, failure=exact.failure
    ),
    "face": Method(face.Face, face.fit, face.generate, uses_gradients=False, path=face.path, failure=face.failure),
    "growing_spheres": Method(
        growing_spheres.GrowingSpheres, nothing_to_fit, growing_spheres.generate, uses_gradients=False
    ),
    "least_cost": Method(least_cost.LeastCost, nothing_to_fit, least_cost.generate, uses_gradients=False),
    "nnce": Method(nnce.Nnce, nnce.fit, nnce.generate, uses_gradients=False, failure=nnce.failure),
    "protocf": Method(protocf.ProtoCF, protocf.fit, protocf.generate, uses_gradients=True),
    "revise": Method(revise.Revise, latent.fit, revise.generate, uses_gradients=True),
    "roar": Method(roar.Roar, nothing_to_fit, roar.generate, uses_gradients=True),
    "wachter": Method(wachter.Wachter, nothing_to_fit, wachter.generate, uses_gradients=True),
}


@jax.tree_util.register_pytree_node_class
class BoundMethod(Bound):
    """A fitted method as a `Generate`, that prints its name: `BoundMethod(wachter)`."""

    def __repr__(self) -> str:
        return f"BoundMethod({self.args[0].func.__module__.rpartition('.')[2]})"


def bind(
    name: str, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace, **hyperparameters: Any
) -> BoundMethod:
    """Fit a method by its name, and return it as a `Generate`: `(key, logit_fn, x, space) -> Recourse`.

    `rows` (n, d) are the training rows, for the methods that learn from them. Nested hyperparameters are passed as an
    object: `descent=Descent(num_steps=50)`. Call it outside of `jit`: some methods fit on the host.

    Raises:
        ValueError: no such method, a hyperparameter that it lacks or out of its range, an argument of another kind, or
            rows that are no finite floats of the width of the space; the result checks its arguments as
            `base.check_problem` does.

    >>> import jax.numpy as jnp
    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True], lower=[0.0], upper=[1.0])
    >>> logit_fn = Partial(lambda x: x[0] - 0.5)
    >>> generate = bind("wachter", jax.random.key(0), logit_fn, jnp.zeros((1, 1)), space)
    >>> bool(generate(jax.random.key(1), logit_fn, jnp.array([0.0]), space).valid)
    True
    """
    choose("method", name, METHODS)
    method = METHODS[name]
    known = [field.name for field in fields(method.hyperparams)]
    for argument in hyperparameters:
        require(argument in known, f"{name} hyperparameter", f"must be one of {', '.join(known)}", argument)
    hp = method.hyperparams(**hyperparameters)
    check_fields(hp, method.hyperparams)
    check_key(key)
    check_rows(rows, space)
    check_logit(logit_fn, rows[0])
    fitted = method.fit(hp, key, as_partial(logit_fn), rows, space)
    return BoundMethod(_generate, Partial(method.generate, fitted))


def _generate(generate: Partial, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    check_problem(key, logit_fn, x, space)
    return generate(key, logit_fn, x, space)


def why(generate: BoundMethod, logit_fn: LogitFn, x: Array, space: ActionSpace, recourse: Recourse) -> Array:
    """Why `generate`, a method of `bind`, returned this `recourse` for `x` (d,): the code () of a `Reason`.

    `Reason(int(code)).text` says it in words. It is no part of `generate`, so that benchmarks do not pay for it.

    Raises:
        ValueError: `generate` is not a method of `bind`, `recourse` is not a `Recourse`, or a row has the wrong width.

    >>> from hare_jax.space import action_space
    >>> space = action_space(mutable=[True], lower=[0.0], upper=[1.0])
    >>> logit_fn, x = Partial(lambda x: x[0] - 2), jnp.array([0.0])
    >>> generate = bind("nnce", jax.random.key(0), logit_fn, jnp.ones((1, 1)), space)
    >>> code = why(generate, logit_fn, x, space, generate(jax.random.key(1), logit_fn, x, space))
    >>> Reason(int(code)).text
    'the classifier accepts no training row'
    """
    require(isinstance(generate, BoundMethod), "generate", "must be a method of recourse.bind", generate)
    require(isinstance(recourse, Recourse), "recourse", "must be a Recourse", type(recourse).__name__)
    check_row(x, space, recourse_x=recourse.x)
    fitted = generate.args[0]
    failure = next(method.failure for method in METHODS.values() if method.generate is fitted.func)
    return outcome(x, space, recourse, failure(fitted.args[0], as_partial(logit_fn), x, space, recourse))
