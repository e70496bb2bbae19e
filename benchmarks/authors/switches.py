"""The switches: what each turns on of the original's behaviour, beyond that of paper mode."""

from collections.abc import Iterable
from typing import NamedTuple

from hare_jax.base import choose


class Switch(NamedTuple):
    """One behaviour of the original that paper mode leaves out."""

    does: str  # what the switch changes
    of_metrics: bool = False  # it changes how a metric counts, and no session


SWITCHES = {
    "shared": Switch(
        "all users of a seed share one random key, as the original seeds all generators again for each user: "
        "perturbations, directions of growing spheres, latent samples, candidates and winners of the random arm; with "
        "Wachter's recourses candidates are the same for all seeds, too"
    ),
    "stream": Switch(
        "hidden ideals, cost weights and growing spheres use the numbers that NumPy draws from the seed in the "
        "original, to the last draw"
    ),
    "loop": Switch(
        "Wachter's method takes AMSGrad's steps, of about the same length in all columns, and halves the weight of the "
        "cost after every 2,500 of 25,000"
    ),
    "rounding": Switch(
        "redundancy counts a column as changed if float32 can't hold its value, where the original compares the "
        "result in float32 exactly with the row in float64, and as refused where both classes are equally probable in "
        "float32, as for results on the decision boundary",
        of_metrics=True,
    ),
}
NONE, ALL = "none", "all"
NAMES = (NONE, *SWITCHES, ALL)  # of the bundles that a run computes: none, each switch alone, all
Bundle = frozenset[str]  # of names of switches


def bundle(name: str) -> Bundle:
    """The switches of a bundle: those of `none`, of `all`, or the one of this name.

    Raises:
        ValueError: there is no such bundle.
    """
    choose("switches", name, NAMES)
    return {NONE: frozenset(), ALL: frozenset(SWITCHES)}.get(name, frozenset({name}))


def of_sessions(on: Iterable[str]) -> Bundle:
    """Those of the switches `on` that change sessions."""
    return frozenset(name for name in on if not SWITCHES[name].of_metrics)
