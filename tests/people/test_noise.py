"""Errors and ties of answers, and answers that depend on the number of the question."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import array, jit, split

from hare_jax import elicit, people
from hare_jax.base import Recourse
from hare_jax.people import Noise, noisy, prefers
from hare_jax.people.drift import Drift
from hare_jax.space import action_space

NUM_ANSWERS, NUM_QUESTIONS = 20_000, 35
X, IDEAL = array([0.1, 0.1]), array([0.9, 0.5])
A, B = array([0.5, 0.5]), array([0.8, 0.1])  # losses 0.4 and 0.41231
SPACE = action_space([True, True], [0, 0], [1, 1])
LOSS_A, LOSS_B = 0.4, float(np.hypot(0.1, 0.4))


@partial(jax.jit, static_argnames="num")
def answers(prefers_fn, a, b, num=NUM_ANSWERS):
    return jax.vmap(lambda key: prefers_fn(key, X, a, b))(jax.random.split(jax.random.key(1), num))


def assert_share(given, probability):
    spread = np.sqrt(probability * (1 - probability) / len(given))
    assert abs(np.mean(given) - probability) <= 4 * spread


@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_at_a_temperature_answers_have_the_probability_of_bradley_and_terry(temperature):
    probability = 1 / (1 + np.exp((LOSS_A - LOSS_B) / temperature))
    assert_share(answers(noisy(Noise(temperature=temperature), prefers("ideal", IDEAL)), A, B), probability)
    both = noisy(Noise(temperature=temperature, flip=0.2), prefers("ideal", IDEAL))
    assert_share(answers(both, A, B), 0.8 * probability + 0.2 * (1 - probability))


def test_losses_that_differ_by_less_than_the_tie_get_no_answer():
    for tie, expected in ((0.013, elicit.CANNOT_TELL), (0.011, elicit.PREFERS_A)):
        model = noisy(Noise(tie=tie), prefers("ideal", IDEAL))
        given = answers(model, A, B, num=1)
        assert jnp.issubdtype(given.dtype, jnp.integer)
        assert given[0] == expected
    assert answers(model, B, A, num=1)[0] == elicit.PREFERS_B


def test_without_ties_an_answer_is_a_bool():
    assert answers(noisy(Noise(), prefers("ideal", IDEAL)), A, B, num=1).dtype == bool


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"temperature": np.nan}, {"tie": -1.0}])
def test_a_wrong_value_is_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name}: must be "):
        noisy(Noise(**wrong), prefers("ideal", IDEAL))


@pytest.mark.parametrize("name", ["temperature", "tie"])
def test_answers_without_a_loss_have_neither_temperature_nor_ties(name):
    with pytest.raises(ValueError, match=r"^prefers: must be answers of people.prefers for a temperature"):
        noisy(Noise(**{name: 0.1}), Partial(people.prefers_nearer, IDEAL))


def same_question(a, b, per_proposal):
    """An elicitor that always asks the same question, and whose state is the number and the list of the answers."""
    return elicit.Elicitor(
        start=Partial(lambda key, logit_fn, x, recourse, space: (0, jnp.full(NUM_QUESTIONS, -1), recourse)),
        propose=Partial(lambda state, key: state),
        ask=Partial(lambda state: elicit.Question(a, b, jnp.array(True))),
        tell=Partial(lambda state, answer: (state[0] + 1, state[1].at[state[0]].set(answer), state[2])),
        recommend=Partial(lambda state: state[2]),
        questions_per_proposal=per_proposal,
        num_proposals=NUM_QUESTIONS // per_proposal,
    )


@partial(jit, static_argnames="per_proposal")
def given(prefers_fn, keys, a=A, b=B, per_proposal=7):
    """All answers (n, NUM_QUESTIONS) of sessions that ask the same question."""

    def one(key):
        base = Recourse(jnp.asarray(X), jnp.array(True))
        session = same_question(a, b, per_proposal)
        return elicit.session(session, prefers_fn, key, lambda x: jnp.sum(x), X, base, SPACE)[0][1]

    return jax.vmap(one)(keys)


def test_ties_reach_the_elicitor():
    found = given(noisy(Noise(tie=0.1), prefers("ideal", IDEAL)), split(0, 1))
    assert np.all(found == elicit.CANNOT_TELL)


def test_a_drifting_ideal_changes_the_answers_during_the_session():
    """The ideal moves from 0 to 1 in the first column; it passes the point midway between 0 and 0.8 at question 12."""
    first, last = array([0.0, 0.1]), array([1.0, 0.1])
    drifting, key = prefers("drift", Drift(first, last)), split(0, 1)
    number = np.arange(NUM_QUESTIONS)
    expected = np.where(np.minimum(number / 29, 1) < 0.4, elicit.PREFERS_A, elicit.PREFERS_B)
    a, b = array([0.0, 0.1]), array([0.8, 0.1])
    np.testing.assert_array_equal(given(drifting, key, a, b)[0], expected)
    np.testing.assert_array_equal(given(noisy(Noise(flip=1.0), drifting), key, a, b)[0], 1 - expected)
    in_ties = given(noisy(Noise(tie=0.05), drifting), key, a, b)[0]
    gap = np.abs(np.abs(np.minimum(number / 29, 1) - 0.8) - np.minimum(number / 29, 1))
    np.testing.assert_array_equal(in_ties, np.where(gap < 0.05, elicit.CANNOT_TELL, expected))
    assert not drifting(key[0], X, a, b)  # without a number, the last ideal answers


def test_tired_answers_are_flipped_more_and_more_often():
    found = given(prefers("fatigue", IDEAL), split(2, 1000)) == elicit.PREFERS_B
    for number in (0, 14, 29, 34):
        assert_share(found[:, number], 0.3 * min((number + 1) / 30, 1))
    assert_share(found.reshape(-1), np.mean(0.3 * np.minimum((np.arange(NUM_QUESTIONS) + 1) / 30, 1)))
    both = given(noisy(Noise(temperature=0.01), prefers("fatigue", IDEAL)), split(3, 1000)) == elicit.PREFERS_B
    wrong = 1 / (1 + np.exp((LOSS_B - LOSS_A) / 0.01))
    assert_share(both[:, 29:].reshape(-1), 0.7 * wrong + 0.3 * (1 - wrong))
