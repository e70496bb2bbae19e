"""A quick piece of work for grids of experiments, in a module of its own, which other processes import."""

import os
import sys
import time

from benchmarks.experiments import grid

SECONDS = 0.3  # of a piece


def prepare(group):
    if group == "broken":
        raise ValueError("no such group")
    return group, os.getpid()


def compute(shared, spec):
    if spec == "wrong":
        raise ValueError("wrong\nspec")
    time.sleep(SECONDS)
    return {"group": shared[0], "prepared": shared[1], "pid": os.getpid()}


WORK = grid.Work(prepare, compute)


def pieces(groups, each):
    return [grid.Piece(group, "program", f"{group}{index}") for group in groups for index in range(each)]


if __name__ == "__main__":  # prints the processes of its results, without an end
    from hare_jax.app import interrupts

    interrupts.install()
    for _, result in grid.outcomes(WORK, pieces("ab", 1000), grid.Resources(processes=2)):
        print(result["pid"], flush=True, file=sys.stdout)
