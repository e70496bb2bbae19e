"""Threads for heavy work, so that the event loop is free; one of them opens sessions, so that no answer waits."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_MOST_THREADS = 4


class Workers:
    """As many threads as there are cores, at most four, and one that opens sessions."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="session")
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="opening")

    async def run(self, fn: Callable, *args: Any) -> Any:
        """`fn(*args)` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)

    async def open(self, fn: Callable, *args: Any) -> Any:
        """`fn(*args)` in the thread that opens sessions."""
        return await asyncio.get_running_loop().run_in_executor(self._opening, fn, *args)

    def close(self) -> None:
        """End the threads, when what they do now is done."""
        for pool in (self._pool, self._opening):
            pool.shutdown(wait=False, cancel_futures=True)
