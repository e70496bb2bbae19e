"""The core types, the protocols of the functions that plug in, hyperparameter classes, and argument checks.

Notation: `x` is the factual row (d,), `x_cf` a recourse (d,), `d` the number of encoded columns. A classifier is
any `logit_fn: (d,) -> ()`; class 1 is the wanted outcome and `logit_fn(x) >= 0` means accepted.
"""

import dataclasses
import functools
import typing
import warnings
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol, TypeVar, dataclass_transform

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

T = TypeVar("T")

_FAR = 10.0  # widths of the bounds: a value so far outside of them is probably in other units
_LONGEST = 200  # characters of a value in the message of an error


PREFERS_A, PREFERS_B, CANNOT_TELL = 0, 1, 2  # answers to a comparison


class Link(NamedTuple):
    """A column that follows others by a formula. Static: it contains no arrays."""

    column: int  # that follows
    formula: tuple  # an expression of `hare_jax.formula` over column indices, in original units


class ActionSpace(NamedTuple):
    """What may change, in encoded units. Build it with `space.action_space`, which checks its arguments."""

    mutable: Array  # (d,) bool
    lower: Array  # (d,)
    upper: Array  # (d,)
    direction: Array  # (d,) int8: +1 may only rise, -1 may only fall, 0 free
    group: Array  # (d,) int32: one-hot group id, -1 where the column is its own feature
    step: Array  # (d,) grid step of an ordered feature, 0 = continuous, 1 in a one-hot group
    cost: Array | None = None  # (d,) of a unit of change of each column; None = 1
    relations: "Relations | None" = None  # between columns


class Recourse(NamedTuple):
    """A recourse for one row. Never NaN: a failure is `valid=False` with `x` the best point found."""

    x: Array  # (d,)
    valid: Array  # () bool: the classifier accepts x and the action space allows factual -> x


class LogitFn(Protocol):
    """A classifier."""

    def __call__(self, x: Array, /) -> Array:
        """Logit () of the row `x` (d,); at least 0 means accepted."""


class Generate(Protocol):
    """A fitted recourse method."""

    def __call__(self, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, /) -> Recourse:
        """A recourse for the row `x` (d,)."""


class Prefers(Protocol):
    """The answer model of one person.

    If it has an attribute `numbered` that is true, its answers depend on the number of the question in the session, and
    its method `at_question(number)` returns the answer model of one question.
    """

    def __call__(self, key: Array, x: Array, a: Array, b: Array, /) -> Array:
        """Whether the person with factual `x` (d,) prefers the recourse `a` (d,) to `b` (d,): () bool.

        Or () int: `PREFERS_A`, `PREFERS_B` or `CANNOT_TELL`.
        """


@dataclass_transform(frozen_default=True, kw_only_default=True)
def pytree_dataclass(cls: type[T]) -> type[T]:
    """Make `cls` a frozen keyword-only dataclass that is a pytree.

    Fields annotated `int`, `bool`, `str` or `tuple` are static: they set a shape or a length, and a new value
    recompiles. Every other field (a float, bound functions, further hyperparameters) is traced and does not. The types
    of `hyperparams`, such as `Count`, add a rule for the values.
    """
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    static = [name for name in names if (typing.get_origin(hints[name]) or hints[name]) in (int, bool, str, tuple)]
    traced = [name for name in names if name not in static]
    return jax.tree_util.register_dataclass(cls, traced, static)


@pytree_dataclass
class Relations:
    """How columns hang together. Build it with `relations.relate`, which checks its arguments."""

    links: tuple  # of `Link`, causes before effects
    offset: Array  # (d,) original units = offset + scale * encoded units
    scale: Array  # (d,)
    coefficients: Array  # (m, d) of linear inequalities in encoded units, coefficients @ x_cf <= limits
    limits: Array  # (m,)
    forbidden: Array | None = None  # (d, d) bool: from level i of a one-hot group to level j
    max_changes: Array | None = None  # () features that may change; those that only follow others don't count


class Bound(Partial):
    """A `Partial` that prints a name instead of its arrays. Subclasses must be registered as pytree node classes."""

    def tree_flatten(self) -> tuple[tuple, Callable]:
        """Traced children and static data, as in a `Partial`."""
        return (self.args, self.keywords), self.func

    @classmethod
    def tree_unflatten(cls, func: Callable, children: Any) -> Any:
        """The inverse of `tree_flatten`."""
        args, keywords = children
        return cls(func, *args, **keywords)


def as_partial(fn: Callable) -> Partial:
    """Wrap a callable in a `Partial`, so that it can be in a scan's carry or cross `jit`; a `Partial` is unchanged."""
    return fn if isinstance(fn, Partial) else Partial(fn)


def exact_products(fn: Callable[..., T]) -> Callable[..., T]:
    """Decorate a function whose matrix products must be exact float32 on a GPU, too, where TF32 is the default."""

    @functools.wraps(fn)
    def exact(*args: Any, **keywords: Any) -> T:
        with jax.default_matmul_precision("highest"):
            return fn(*args, **keywords)

    return exact


def require(ok: bool, argument: str, rule: str, value: Any) -> None:
    """Raise a `ValueError` that names the argument, the rule and the value, in one line, unless `ok`."""
    if not ok:
        shown = " ".join(repr(value).split())
        raise ValueError(f"{argument}: {rule}; got {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + ' ...'}")


def is_known(*values: Any) -> bool:
    """Whether all leaves of `values` (pytrees) are concrete, not traced, so that they can be checked."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def holds(rule: Callable[[np.ndarray], Any], value: Any) -> bool:
    """Whether `rule` holds for every element of `value`; True if `value` is traced."""
    return not is_known(value) or bool(np.all(rule(np.asarray(value))))


def choose(argument: str, name: str, options: Collection[str]) -> None:
    """Raise a `ValueError` unless `name` is one of `options`."""
    require(isinstance(name, str) and name in options, argument, f"must be one of {', '.join(options)}", name)


def check_key(key: Any, *, argument: str = "key") -> None:
    """Raise a `ValueError` unless `key` () is a key of `jax.random.key`: an int or a raw key of numbers is none."""
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    found = f"{type(key).__name__} of shape {np.shape(key)}" if typed or dtype is not None else key
    require(typed and np.shape(key) == (), argument, "must be a single key of jax.random.key", found)


def check_logit(logit_fn: Any, x: Array) -> None:
    """Raise a `ValueError` unless `logit_fn` is a function of `x` (d,) to a float (). It is traced, and not run."""
    require(callable(logit_fn), "logit_fn", "must be a function of one row", logit_fn)
    given = jax.eval_shape(logit_fn, x)
    leaves = jax.tree.leaves(given)
    scalar = len(leaves) == 1 and leaves[0].shape == () and jnp.issubdtype(leaves[0].dtype, jnp.floating)
    require(scalar, "logit_fn", "must give a float of shape (), the logit of one row", given)


def check_problem(key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, base: Recourse | None = None) -> None:
    """Check the arguments of a recourse method or, with a `base` recourse, of an elicitor's session.

    Raises:
        ValueError: `key` is no single key of `jax.random.key`, `logit_fn` does not give a float (), `x` is no row (d,)
            of finite floats, `space` is no action space of its width, or `base` no recourse of one row.

    Warns:
        UserWarning: `x` is far outside of the bounds.
    """
    check_key(key)
    require(base is None or isinstance(base, Recourse), "recourse", "must be a Recourse", type(base).__name__)
    check_row(x, space, **({} if base is None else {"recourse_x": base.x}))
    require(holds(np.isfinite, x), "x", "must be finite", x)
    _warn_if_far("x", x, space)
    check_logit(logit_fn, x)
    if base is not None:
        check_shapes(recourse_valid=(base.valid, ()))
        dtype = jnp.result_type(base.valid)
        require(jnp.issubdtype(dtype, bool), "recourse_valid", "must be a bool", dtype.name)
        require(holds(np.isfinite, base.x), "recourse_x", "must be finite", base.x)


def check_rows(rows: Array, space: ActionSpace, *, argument: str = "rows") -> None:
    """Raise a `ValueError` unless `rows` is (n, d) with n > 0, of finite floats, and `space` of width d."""
    require(isinstance(space, ActionSpace), "space", "must be an ActionSpace", type(space).__name__)
    is_array = isinstance(rows, np.ndarray | Array)
    require(is_array, argument, "must be an array of encoded rows, such as Table.encode gives", type(rows).__name__)
    check_shapes(**{argument: (rows, (None, len(space.mutable)))})
    require(len(rows) > 0, argument, "must hold at least one row", np.shape(rows))
    dtype = jnp.result_type(rows)
    require(jnp.issubdtype(dtype, jnp.floating), argument, "must hold floats", dtype.name)
    if is_known(rows):
        bad = int((~np.isfinite(np.asarray(rows))).sum())
        require(bad == 0, argument, "must be finite", f"{bad} values that are not")
        _warn_if_far(argument, rows, space)


def _warn_if_far(argument: str, rows: Array, space: ActionSpace) -> None:
    """Warn of known rows (..., d) far outside of the bounds: they are probably in original units."""
    if not is_known(rows, space):
        return
    lower, upper = np.asarray(space.lower, float), np.asarray(space.upper, float)
    bounded = np.isfinite(upper - lower) & (upper > lower)
    values = np.asarray(rows)
    beyond = np.maximum(lower - values, values - upper)[..., bounded] / (upper - lower)[bounded]
    farthest = float(np.max(beyond, initial=0.0))
    if farthest > _FAR:
        found = f"values that are {farthest:.3g} times the width of the bounds outside of them"
        warnings.warn(f"{argument}: should be in encoded units; got {found}", UserWarning, stacklevel=4)


def check_shapes(**arrays: tuple[Any, tuple[int | None, ...]]) -> None:
    """Raise a `ValueError` unless each named array has the given shape, in which None matches any length.

    Shapes are known while JAX traces, so the check costs nothing at run time.

    >>> check_shapes(x=(np.zeros((100, 13)), (13,)))
    Traceback (most recent call last):
    ...
    ValueError: x: must have shape (13,); got (100, 13), a batch: map over its first axis with jax.vmap
    """
    for argument, (array, shape) in arrays.items():
        try:
            chex.assert_shape(array, shape)
        except AssertionError:
            require(hasattr(array, "shape"), argument, "must be an array", array)
            found = np.shape(array)
            batch = len(found) == len(shape) + 1 and all(b in (a, None) for a, b in zip(found[1:], shape, strict=True))
            hint = ", a batch: map over its first axis with jax.vmap" if batch else ""
            wanted = str(shape).replace("None", "n")
            raise ValueError(f"{argument}: must have shape {wanted}; got {found}{hint}") from None


def check_row(x: Array, space: ActionSpace, **others: Array) -> None:
    """Raise a `ValueError` unless the factual `x` and the `others` have shape (d,), where d is the width of `space`.

    Raises:
        ValueError: `space` is no action space, an array has another shape, or `x` does not hold floats.
    """
    require(isinstance(space, ActionSpace), "space", "must be an ActionSpace", type(space).__name__)
    width = jnp.shape(space.mutable)
    check_shapes(x=(x, width), **{name: (other, width) for name, other in others.items()})
    require(jnp.issubdtype(jnp.result_type(x), jnp.floating), "x", "must hold floats", jnp.result_type(x).name)


def check_leaves(**trees: tuple[Any, int]) -> None:
    """Raise a `ValueError` unless each leaf of each named pytree has the given length, one entry for each row of `x`.

    >>> check_leaves(hidden=({"weights": np.ones((4, 2))}, 5))
    Traceback (most recent call last):
    ...
    ValueError: hidden: must have leaves of shape (5, ...), as x has rows; got [(4, 2)]
    """
    for argument, (tree, num) in trees.items():
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
        fits = all(shape[:1] == (num,) for shape in shapes)
        require(fits, argument, f"must have leaves of shape ({num}, ...), as x has rows", shapes)
