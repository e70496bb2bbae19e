"""Progress on stderr, for work that takes longer than a moment."""

import contextlib
import sys
import threading
from collections.abc import Iterator

from rich.console import Console
from rich.progress import Progress

from hare_jax.app.explainer.chunks import Tick, no_tick

_DELAY = 1.5  # seconds


@contextlib.contextmanager
def shown(progress: bool | None, num: int) -> Iterator[Tick]:
    """Count `num` rows on stderr, after a delay; None shows it if stderr is a terminal."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield no_tick
        return
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task("Recourse", total=num)
    timer = threading.Timer(_DELAY, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda done: bar.advance(task, done)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
