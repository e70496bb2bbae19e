"""The programs of sessions: each is compiled once in a process, ahead of its first call and beside other programs.

A program takes everything as arguments, the elicitor and the classifier included, so that all sessions with models of
one structure share it. Tracing runs in the thread of the caller, and XLA's compilation in those of a pool.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.app.compiling import quickest_jit
from hare_jax.base import Recourse
from hare_jax.elicit import Elicitor, Question

_NUM_THREADS = 2  # of compilation
_MOST_PROGRAMS = 256  # that are kept: a model on the host is part of its programs


class Shown(NamedTuple):
    """A state, with what it shows."""

    state: Any
    question: Question
    best: Recourse


def start(elicitor: Elicitor, key: Array, *problem: Any) -> Shown:
    """Open a session by the data of a `key`; `problem` are the other arguments of `elicitor.start`."""
    return shown(elicitor, elicitor.start(jax.random.wrap_key_data(key), *problem))


def propose(elicitor: Elicitor, state: Any, key: Array, repeated: Array) -> Shown:
    """Prepare questions by the data of a `key`; `repeated` () earlier ones in its place change it."""
    given = jax.random.wrap_key_data(key)
    other = jax.random.fold_in(given, repeated)
    data = jnp.where(repeated > 0, jax.random.key_data(other), key)
    return shown(elicitor, elicitor.propose(state, jax.random.wrap_key_data(data)))


def tell(elicitor: Elicitor, state: Any, answer: Any) -> Shown:
    """Process an answer of any type."""
    return shown(elicitor, elicitor.tell(state, answer))


def shown(elicitor: Elicitor, state: Any) -> Shown:
    """A `state`, its question and its recommendation."""
    return Shown(state, elicitor.ask(state), elicitor.recommend(state))


class _Program(NamedTuple):
    """A program under way."""

    shapes: "Future[Any]"  # its results as `ShapeDtypeStruct` objects
    compiled: "Future[Any]"


_lock = threading.Lock()
_programs: OrderedDict[Any, _Program] = OrderedDict()  # the one that was unused for longest first
_pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="compile")


def call(fn: Callable, *args: Any) -> Any:
    """`fn(*args)` by its program, which is compiled now if need be."""
    return prepared(fn, *args).compiled.result()(*args)


def shapes(fn: Callable, *args: Any) -> Any:
    """The results of `fn(*args)` as `ShapeDtypeStruct` objects; its compilation goes on in the background."""
    return prepared(fn, *args).shapes.result()


def prepared(fn: Callable, *args: Any) -> _Program:
    """The program of `fn` for arguments like `args`, arrays or `ShapeDtypeStruct` objects."""
    leaves, structure = jax.tree.flatten(args)
    key = fn, structure, tuple(map(_aval, leaves))
    with _lock:
        known = _programs.get(key)
        program = _programs.setdefault(key, _Program(Future(), Future()))
        _programs.move_to_end(key)
        if len(_programs) > _MOST_PROGRAMS:
            _programs.popitem(last=False)
    if known is None:
        _compile(key, program, fn, args)
    return program


def _compile(key: Any, program: _Program, fn: Callable, args: tuple) -> None:
    """Trace a program here, and compile it in the pool; one that fails is forgotten."""
    try:
        lowered = quickest_jit(fn).lower(*args)
        found = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), lowered.out_info)
        program.shapes.set_result(found)
        _pool.submit(_finish, key, program, lowered)
    except BaseException as error:
        _fail(key, program, error)
        raise


def _finish(key: Any, program: _Program, lowered: Any) -> None:
    try:
        compiled = lowered.compile()
    except BaseException as error:
        _fail(key, program, error)
    else:
        program.compiled.set_result(compiled)


def _fail(key: Any, program: _Program, error: BaseException) -> None:
    """Forget a program, and raise the error in each thread that waits for it."""
    with _lock:
        if _programs.get(key) is program:
            del _programs[key]
    for waited in program:
        if not waited.done():
            waited.set_exception(error)


def _aval(leaf: Any) -> Any:
    """What a program depends on of an argument."""
    if hasattr(leaf, "dtype"):
        return np.shape(leaf), np.dtype(leaf.dtype).name
    return type(leaf)
