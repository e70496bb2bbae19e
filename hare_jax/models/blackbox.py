"""Black boxes: any batched `predict_proba` of NumPy arrays as a classifier for the methods that need no gradient.

The model runs on the host, once for all rows of a `vmap` (`models.callback`), and returns probabilities alone. For
models with labels, thresholds or rows in original units, `models.wrap` is the better choice.
"""

import dataclasses
from collections.abc import Callable, Hashable

import jax
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike

from hare_jax.base import require
from hare_jax.models import callback


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Model:
    """A function of rows on the host."""

    predict_proba: Callable

    @property
    def label(self) -> str:
        return getattr(self.predict_proba, "__qualname__", type(self.predict_proba).__name__)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Logits (n,) of rows (n, d), finite."""
        answer, num = np.asarray(self.predict_proba(rows), np.float64), len(rows)
        right_shape = answer.shape in ((num,), (num, 2))
        require(right_shape, "predict_proba", f"must give ({num}, 2) or ({num},) for {num} rows", answer.shape)
        wanted = answer if answer.ndim == 1 else answer[:, 1]
        wrong = wanted[~((wanted >= 0) & (wanted <= 1))]  # NaN too
        require(wrong.size == 0, "predict_proba", "must give probabilities, from 0 to 1", wrong[:5].tolist())
        least = np.finfo(rows.dtype).eps
        p = np.clip(wanted, least, 1 - least)
        return np.log(p / (1 - p))


def black_box(predict_proba: Callable, rows: ArrayLike | None = None) -> Partial:
    """Make `predict_proba` a classifier `(d,) -> ()`: its logit is `log(p / (1 - p))`, with p clipped to stay finite.

    `predict_proba` takes a NumPy array (n, d) of encoded rows, for any n, and gives the probability of each class
    (n, 2), the wanted class last, or that of the wanted class alone (n,); it has to be pure, and must not call JAX. It
    is called once on `rows` (n, d) if they are given, so that errors are raised at once. The same function, or the same
    method of the same object, never recompiles, and compiled programs call a model that is retrained in place with its
    new weights.

    A model with piecewise constant probabilities, such as a forest, often returns exactly p = 1/2: accepted, but below
    the margin that recourses keep. `models.wrap` takes one trained on a DataFrame.

    Raises:
        ValueError: `predict_proba` can't be hashed; or, on `rows`, it returns a wrong shape, NaN, or numbers that
            aren't probabilities.
        JaxRuntimeError: it raises an exception, or returns any of these, inside of a program; the last line of the
            message, `models.reason(error)`, quotes the exception.
        TypeError: it is differentiated.

    >>> logit_fn = black_box(lambda x: 1 / (1 + np.exp(1 - 2 * x[:, 0])))
    >>> jax.vmap(logit_fn)(np.array([[0.0], [0.5], [2.0]], np.float32)).round(4).tolist()
    [-1.0, 0.0, 3.0]
    """
    require(callable(predict_proba), "predict_proba", "must be a function", predict_proba)
    require(isinstance(predict_proba, Hashable), "predict_proba", "must be hashable", type(predict_proba).__name__)
    model = _Model(predict_proba)
    if rows is not None:
        model(np.array(rows))
    return Partial(callback.logit, model)
