"""Ctrl-C: end the process at once with exit status 130, without a traceback.

Python's own `KeyboardInterrupt` waits until a program of XLA ends, and XLA's threads crash while the interpreter shuts
down. Here a thread of its own waits for the signal, and ends the process without that shutdown. Import this module
before JAX: its imports are quick.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

STATUS = 128 + signal.SIGINT  # as a shell reports a process that a signal has ended
_SHOW_CURSOR = b"\x1b[?25h\n"  # progress bars hide it
_PATIENCE = 2.0  # seconds for output to be flushed, or for `held`

_held = threading.Lock()
_cleaning: list[Callable[[], None]] = []


def install() -> None:
    """From now on SIGINT ends the process with status 130; to be called once, in the main thread."""
    signal.signal(signal.SIGINT, _exit_now)
    if os.name == "nt":  # pipes block there
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reading,), daemon=True).start()
    signal.signal(signal.SIGINT, _leave_to_thread)


def ignore() -> None:
    """From now on SIGINT does nothing: the work is done, and Python shuts down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Postpone the end of the process, except on Windows; child processes started within never receive SIGINT."""
    if os.name == "nt":
        yield
        return
    with _held:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def cleaned_by(fn: Callable[[], None]) -> Iterator[None]:
    """Call `fn` in the end, also if an interrupt ends the process within."""
    _cleaning.append(fn)
    try:
        yield
    finally:
        _cleaning.remove(fn)
        fn()


def leave(status: int = STATUS) -> NoReturn:
    """End the process with a `status`, by default that of SIGINT for what has taken the signal itself.

    Python does not shut down: threads that still compile would crash.
    """
    _for_a_while(_flush)
    os._exit(status)


def _exit_now(number: int, frame: FrameType | None) -> None:
    os._exit(STATUS)


def _leave_to_thread(number: int, frame: FrameType | None) -> None:
    """Nothing: Python has written the signal's number to the pipe that `_wait` reads."""


def _wait(reading: int) -> None:
    while os.read(reading, 1) != bytes([signal.SIGINT]):
        pass
    _held.acquire(timeout=_PATIENCE)
    for fn in reversed(_cleaning):
        with contextlib.suppress(Exception):
            fn()
    _for_a_while(_flush)
    _for_a_while(_show_cursor)
    os._exit(STATUS)


def _for_a_while(fn: Callable[[], None]) -> None:
    """Call `fn`, which a reader that has stopped would block for ever."""
    caller = threading.Thread(target=fn, daemon=True)
    caller.start()
    caller.join(_PATIENCE)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _show_cursor() -> None:
    with contextlib.suppress(Exception):
        os.write(next(stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()), _SHOW_CURSOR)
