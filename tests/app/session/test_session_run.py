"""A simulated person who answers a session's questions gets the recourse of `elicit.run`, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hare_jax import elicit, people
from hare_jax.app.session import Session, setup
from hare_jax.app.session.dialogue import pair

QUESTIONS, SEED = 5, 4
HIDDEN = {
    "ideal": jnp.array([0.6, 0.2, 1.0, 0.0, 0.0, 0.0]),
    "weights": jnp.array([0.5, 1.0, 2.0, 2.0, 2.0, 1.0]),
}
pytestmark = pytest.mark.usefixtures("quick_programs")


def dialogue(session, prefers):
    """The recommendations (n, d) after each answer of a person."""
    found, x = [], jnp.asarray(session.problem.x)
    while session.question() is not None:
        a, b = map(jnp.asarray, pair(session._turn))
        session.answer("A" if prefers(jax.random.key(0), x, a, b) else "B")
        found.append(session._turn.best.x)
    return np.stack(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bayes", "ideal"),
        ("pear", "weights"),
        ("perceptron", "weights"),
        ("multi", "ideal"),
        ("random", "ideal"),
    ],
)
def test_session_is_run(explainer, refused, name, kind, monkeypatch):
    monkeypatch.setattr(setup, "compile_rest", lambda *args: None)
    session = Session(explainer, None, refused, name, seed=SEED, questions=QUESTIONS)
    session.prepare()
    prefers = people.prefers(kind, HIDDEN[kind])
    elicitor = elicit.bind(name, budget=QUESTIONS)
    given = jax.random.key(SEED), explainer.logit_fn, jnp.asarray(session.problem.x), session.base_recourse
    best, trace = jax.jit(elicit.run)(elicitor, prefers, *given, explainer.table.space)
    if name != "random":
        np.testing.assert_allclose(dialogue(session, prefers), trace.x[trace.asked], atol=1e-5)
    np.testing.assert_allclose(session._turn.best.x, best.x, atol=1e-5)
