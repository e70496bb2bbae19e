"""Each row of `METHODS` and `ELICITORS` lowers for CUDA and TPU on a machine with neither, without custom calls."""

import re

import jax
import numpy as np
import pytest
from methods import fit, generate, marked, small
from spaces import random_problems, random_rows, row, split

from hare_jax import elicit, models
from hare_jax.base import Recourse
from hare_jax.elicit import ELICITORS, Challenger, Hare
from hare_jax.people import prefers_nearer
from hare_jax.recourse import METHODS

PLATFORMS = ("cuda", "tpu")
NUM_USERS, BUDGET = 2, 4
ON_HOST = ("exact",)  # calls a solver; JAX lowers a callback only where the platform itself is present
FAST = (Hare, Challenger)  # the others take longer to trace


def custom_calls(fn, *args):
    """The targets of the custom calls in the program of `fn`, mapped over the users."""
    text = jax.export.export(jax.jit(jax.vmap(fn)), platforms=PLATFORMS)(*args).mlir_module()
    return set(re.findall(r"custom_call @(\w+)", text))


def test_custom_calls_are_found():
    assert custom_calls(jax.numpy.linalg.cholesky, np.eye(2, dtype=np.float32)[None])


@pytest.fixture(scope="module")
def problems():
    return random_problems(0, NUM_USERS)


@pytest.mark.parametrize("name", [marked(name) for name in METHODS if name not in ON_HOST])
def test_methods_lower(name, problems):
    fitted = fit(name, split(1, 1)[0], row(problems, 0), random_rows(2, 200), small)

    def one(key, problem):
        return generate(name, fitted, key, problem)

    assert not custom_calls(one, split(3, NUM_USERS), problems)


def marked_elicitor(name):
    slow = ELICITORS[name].hyperparams not in FAST
    return pytest.param(name, marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize("name", [marked_elicitor(name) for name in ELICITORS])
def test_elicitors_lower(name, problems):
    elicitor = elicit.bind(name, budget=BUDGET, per_round=2)

    def one(key, problem, base):
        prefers = jax.tree_util.Partial(prefers_nearer, base.x)
        return elicit.run(elicitor, prefers, key, models.classifier(problem.params), problem.x, base, problem.space)

    base = Recourse(problems.x, np.ones(NUM_USERS, bool))
    assert not custom_calls(one, split(4, NUM_USERS), problems, base)
