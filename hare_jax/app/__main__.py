"""The entry point of `hare-jax`: handles interrupts before JAX is imported."""

import gc
from typing import NoReturn

from hare_jax.app import interrupts


def main() -> NoReturn:
    """Run the command line of the process, and end it with the exit status."""
    interrupts.install()
    gc.disable()
    from hare_jax.app import cli  # takes seconds, longer with collections: hardly any of its objects are garbage

    gc.freeze()
    gc.enable()
    status = cli.main()
    interrupts.ignore()
    interrupts.leave(status)


if __name__ == "__main__":
    main()
