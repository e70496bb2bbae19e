"""Black boxes: any batched `predict_proba` of NumPy arrays as a classifier for the methods that need no gradient.

The model runs on the host, once for all rows of a `vmap`, and returns probabilities alone. On a CPU it reads and writes
XLA's own buffers: `jax.pure_callback` would first copy the rows to a device, which needs a thread of the pool whose
threads wait for the callback; with as many devices as cores, that is a deadlock.
"""

import dataclasses
from collections.abc import Callable, Hashable
from typing import NoReturn

import jax
import numpy as np
from jax import Array
from jax.experimental.buffer_callback import Buffer, ExecutionContext, buffer_callback
from jax.tree_util import Partial
from jax.typing import ArrayLike

from hare_jax.base import require


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Model:
    """A function on the host: a static part of a pytree, which JAX compares instead of tracing."""

    predict_proba: Callable

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """Logits (...,) of rows (..., d), finite and of their dtype, from one call of the model for all of them."""
        x = np.array(x)  # a copy: JAX's buffers are read-only
        rows = x.reshape(-1, x.shape[-1])
        answer, num = np.asarray(self.predict_proba(rows), np.float64), len(rows)
        right_shape = answer.shape in ((num,), (num, 2))
        require(right_shape, "predict_proba", f"must give ({num}, 2) or ({num},) for {num} rows", answer.shape)
        wanted = answer if answer.ndim == 1 else answer[:, 1]
        wrong = wanted[~((wanted >= 0) & (wanted <= 1))]  # NaN too
        require(wrong.size == 0, "predict_proba", "must give probabilities, from 0 to 1", wrong[:5].tolist())
        least = np.finfo(x.dtype).eps
        p = np.clip(wanted, least, 1 - least)
        return np.log(p / (1 - p)).astype(x.dtype).reshape(x.shape[:-1])

    def write(self, context: ExecutionContext, logits: Buffer, x: Buffer) -> None:
        np.asarray(logits)[...] = self(np.asarray(x))


def black_box(predict_proba: Callable, rows: ArrayLike | None = None) -> Partial:
    """Make `predict_proba` a classifier `(d,) -> ()`: its logit is `log(p / (1 - p))`, with p clipped to stay finite.

    `predict_proba` takes a NumPy array (n, d) of encoded rows, for any n, and gives the probability of each class
    (n, 2), the wanted class last, or that of the wanted class alone (n,); it has to be pure. It is called once on
    `rows` (n, d) if they are given, so that errors are raised at once. The same function, or the same method of the
    same object, never recompiles, and compiled programs call a model that is retrained in place with its new weights.

    A model with piecewise constant probabilities, such as a forest, often returns exactly p = 1/2: accepted, but below
    the margin that recourses keep. One trained on a DataFrame is `lambda x: model.predict_proba(table.decode(x))`.

    Raises:
        ValueError: `predict_proba` can't be hashed; or, on `rows` or later inside of a program (then as JAX's own
            error, which quotes this one), it returns a wrong shape, NaN, or numbers that aren't probabilities.
        TypeError: it is differentiated.

    >>> logit_fn = black_box(lambda x: 1 / (1 + np.exp(1 - 2 * x[:, 0])))
    >>> jax.vmap(logit_fn)(np.array([[0.0], [0.5], [2.0]], np.float32)).round(4).tolist()
    [-1.0, 0.0, 3.0]
    """
    require(callable(predict_proba), "predict_proba", "must be a function", predict_proba)
    require(isinstance(predict_proba, Hashable), "predict_proba", "must be hashable", type(predict_proba).__name__)
    model = _Model(predict_proba)
    if rows is not None:
        model(rows)
    return Partial(_logit, model)


@jax.custom_jvp
def _logit(model: _Model, x: Array) -> Array:
    result = jax.ShapeDtypeStruct((), x.dtype)

    def in_place(x: Array) -> Array:
        return buffer_callback(model.write, result, vmap_method="broadcast_all")(x)

    def copied(x: Array) -> Array:
        return jax.pure_callback(model, result, x, vmap_method="broadcast_all")

    return jax.lax.platform_dependent(x, cpu=in_place, default=copied)


@_logit.defjvp
def _no_gradient(*args: object) -> NoReturn:
    raise TypeError(
        "a black box has no gradient: use a method of hare_jax.recourse.METHODS with uses_gradients=False, such as "
        "growing_spheres or nnce, and HARE with Sampling(validity_gradient=False)"
    )
