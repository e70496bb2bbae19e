"""A pool of threads for heavy work, so that the event loop is free."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_MOST_THREADS = 4


class Workers:
    """As many threads as there are cores, at most four."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="session")

    async def run(self, fn: Callable, *args: Any) -> Any:
        """`fn(*args)` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)

    def close(self) -> None:
        """End the threads, when what they do now is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)
