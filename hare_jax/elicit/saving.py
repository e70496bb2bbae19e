"""Saved sessions: the arrays of a state, without its classifier, in a file of NumPy's `.npz` format.

The file has one array for each leaf of the state, under its path in the pytree (`.x`, `.belief.mean`), and two more:
the number of the format, and a description of the elicitor, which is compared when the file is loaded. The links of a
space with relations are compared, too. Nothing in the file is pickled. The structure of the state is not in the file:
`load` derives it from the elicitor, by tracing its `start`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from hare_jax import archive
from hare_jax.archive import File
from hare_jax.base import LogitFn, Recourse, as_partial, is_known, require
from hare_jax.elicit.base import Elicitor
from hare_jax.hyperparams import typed_fields
from hare_jax.models import reason
from hare_jax.space import ActionSpace

_VERSION = 1  # of the format
_FORMAT, _ELICITOR, _LINKS = "format", "elicitor", "links"  # names in the file; those of the leaves start with a dot
_RULE = "must be a session written by elicit.save, whole and unchanged"
_RESTRICTED = {".mutable": np.less_equal, ".lower": np.greater_equal, ".upper": np.less_equal}  # by vetoes and ranges

State = TypeVar("State", bound=Any)


def detach(state: State) -> State:
    """A session's `state` without its classifier: a pytree of arrays alone."""
    return state._replace(logit_fn=None)


def attach(state: State, logit_fn: LogitFn) -> State:
    """A session's `state` with `logit_fn` as its classifier."""
    return state._replace(logit_fn=as_partial(logit_fn))


def save(file: File, elicitor: Elicitor, state: Any) -> None:
    """Write the `state` of one session of an `elicitor` to `file`, a path or an open binary file.

    The classifier is not written. A file of that name is replaced once the new one is complete.

    Raises:
        ValueError: `state` is traced, or not the state of one session of the `elicitor`.
        OSError: the file can't be written.
    """
    _check_state(elicitor, state)
    arrays = to_arrays(state) | {
        _FORMAT: np.asarray(_VERSION),
        _ELICITOR: np.asarray(json.dumps(_description(elicitor))),
    }
    arrays |= {_LINKS: np.asarray(_links(state.space))} if state.space.relations is not None else {}
    archive.write(file, arrays)


def to_arrays(state: Any) -> dict[str, np.ndarray]:
    """The arrays of a `state` without its classifier, by their paths."""
    return {name: np.asarray(leaf) for name, leaf in _leaves(detach(state)).items()}


def from_arrays(name: str, arrays: dict[str, np.ndarray], structure: Any, logit_fn: LogitFn, space: ActionSpace) -> Any:
    """The state of the arrays of `to_arrays`, with a `structure`, a `ShapeDtypeStruct` a leaf, and this classifier.

    Raises:
        ValueError: the arrays, which `name` names, are not those of such a state in this space.
    """
    structure = detach(structure)
    _check_leaves(name, structure, arrays)
    _check_space(name, space, arrays)
    return attach(_filled(structure, arrays), logit_fn)


def load(file: File, elicitor: Elicitor, logit_fn: LogitFn, space: ActionSpace) -> Any:
    """Read the state of a session from `file`, a path or an open binary file, and attach `logit_fn` to it.

    With the classifier, the elicitor and the action space of the saved session, the loaded one goes on exactly as that
    one would have. Vetoes and ranges that have restricted the space are kept.

    Raises:
        ValueError: `file` holds no whole session, or one of another format, elicitor, hyperparameter, space or dtype,
            or the classifier accepts no row of this width.
        OSError: the file can't be read.
    """
    name, arrays = archive.name_of(file), archive.read(file, (_FORMAT, _ELICITOR, ".x"), _RULE)
    _check_header(name, elicitor, arrays)
    x = arrays[".x"]
    width = space.mutable.shape
    require(x.shape == width, name, f"must have x of shape {width}, the width of the space", x.shape)
    known = jax.dtypes.canonicalize_dtype(x.dtype) == x.dtype
    require(known, name, "must be of a dtype that JAX is set to (jax_enable_x64)", x.dtype.name)
    _check_classifier(logit_fn, x)
    structure = jax.eval_shape(lambda: _first_state(elicitor, logit_fn, x, space))
    state = from_arrays(name, arrays, structure, logit_fn, space)
    _check_links(name, space, arrays)
    return state


def _filled(structure: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The pytree of this `structure` with the `arrays`, by name, as its leaves."""
    return jax.tree.unflatten(jax.tree.structure(structure), [jnp.asarray(arrays[name]) for name in _leaves(structure)])


def _first_state(elicitor: Elicitor, logit_fn: LogitFn, x: np.ndarray, space: ActionSpace) -> Any:
    factual, space = jax.tree.map(jnp.asarray, (x, space))
    return elicitor.start(jax.random.key(0), as_partial(logit_fn), factual, Recourse(factual, jnp.array(True)), space)


def _leaves(state: Any) -> dict[str, Any]:
    """The leaves of a pytree by their path."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _check_state(elicitor: Elicitor, state: Any) -> None:
    require(hasattr(state, "logit_fn"), "state", "must be the state of a session", type(state).__name__)
    require(is_known(detach(state)), "state", "must not be traced: save outside of jit", "a tracer")
    require(state.x.ndim == 1, "state", "must be of one session, with x of shape (d,)", state.x.shape)
    try:
        jax.eval_shape(elicitor.ask, state)
    except AttributeError as error:
        raise ValueError(f"state: must be a state of the elicitor {elicitor}; got {error}") from None


def _check_header(name: str, elicitor: Elicitor, arrays: dict[str, np.ndarray]) -> None:
    """Check the format, and that the file's elicitor is the one that is given."""
    require(arrays[_FORMAT] == _VERSION, name, f"must have format {_VERSION}", arrays[_FORMAT].tolist())
    saved, given = json.loads(str(arrays[_ELICITOR])), _description(elicitor)
    for part in sorted(saved.keys() | given.keys()):
        ours, theirs = given.get(part, "none"), saved.get(part, "none")
        require(ours == theirs, name, f"must be of the elicitor given, whose {part} is {ours}", theirs)


def _check_classifier(logit_fn: Callable, x: np.ndarray) -> None:
    """Check that the classifier accepts a row like `x` (d,)."""
    try:
        shape = np.shape(jax.block_until_ready(logit_fn(jnp.asarray(x))))
    except Exception as error:  # of any library
        rule = f"must accept the session's row of {len(x)} columns"
        raise ValueError(f"logit_fn: {rule}; got {reason(error)}") from error
    require(shape == (), "logit_fn", "must return a scalar", shape)


def _check_leaves(name: str, structure: Any, arrays: dict[str, np.ndarray]) -> None:
    expected = _leaves(structure)
    other = sorted(expected.keys() ^ (arrays.keys() - {_FORMAT, _ELICITOR, _LINKS}))
    require(not other, name, "must have the arrays of the elicitor's state; these are missing or unknown", other)
    for leaf, like in expected.items():
        found = arrays[leaf].shape, arrays[leaf].dtype.name
        wanted = like.shape, like.dtype.name
        require(found == wanted, name, f"must have {leaf} of shape {like.shape} and dtype {like.dtype.name}", found)


def _check_space(name: str, space: ActionSpace, arrays: dict[str, np.ndarray]) -> None:
    """Check that the file's space is the one that is given, or a restriction of it by vetoes and ranges."""
    restrictable = _RESTRICTED if ".ranges.lower" in arrays else {}
    for path, leaf in _leaves(space).items():
        given, rule = np.asarray(leaf), restrictable.get(path, np.equal)
        same = bool(rule(arrays[f".space{path}"], given).all())
        require(same, name, f"must be of the space given, whose {path[1:]} is {given.tolist()}", "another")


def _check_links(name: str, space: ActionSpace, arrays: dict[str, np.ndarray]) -> None:
    """Check that the links of the file are those of the space, if it has relations."""
    if space.relations is not None:
        links = _links(space)
        saved = str(arrays.get(_LINKS, "none"))
        require(saved == links, name, f"must be of the space given, whose links are {links}", saved)


def _links(space: ActionSpace) -> str:
    """The links of a space with relations, as text."""
    return json.dumps([] if space.relations is None else space.relations.links)


def _description(elicitor: Elicitor) -> dict[str, str]:
    """The functions and hyperparameters of an elicitor by their path, as text."""
    functions = {field.name: getattr(elicitor, field.name) for field in dataclasses.fields(elicitor)}
    return {name: text for part, fn in functions.items() if callable(fn) for name, text in _parts(part, fn)}


def _parts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The functions, numbers and other constants in `value`, by their path."""
    inner = _children(value)
    if isinstance(value, Partial) or not inner:
        yield name, _text(value)
    for key, child in inner.items():
        yield from _parts(f"{name}.{key}", child)


def _children(value: Any) -> dict[Any, Any]:
    if isinstance(value, Partial):
        return {**dict(enumerate(value.args)), **value.keywords}
    if dataclasses.is_dataclass(value):
        return {field.name: _typed(field.kind, getattr(value, field.name)) for field in typed_fields(value.__class__)}
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else {}


def _typed(kind: Any, value: Any) -> Any:
    """The value of a field, a float where it has to be one: 0 is the same rate as 0.0."""
    return float(value) if kind is float and isinstance(value, int) else value


def _text(value: Any) -> str:
    """A constant as text that is the same in every process; floats at the precision of float32."""
    if isinstance(value, Partial):
        value = value.func
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    if not isinstance(value, float | np.ndarray | np.generic | Array):
        return str(value)
    array = np.asarray(value)
    array = array.astype(np.float32) if array.dtype.kind == "f" else array
    return str(array[()]) if array.ndim == 0 else hashlib.sha256(array.tobytes()).hexdigest()
