"""`python -m benchmarks NAME`: run the missing experiments of one table or of all, and render the results."""

import sys

from hare_jax.app import interrupts


def main() -> int:
    """Run the command line of the process, and return its exit status; see `commands.main`."""
    interrupts.install()
    from benchmarks import commands  # takes seconds: JAX

    status = commands.main()
    interrupts.ignore()
    return status


if __name__ == "__main__":
    sys.exit(main())
