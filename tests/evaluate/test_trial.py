from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import jit, random_problems, row, split
from test_simulate import ELICITOR, towards_one

from hare_jax import models, people
from hare_jax.evaluate import metrics, simulate, stream
from hare_jax.evaluate.trial import Trial, run, run_resampled

NUM = 6
KEY = jax.random.key(76)


@pytest.fixture(scope="module")
def rows():
    return random_problems(70, NUM).x


@pytest.fixture(scope="module")
def trial():
    problems = random_problems(70, NUM)
    logit_fn, space = models.classifier(row(problems.params, 0)), row(problems.space, 0)
    return Trial(logit_fn=logit_fn, space=space, generate=Partial(towards_one), elicitor=ELICITOR)


@pytest.mark.slow
@pytest.mark.parametrize("with_elicitor", [True, False])
def test_a_trial_is_what_whole_populations_are_in_steps(trial, rows, with_elicitor):
    trial = trial if with_elicitor else replace(trial, elicitor=None)
    keys = split(76, NUM)
    found = jit(jax.vmap(partial(run, trial)))(keys, rows)
    given = trial.logit_fn, rows
    key_user, key_base, key_session = jax.vmap(partial(jax.random.split, num=3))(keys).T
    users = jit(simulate.draw_all)(trial.population, key_user, *given, trial.space)
    base = jit(simulate.generate_all)(trial.generate, key_base, *given, trial.space)
    questions, recourse = np.zeros(NUM), base
    if with_elicitor:
        session = trial.noise, key_session, *given, users, base, trial.space
        recourse, questions = jit(partial(simulate.elicit_all, ELICITOR, "ideal"))(*session)
    measures = jit(simulate.measure_all)(*given, recourse, trial.space, users)
    present = users["ideal"].valid & users["weights"].valid
    for name, values in (measures._asdict() | {"questions": questions}).items():
        np.testing.assert_allclose(found[name].value, values, atol=1e-4)
        counted = present if name in ("success", "valid") else present & recourse.valid
        np.testing.assert_array_equal(found[name].counted, counted)


def test_the_figures_are_all_metrics_and_the_questions(trial, rows):
    figures = jax.eval_shape(run_resampled, trial, rows, KEY)
    assert set(figures) == {*metrics.Measures._fields, "questions"}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"person": "idol"}, r"person: must be one of ideal, weights, .*; got 'idol'"),
        ({"noise": people.Noise(flip=2.0)}, r"noise.flip: must be from 0 to 1; got 2.0"),
        ({"population": 3}, r"population: must be a Population; got 3"),
    ],
)
def test_wrong_trials_are_named(trial, rows, change, rule):
    with pytest.raises(ValueError, match=rule):
        stream.summarise(Partial(run_resampled, replace(trial, **change), rows), KEY, 2)
