"""`hare-jax demo`: its progress and its output."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from hare_jax.app import demo, show


def run_command(chosen: demo.Demo, console: Console) -> None:
    """Run the demonstration, and print it."""
    demo.check(chosen)  # before the progress bar is shown
    columns = SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(24)
    with Progress(*columns, TextColumn("{task.elapsed:.1f} s"), console=console) as progress:

        @contextlib.contextmanager
        def stage(name: str) -> Iterator[None]:
            task = progress.add_task(name, total=None)
            yield
            progress.update(task, total=1, completed=1)
            progress.stop_task(task)

        report = demo.run(chosen, stage)
    show.demonstration(console, chosen, report)
