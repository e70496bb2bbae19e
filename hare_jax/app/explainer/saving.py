"""An explainer in one file of NumPy's `.npz` format: its table, its method, and the weights of a built-in classifier.

Arrays are stored as such, and all else as JSON: nothing is pickled, so that a file can't run code. Another model than a
`models.Classifier` is not in the file, and is given again; neither are the test rows.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from hare_jax import archive
from hare_jax.archive import File
from hare_jax.base import ActionSpace, Link, require
from hare_jax.data import Table
from hare_jax.data.schema import Feature
from hare_jax.hyperparams import typed_fields
from hare_jax.models import from_layers, to_layers
from hare_jax.recourse import METHODS
from hare_jax.space import action_space, relate

_VERSION = 1  # of the format
_FORMAT, _ABOUT = "format", "about"  # names in the file
_SPACE, _RELATIONS, _LAYER = "space.", "relations.", "layer."  # prefixes of names
_ARRAY = "array"  # key of the name of an array, in JSON
_RULE = "must be an explainer written by Explainer.save, whole and unchanged"

Arrays = dict[str, np.ndarray]


class Saved(NamedTuple):
    """What a file holds."""

    table: Table
    method: str
    hyperparameters: dict[str, Any]
    seed: int
    options: dict[str, Any]  # of `models.wrap`
    again: list[str]  # names of further options, which have to be given again
    params: Any  # of a `models.Classifier`; None for another model


_OF_BIND = {"per_round": int}  # an option of `elicit.bind` that is no field of the hyperparameters


def save(file: File, saved: Saved) -> None:
    """Write `saved` to a path or an open binary file; a file of that name is replaced once the new one is complete.

    Raises:
        ValueError: a hyperparameter or a category is of a type that can't be written.
        OSError: the file can't be written.
    """
    table = saved.table
    arrays: Arrays = {"x_train": np.asarray(table.x_train), "y_train": np.asarray(table.y_train)}
    about = {
        "name": table.name,
        "schema": table.schema,
        "features": [feature._asdict() for feature in table.features],
        "audit": list(table.audit.columns),
        "links": [] if table.space.relations is None else table.space.relations.links,
        **{name: getattr(saved, name) for name in ("method", "hyperparameters", "seed", "options", "again")},
    }
    plain = {name: to_plain(name, value, arrays) for name, value in about.items()}
    arrays |= _of_space(table.space)
    for index, layer in enumerate([] if saved.params is None else to_layers(saved.params)):
        arrays |= {f"{_LAYER}{index}.{name}": np.asarray(array) for name, array in layer._asdict().items()}
    archive.write(file, arrays | {_FORMAT: np.asarray(_VERSION), _ABOUT: np.asarray(json.dumps(plain))})


def load(file: File) -> Saved:
    """Read what `save` wrote.

    Raises:
        ValueError: the file is damaged, of another format, or of another precision than JAX is set to.
        OSError: the file can't be read.
    """
    name, arrays = archive.name_of(file), archive.read(file, (_FORMAT, _ABOUT, "x_train"), _RULE)
    version, dtype = arrays[_FORMAT], arrays["x_train"].dtype
    require(version.shape == () and bool(version == _VERSION), name, f"must have format {_VERSION}", version.tolist())
    known = jax.dtypes.canonicalize_dtype(dtype) == dtype
    require(known, name, "must be of a precision that JAX is set to (jax_enable_x64)", dtype.name)
    try:
        about = json.loads(str(arrays[_ABOUT]))
        hyperparameters = restored_fields(METHODS[about["method"]].hyperparams, about["hyperparameters"], arrays)
        options, again = _tuples(about["options"]), about["again"]
        params = _params(arrays)
        return Saved(_table(about, arrays), about["method"], hyperparameters, about["seed"], options, again, params)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {_RULE}; got {error!r}") from None


def to_plain(name: str, value: Any, arrays: Arrays) -> Any:
    """`value` as JSON can hold it; an array is moved to `arrays`, and its name is left."""
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in typed_fields(value.__class__)}
    if isinstance(value, Mapping):
        return {key: to_plain(f"{name}.{key}", inner, arrays) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, tuple | list):
        return [to_plain(f"{name}.{index}", inner, arrays) for index, inner in enumerate(value)]
    if isinstance(value, np.ndarray | jax.Array) and np.ndim(value) > 0:
        arrays[name] = np.asarray(value)
        return {_ARRAY: name}
    value = value.item() if isinstance(value, np.generic | np.ndarray | jax.Array) else value
    require(value is None or isinstance(value, str | bool | int | float), name, "can't be written to a file", value)
    return value


def restored_fields(cls: type, value: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """The hyperparameters of a class: nested ones are built from the types of its fields."""
    kinds = {field.name: field.kind for field in typed_fields(cls)} | _OF_BIND
    return {name: _restored_one(kinds[name], inner, arrays) for name, inner in value.items()}


def _restored_one(kind: Any, value: Any, arrays: Arrays) -> Any:
    if isinstance(value, dict) and _ARRAY in value:
        return jnp.asarray(arrays[value[_ARRAY]])
    if isinstance(value, dict) and dataclasses.is_dataclass(kind):
        return cast(type, kind)(**restored_fields(cast(type, kind), value, arrays))
    return _tuples(value)


def _tuples(value: Any) -> Any:
    """`value` with tuples in place of lists."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _table(about: Mapping[str, Any], arrays: Arrays) -> Table:
    x, y = jnp.asarray(arrays["x_train"]), jnp.asarray(arrays["y_train"])
    return Table(
        name=about["name"],
        x_train=x,
        y_train=y,
        x_test=x[:0],
        y_test=y[:0],
        space=_space(_tuples(about["links"]), arrays),
        features=tuple(Feature(**_tuples(feature)) for feature in about["features"]),
        schema=about["schema"],
        audit=pd.DataFrame(columns=about["audit"]),
    )


def _of_space(space: ActionSpace) -> Arrays:
    """The arrays of an action space."""
    own = {name: value for name, value in space._asdict().items() if name != "relations"}
    related = {} if space.relations is None else vars(space.relations)
    named = {_SPACE + name: value for name, value in own.items()}
    named |= {_RELATIONS + name: value for name, value in related.items() if name != "links"}
    return {name: np.asarray(value) for name, value in named.items() if value is not None}


def _space(links: tuple, arrays: Arrays) -> ActionSpace:
    own, related = (_with_prefix(arrays, prefix) for prefix in (_SPACE, _RELATIONS))
    if related:
        most = related.pop("max_changes", None)
        limit = {} if most is None else {"max_changes": int(most)}
        linked = [Link(*link) for link in links]
        own["relations"] = relate(len(own["mutable"]), links=linked, **related, **limit)
    return action_space(**own)


def _params(arrays: Arrays) -> Any:
    """The weights of a classifier, if there are any."""
    known = {name: jnp.asarray(array) for name, array in _with_prefix(arrays, _LAYER).items()}
    layers = [(known[f"{index}.weight"], known[f"{index}.bias"]) for index in range(len(known) // 2)]
    return from_layers(layers) if layers else None


def _with_prefix(arrays: Arrays, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
