"""`wrap`: somebody else's model as a classifier of encoded rows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from hare_jax.base import Bound, choose, require
from hare_jax.models import callback
from hare_jax.models.wrapping import host, torch_module, traced, trial
from hare_jax.models.wrapping.decision import LOGIT, OUTPUTS, PROBABILITY, VALUE, Decision
from hare_jax.models.wrapping.rows import Identity, TableLike
from hare_jax.models.wrapping.wanted import Wanted, by_class, by_value, is_condition

_ESTIMATOR = ("predict_proba", "decision_function", "predict", "inplace_predict")


@jax.tree_util.register_pytree_node_class
class Wrapped(Bound):
    """Somebody else's model as a classifier, that prints its name: `Wrapped(Pipeline, wanted='yes')`."""

    def __repr__(self) -> str:
        return f"Wrapped({getattr(self.args[0], 'label', '')})"


class _Opened(NamedTuple):
    """A model that has been asked about the training rows."""

    outputs: np.ndarray  # (n, k)
    kind: str  # "probability", "logit" or "value"
    classes: Sequence[Any] | None  # names of its classes, if it has any
    bind: Callable[[Decision, str], Wrapped]


def wrap(
    model: Any,
    table: TableLike,
    params: Any = None,
    *,
    wanted: Any = None,
    threshold: float | None = None,
    classes: Sequence[Any] | None = None,
    inputs: str | Callable | None = None,
    outputs: str | None = None,
) -> Wrapped:
    """Make `model` a classifier `(d,) -> ()` of the encoded rows of `table`.

    The logit of a row is at least 0 if and only if the model's own decision for the decoded row is the wanted one (of
    a JAX function, an exact tie counts as wanted). The model may be

    - an estimator or a pipeline of scikit-learn, XGBoost, LightGBM or CatBoost, or a native booster, trained on the
      DataFrame in original units or on encoded rows: a black box, for the methods that need no gradient;
    - a PyTorch module of encoded rows: with first derivatives in the row;
    - a JAX function of an encoded row (d,), an equinox, flax or Keras module on JAX: with all derivatives, of its
      arrays too. `params` are the parameters of a `flax.linen` module, or a first argument of the function.

    `wanted` is a class by its name, or a collection of classes; of a model that predicts a number, a condition such as
    ">= 6" or a range (low, high). The default is what the table's schema calls `positive`: the value of a target of two
    classes, a list of values, or a condition on the number or on numeric classes. `threshold` is the least probability
    of the wanted classes; without it, the model's own prediction decides. `classes` names the outputs of a network in
    their order: two for a single output, which is that of the second; by default 0, 1, and so on.

    `inputs` is "frame" or "encoded", what the model was trained on, or a function of the DataFrame that prepares its
    rows; the default is found from the model's feature names, or by trying. `outputs` is "logit" (the default of
    networks), "probability" or "value", a number.

    The model is tried on training rows. The same model, wrapped in the same way, never recompiles.

    Raises:
        ValueError: an argument is wrong; or the model fails on the training rows, returns NaN, probabilities declared
            as logits or the reverse, or decides clearly against the table's labels.

    Warns:
        UserWarning: the model accepts all training rows or none, or agrees with the labels no better than chance.

    >>> import pandas as pd, jax.numpy as jnp
    >>> from hare_jax.data import from_frame
    >>> rows = pd.DataFrame({"income": [20, 40, 60, 30], "loan": ["no", "yes", "yes", "no"]})
    >>> features = {"income": {"type": "continuous"}}
    >>> table = from_frame(rows, {"target": "loan", "positive": "yes", "features": features}, test=rows)
    >>> logit_fn = wrap(lambda x: 4 * x[0] - 1, table, classes=("no", "yes"), threshold=0.75)
    >>> logit_fn, bool(logit_fn(jnp.array([0.5])) >= 0), bool(logit_fn(jnp.array([0.6])) >= 0)
    (Wrapped(<lambda>, wanted='yes', threshold=0.75), False, True)
    """
    is_table = hasattr(table, "decode") and hasattr(table, "x_train")
    require(is_table, "table", "must be a Table, of data.load or data.from_frame", type(table).__name__)
    valid_inputs = inputs is None or callable(inputs) or inputs in ("frame", "encoded")
    require(valid_inputs, "inputs", "must be 'frame', 'encoded' or a function of a DataFrame", inputs)
    if outputs is not None:
        choose("outputs", outputs, OUTPUTS)
    x, y = trial.rows_of(table)
    opened = _open(model, params, table, x, y, _Options(wanted, threshold, inputs, outputs))
    raw = trial.check_outputs(opened.outputs, len(x), opened.kind)
    found = _find_wanted(opened, raw, table, wanted, threshold, classes)
    name = _name_of(model)
    trial.check_decisions(name, found, raw, y)
    limit = "" if threshold is None else f", threshold={threshold}"
    return opened.bind(found.decision, f"{name}, wanted={found.name!r}{limit}")


class _Options(NamedTuple):
    """Arguments of `wrap`."""

    wanted: Any
    threshold: float | None
    inputs: str | Callable | None
    outputs: str | None

    def kind(self, default: str) -> str:
        """The kind of outputs of a model without methods that tell it."""
        return self.outputs or (VALUE if is_condition(self.wanted) else default)


def _find_wanted(
    opened: _Opened, raw: np.ndarray, table: TableLike, wanted: Any, threshold: float | None, classes: Any
) -> Wanted:
    """The decision for what is wanted of the opened model, with `raw` outputs (n, k)."""
    positive = table.schema.get("positive", 1)
    if opened.kind == VALUE:
        require(threshold is None, "threshold", "must be None for a model that predicts a number", threshold)
        require(raw.shape[1] == 1, "model", "must give one number for a row", raw.shape)
        return by_value(wanted, float(raw.std()) or 1.0, positive)
    num = max(2, raw.shape[1])
    known = opened.classes or classes or range(num)
    told = classes is None or list(known) == list(classes)
    require(told, "classes", f"must be the model's own, {list(known)}, or None", classes)
    require(len(known) == num, "classes", f"must name the {num} classes of the model's outputs", list(known))
    return by_class(wanted, opened.kind, known, positive, threshold)


def _open(model: Any, params: Any, table: TableLike, x: np.ndarray, y: np.ndarray, options: _Options) -> _Opened:
    """Ask `model` about the training rows `x` (n, d) with labels `y` (n,)."""
    if torch_module.is_module(model):
        _require_encoded(options.inputs)
        return _open_torch(model, x, options.kind(LOGIT))
    if any(hasattr(model, method) for method in _ESTIMATOR) and not hasattr(model, "stateless_call"):
        return _open_host(model, table, x, y, options)
    require(callable(model), "model", "must be an estimator, a module or a function", type(model).__name__)
    if options.inputs is not None and options.inputs != "encoded":
        return _open_host(model, table, x, y, options)
    return _open_traced(model, params, x, options.kind(LOGIT))


def _require_encoded(inputs: Any) -> None:
    require(inputs in (None, "encoded"), "inputs", "must be 'encoded' for a network", inputs)


def _open_host(model: Any, table: TableLike, x: np.ndarray, y: np.ndarray, options: _Options) -> _Opened:
    asked = host.consult(
        model, table, x, y, host.Way(options.inputs, options.outputs, options.kind(PROBABILITY), options.threshold)
    )
    return _Opened(asked.outputs, asked.kind, asked.classes, lambda *bound: _on_host(asked.bind(model, *bound)))


def _open_torch(model: Any, x: np.ndarray, kind: str) -> _Opened:
    torch_module.check_mode(model)

    def bind(decision: Decision, label: str) -> Wrapped:
        return _on_host(torch_module.TorchModel(Identity(model), decision, label))

    try:
        answer = torch_module.outputs(model, x)
    except RuntimeError as error:
        rule = f"must take rows of the table's {x.shape[1]} encoded columns"
        raise ValueError(f"model: {rule}; got {callback.quote(error)}") from error
    return _Opened(answer, kind, None, bind)


def _open_traced(model: Any, params: Any, x: np.ndarray, kind: str) -> _Opened:
    opened = traced.open_model(model, params, x)

    def bind(decision: Decision, label: str) -> Wrapped:
        static = traced.TracedDecision(opened.skeleton, opened.batched, decision, label)
        return Wrapped(traced.logit, static, opened.arrays)

    return _Opened(traced.all_outputs(opened, x), kind, None, bind)


def _on_host(model: Any) -> Wrapped:
    return Wrapped(callback.logit, model)


def _name_of(model: Any) -> str:
    """The name of a function, or the class of a model."""
    return getattr(model, "__name__", type(model).__name__)
