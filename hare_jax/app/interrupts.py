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
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

STATUS = 128 + signal.SIGINT  # as a shell reports a process that a signal has ended
_SHOW_CURSOR = b"\x1b[?25h\n"  # progress bars hide it
_PATIENCE = 2.0  # seconds for output to be flushed, or for `held`

_held = threading.Lock()


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


def leave() -> NoReturn:
    """End the process as SIGINT does, for what has taken the signal itself."""
    _flush()
    os._exit(STATUS)


def ignore() -> None:
    """From now on SIGINT does nothing: the work is done, and Python shuts down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Postpone the end of the process; child processes that are started within never receive SIGINT."""
    with _held:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_now(number: int, frame: FrameType | None) -> None:
    os._exit(STATUS)


def _leave_to_thread(number: int, frame: FrameType | None) -> None:
    """Nothing: Python has written the signal's number to the pipe that `_wait` reads."""


def _wait(reading: int) -> None:
    while os.read(reading, 1) != bytes([signal.SIGINT]):
        pass
    _held.acquire(timeout=_PATIENCE)
    flusher = threading.Thread(target=_flush, daemon=True)  # a reader that has stopped would block it for ever
    flusher.start()
    flusher.join(_PATIENCE)
    os._exit(STATUS)


def _flush() -> None:
    streams = sys.stdout, sys.stderr
    for stream in streams:
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        os.write(next(stream.fileno() for stream in streams if stream.isatty()), _SHOW_CURSOR)
