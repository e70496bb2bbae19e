"""The entry point of `hare-jax`: handles interrupts before JAX is imported."""

import sys

from hare_jax.app import interrupts


def main() -> int:
    """Run the command line of the process, and return its exit status."""
    interrupts.install()
    from hare_jax.app import cli  # takes seconds

    status = cli.main()
    interrupts.ignore()
    return status


if __name__ == "__main__":
    sys.exit(main())
