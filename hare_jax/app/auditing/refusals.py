"""What an audit needs: the refused rows, those without recourse, the costs, and the prices of a logit.

The functions run on the host and compile themselves, once for each number of refused rows.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.app.compiling import quick_jit
from hare_jax.base import Generate, LogitFn, Recourse, as_partial, check_key, check_rows, require
from hare_jax.evaluate.audit import Results
from hare_jax.evaluate.sharding import map_users
from hare_jax.evaluate.simulate import generate_all
from hare_jax.models.perceptron import Classifier
from hare_jax.recourse import exact
from hare_jax.recourse.cost import smoothed
from hare_jax.recourse.price import Priced, price
from hare_jax.space import ActionSpace, distance

_TIME_LIMIT = 10.0  # seconds for the exact recourse of a row


def results(
    generate: Generate,
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    space: ActionSpace,
    *,
    prices: bool = True,
    time_limit: float = _TIME_LIMIT,
) -> Results:
    """The `Results` for an audit of `generate`, a bound method, over the rows `x` (n, d).

    If the classifier is a `models.Classifier`, a refused row for which the method finds nothing is solved by `exact`,
    within `time_limit` seconds: it counts with the exact recourse if there is one, and as proved to have none if that
    is proved. Of other classifiers nothing is proved. The prices are those of `recourse.price.price`
    with ordered columns as continuous (`recourse.cost.smoothed`), by a second run of the same program; without `prices`
    there is one run.

    Raises:
        ValueError: an argument is no method, key or rows of the space.
    """
    check_key(key)
    check_rows(x, space, argument="x")
    require(callable(generate), "generate", "must be a method bound by recourse.bind", generate)
    logit_fn = as_partial(logit_fn)
    refused = np.asarray(quick_jit(_all_refused)(logit_fn, x))
    if not refused.any():
        return _of_nobody(refused, _is_provable(logit_fn), prices)
    key_method, key_exact, key_price = jax.random.split(key, 3)
    rows, search = x[refused], quick_jit(_priced if prices else generate_all)
    found = search(generate, key_method, logit_fn, rows, space)
    priced = search(generate, key_price, logit_fn, rows, smoothed(space)) if prices else None
    found = found.recourse if prices else found
    found, proved = _completed(time_limit, key_exact, logit_fn, rows, space, found)
    cost = np.where(found.valid, quick_jit(_costs)(space, rows, found.x), np.nan)
    return Results(
        refused=refused,
        found=_spread(refused, found.valid, False),
        cost=_spread(refused, cost, np.nan),
        proved_none=None if proved is None else _spread(refused, proved, False),
        price=None if priced is None else _spread(refused, np.where(priced.known, priced.price, np.nan), np.nan),
    )


def _of_nobody(refused: np.ndarray, provable: bool, prices: bool) -> Results:
    """The results where no row is `refused` (n,)."""
    unknown = np.full(refused.shape, np.nan)
    return Results(refused, refused, unknown, refused if provable else None, unknown if prices else None)


def _spread(refused: np.ndarray, values: Array | np.ndarray, other: float | bool) -> np.ndarray:
    """The `values` of the `refused` rows (n,), and `other` in the rest: (n,), of the dtype of the `values`."""
    spread = np.full(refused.shape, other, values.dtype)
    spread[refused] = values
    return spread


def _is_provable(logit_fn: LogitFn) -> bool:
    return isinstance(logit_fn, Classifier)


def _all_refused(logit_fn: LogitFn, x: Array) -> Array:
    return ~(jax.vmap(logit_fn)(x) >= 0)  # NaN is refused


def _costs(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    return jax.vmap(distance, (None, 0, 0))(space, x, x_cf)


def _priced(generate: Generate, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Priced:
    keys = jax.random.split(key, len(x))
    return map_users(lambda row: price(generate, row[0], logit_fn, row[1], space), (keys, x))


def _completed(
    time_limit: float, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, found: Recourse
) -> tuple[Recourse, np.ndarray | None]:
    """`found` (n, d), with exact recourses where it has none, and which rows are proved to have none: (n,)."""
    if not _is_provable(logit_fn):
        return found, None
    points, valid = (np.array(leaf) for leaf in found)
    proved, missing = np.zeros_like(valid), np.flatnonzero(~valid)
    if len(missing):
        solve = partial(exact.solve, exact.Exact(time_limit=time_limit))
        keys = jax.random.split(key, len(missing))
        solved, status = quick_jit(jax.vmap(solve, (0, None, 0, None)))(keys, logit_fn, x[missing], space)
        points[missing], valid[missing] = solved.x, solved.valid
        proved[missing] = np.asarray(status) == exact.NONE_EXISTS
    return Recourse(jnp.asarray(points), jnp.asarray(valid)), proved
