"""Waiting time of one person for the next question, with one program call per question as in an application."""

import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import Setting, draw_cohort
from benchmarks.experiments import cells
from benchmarks.specs import Spec
from hare_jax import elicit, people

_NUM_WAITING = 10  # users timed


def waits(setting: Setting, spec: Spec, generate: Partial) -> list[float]:
    """Seconds from each answer of a person to the elicitor's next question, after compilation."""
    logit_fn, elicitor = setting.classifier(spec.seed), cells.bind_elicitor(spec)
    cohort = draw_cohort(setting, replace(spec, users=_NUM_WAITING))
    start, propose, answered = jax.jit(elicitor.start), jax.jit(elicitor.propose), jax.jit(_answered)
    seconds = []
    for key, x, ideal in zip(
        jax.random.split(jax.random.key(0), _NUM_WAITING), cohort.x, cohort.users["ideal"].hidden, strict=True
    ):
        base = generate(key, logit_fn, x, setting.space)
        state = propose(start(key, logit_fn, x, base, setting.space), key)
        shown = elicitor.ask(state)
        for key_answer in jax.random.split(key, spec.budget):
            chosen = people.prefers("ideal", ideal)(key, x, shown.a, shown.b)
            answer = jnp.where(chosen, elicit.PREFERS_A, elicit.PREFERS_B)
            begin = time.perf_counter()
            state, shown = jax.block_until_ready(answered(elicitor, state, key_answer, answer))
            seconds.append(time.perf_counter() - begin)
    return seconds[1:]  # the first call compiles


def _answered(elicitor: elicit.Elicitor, state: Any, key: Array, answer: Array) -> tuple[Any, elicit.Question]:
    state = elicitor.propose(elicitor.tell(state, answer), key)
    return state, elicitor.ask(state)
