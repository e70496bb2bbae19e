"""Populations in one call: what each row gets alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import jit, random_problems, row, split

from hare_jax import elicit, models, people
from hare_jax.base import Recourse
from hare_jax.evaluate import simulate
from hare_jax.space import project

NUM = 5  # no multiple of the number of devices
ELICITOR = elicit.bind("multi", budget=4, per_round=2, sampling=elicit.Sampling(num_steps=3))


def towards_one(key, logit_fn, x, space):
    """A base method that needs no search: every column as high as it may go."""
    x_cf = project(space, x, x + jax.random.uniform(key, x.shape, x.dtype))
    return Recourse(x_cf, logit_fn(x_cf) >= 0)


@pytest.fixture(scope="module")
def problem():
    """One classifier and one space, and several rows."""
    problems = random_problems(70, NUM)
    return models.classifier(row(problems.params, 0)), problems.x, row(problems.space, 0)


@pytest.fixture(scope="module")
def users(problem):
    hidden = problem[1] + 0.3
    everyone = np.ones(NUM, bool)
    weights = np.random.default_rng(74).uniform(0.1, 5, hidden.shape).astype(hidden.dtype)
    return {"ideal": people.User(hidden, everyone), "weights": people.User(weights, everyone)}


@pytest.fixture(scope="module")
def base(problem):
    return jax.device_get(jit(simulate.generate_all)(Partial(towards_one), split(71, NUM), *problem))


def test_each_row_gets_what_it_gets_alone(problem, base):
    logit_fn, x, space = problem
    for index, key in enumerate(split(71, NUM)):
        alone = towards_one(key, logit_fn, x[index], space)
        np.testing.assert_allclose(base.x[index], alone.x, atol=1e-6)
        assert base.valid[index] == alone.valid


def test_one_key_is_split_among_the_rows(problem):
    key = split(72, 1)[0]
    found = [
        jit(simulate.generate_all)(Partial(towards_one), keys, *problem) for keys in (key, jax.random.split(key, NUM))
    ]
    np.testing.assert_array_equal(found[0].x, found[1].x)


def scaled(factor, key, logit_fn, x, space):
    return towards_one(key, logit_fn, x * factor, space)


def test_each_row_has_parameters_of_its_own(problem):
    logit_fn, x, space = problem
    factors, keys = np.linspace(0.5, 1, NUM).astype(x.dtype), split(71, NUM)
    found = jit(partial(simulate.generate_each, scaled))(factors, keys, logit_fn, x, space)
    for index, key in enumerate(keys):
        alone = scaled(factors[index], key, logit_fn, x[index], space)
        np.testing.assert_allclose(found.x[index], alone.x, atol=1e-6)


def test_sessions_are_those_of_the_person_s_own_answers(problem, users, base):
    person = "weights"
    logit_fn, x, space = problem
    keys = split(73, NUM)
    args = keys, logit_fn, x, users, base, space
    done = jit(partial(simulate.elicit_all, ELICITOR, person))(people.Noise(), *args)
    assert done.questions.shape == (NUM,)

    @jit
    def alone(key, x, hidden, base):
        prefers = people.noisy(people.Noise(), people.prefers(person, hidden))
        best, trace = elicit.run(ELICITOR, prefers, key, logit_fn, x, base, space)
        return best.x, trace.asked.sum()

    for index, key in enumerate(keys):
        best, questions = alone(key, x[index], users[person].hidden[index], row(base, index))
        np.testing.assert_allclose(done.recourse.x[index], best, atol=1e-5)
        assert done.questions[index] == questions


def one_question():
    """An elicitor that compares staying with a step of 1 in each column, and remembers the answer."""
    return elicit.Elicitor(
        start=Partial(lambda key, logit_fn, x, recourse, space: (x, recourse, jnp.array(-1))),
        propose=Partial(lambda state, key: state),
        ask=Partial(lambda state: elicit.Question(state[0], state[0] + 1, jnp.array(True))),
        tell=Partial(lambda state, answer: (*state[:2], answer)),
        recommend=Partial(lambda state: state[1]),
        questions_per_proposal=1,
    )


def last_answer(elicitor, key, state, trace, user):
    return state[2]


@pytest.mark.parametrize(("person", "answer"), [("ideal", elicit.PREFERS_A), ("weights", elicit.PREFERS_B)])
def test_the_person_that_is_asked_for_answers(problem, base, person, answer):
    logit_fn, x, space = problem
    everyone = np.ones(NUM, bool)
    users = {"ideal": people.User(x, everyone), "weights": people.User(-np.ones_like(x), everyone)}
    elicit_all = jit(partial(simulate.elicit_all, one_question(), person, read=last_answer))
    assert np.all(elicit_all(people.Noise(), split(75, NUM), logit_fn, x, users, base, space) == answer)


def test_the_loss_is_that_of_the_person(problem, users, base):
    logit_fn, x, space = problem
    ideal, weights = (
        jit(partial(simulate.measure_all, person=person))(logit_fn, x, base, space, users)
        for person in ("ideal", "weights")
    )
    np.testing.assert_allclose(ideal.loss, ideal.ideal_l2, rtol=1e-6)
    np.testing.assert_allclose(weights.loss, weights.weighted_cost, rtol=1e-6)


def test_a_kind_of_person_that_is_not_there_is_named(problem, users, base):
    logit_fn, x, space = problem
    with pytest.raises(ValueError, match=r"person: must be one of ideal, weights, .*; got 'idol'"):
        simulate.elicit_all(ELICITOR, "idol", people.Noise(), split(0, NUM), logit_fn, x, users, base, space)
    with pytest.raises(ValueError, match=r"kinds: must be one of ideal, weights, .*; got 'idol'"):
        simulate.draw_all(people.Population(), split(0, NUM), logit_fn, x, space, kinds=("idol",))


def test_a_row_in_place_of_rows_is_named(problem):
    logit_fn, x, space = problem
    with pytest.raises(ValueError, match=r"x: must have shape \(n, 12\); got \(12,\)"):
        simulate.generate_all(Partial(towards_one), split(0, NUM), logit_fn, x[0], space)
