"""The rows of the ideal observer (see `observer`), with the bound of the distortion-rate function (see `rate`)."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.experiments import observer, question_rows, rate
from benchmarks.experiments.cells import rounded
from benchmarks.experiments.question_rows import BUDGETS, MOST, Case
from benchmarks.timing import run_fields, timed
from hare_jax import people

_NUM_BOUNDED = 10  # users for whom the bound is computed


class Prior(NamedTuple):
    """The candidates of the users of one seed and distance, and the bounds of some of them."""

    candidates: observer.Candidates
    tangents: list[rate.Tangents]
    seconds: float  # of the draws and their compilation


def prior(case: Case) -> Prior:
    """Draw the candidates of a case, and compute the bounds of the first users."""
    hp = people.Population(distance=people.DISTANCES[case.spec.ideal])
    key = jax.random.fold_in(jax.random.key(case.spec.seed), 7)
    start = time.perf_counter()
    users = case.cohort.users["ideal"]
    found = jax.block_until_ready(observer.draw(hp, key, case.logit_fn, case.cohort.x, users, case.space))
    seconds = time.perf_counter() - start
    bounded = np.flatnonzero(case.present & jnp.all(found.valid, axis=1))[:_NUM_BOUNDED]
    distance = (np.asarray(observer.distances(found.x[user])) for user in bounded)
    return Prior(found, [rate.tangents(between) for between in distance], seconds)


def rows(case: Case, given: Prior) -> Iterator[dict[str, Any]]:
    """A row per budget."""
    key, flip = jax.random.fold_in(jax.random.key(case.spec.seed), 8), float(case.spec.noise)
    done = timed(observer.elicit_all, given.candidates, key, flip, num=MOST)
    bits = np.array(BUDGETS) * rate.bits_per_answer(flip)
    bounds = np.array([rate.least_distance(found, bits) for found in given.tangents]).reshape(-1, len(bits))
    for at, row in enumerate(question_rows.rows(case, done.value)):
        bound = {"rate_bound": rounded(bounds[:, at].mean()), "rate_bound_n": len(bounds)} if len(bounds) else {}
        yield row | bound | run_fields(done, given.seconds)
