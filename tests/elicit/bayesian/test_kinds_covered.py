"""The kinds of persons that the posterior covers are read from `PERSONS`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from priors import gaussian, grid
from spaces import array, jit, split

from hare_jax import elicit, people
from hare_jax.base import Recourse
from hare_jax.elicit import Bayes, bayesian, ideals
from hare_jax.elicit.bayesian import belief as beliefs
from hare_jax.elicit.bayesian import posterior
from hare_jax.elicit.pool import members
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import action_space

SHORT = LocalSearch(num_first=2, num_starts=1, num_rounds=1, num_rays=2)
SMALL = {"num_pool": 8, "num_local": 4, "num_cheap": 2, "max_questions": 4, "search": SHORT}
SPACE = action_space([True] * 3, np.zeros(3), np.ones(3))
X, BASE = jnp.full(3, 0.1), Recourse(jnp.full(3, 0.4), jnp.array(True))


def linear(x):
    return jnp.sum(x) - 1


def squared_cost(weights, x, z):
    return jnp.sum(weights * (z - x) ** 2)


SQUARED = people.PERSONS["weights"]._replace(
    utility=lambda weights, x, z: -squared_cost(weights, x, z),
    loss=squared_cost,
    features=lambda x, z: (-((z - x) ** 2), jnp.zeros((), z.dtype)),
)


def session(hp, num_proposals, prefers, key):
    return elicit.session(
        bayesian.elicitor(hp), prefers, key, Partial(linear), X, BASE, SPACE, num_proposals=num_proposals
    )


@jit
def learn(prior, pairs):
    """The posterior of all three kinds after answers "the first of each pair (n, 2, d) rather than the second"."""
    kinds = beliefs.Kinds(("ideal", "weights", "squared"))
    belief = beliefs.init(kinds, prior, jnp.log(jnp.full(3, 1 / 3)), grid(), len(pairs))

    def step(belief, pair):
        return posterior.update(belief, X, pair[0], pair[1], jnp.full(3, 0.01)), None

    return jax.lax.scan(step, belief, pairs)[0]


@pytest.mark.slow
def test_a_new_row_is_part_of_the_posterior(monkeypatch):
    monkeypatch.setitem(people.PERSONS, "squared", SQUARED)
    hp = Bayes(probabilities={"squared": 0.5, "ideal": 0.25, "weights": 0.25}, **SMALL)
    state, _ = jax.eval_shape(partial(session, hp, 2), people.prefers("squared", X), jax.random.key(0))
    num = len(hp.reaches)  # of an ideal; the others have no target point
    assert state.belief.kinds.names == ("ideal",) * num + ("weights", "squared")
    assert state.belief.mean.shape == (num + 2, 3)
    assert jax.eval_shape(members, state.pool).x.shape == (2 + 8 + 4 + 2 * 2, 3)

    prior = gaussian(np.full((3, 3), 2.0), np.tile(np.eye(3), (3, 1, 1)))
    points = np.asarray(X) + np.random.default_rng(0).uniform(0, 1, (12, 2, 3))
    weights = np.array([4.0, 0.5, 2.0])
    utility = -np.sum(weights * (points - np.asarray(X)) ** 2, axis=2)
    pairs = np.take_along_axis(points, np.argsort(-utility, axis=1)[:, :, None], axis=1)
    belief = learn(prior, array(pairs))
    assert int(np.argmax(beliefs.weight(belief))) == belief.kinds.names.index("squared")
    mean = np.asarray(belief.mean[belief.kinds.span("squared")][0])
    assert mean[1] < mean[2] < mean[0]


@pytest.mark.parametrize("kind", ["ideal", "weights"])
def test_one_kind_alone_is_a_posterior(kind):
    hp = Bayes(probabilities={kind: 1.0}, **SMALL)
    state, trace = jax.eval_shape(partial(session, hp, 2), people.prefers(kind, X), jax.random.key(0))
    assert state.belief.mean.shape == (len(hp.reaches) if kind == "ideal" else 1, 3)
    assert trace.x.shape == (2, 3)
    if kind != "ideal":
        with pytest.raises(ValueError, match="kind: must be one of weights; got 'ideal'"):
            ideals(state, jax.random.key(0))


def test_the_prior_of_a_kind_can_be_given():
    mean = array([1.0, 2.0, 3.0])
    hp = Bayes(priors={"weights": people.WeightsPrior(mean=mean, sd=0.5)}, **SMALL)

    @jit
    def start(key):
        state = bayesian.elicitor(hp).start(key, Partial(linear), X, BASE, SPACE)
        return state.belief.prior, state.belief

    prior, belief = jax.device_get(start(split(0, 1)[0]))
    weights = belief.kinds.span("weights")
    sd, least = 0.5, 0.1  # clipped from below
    draws = np.maximum(np.random.default_rng(0).normal(mean, sd, (200_000, 3)), least)
    np.testing.assert_allclose(prior.mean[weights], [draws.mean(0)], atol=0.01)
    np.testing.assert_allclose(prior.cov[weights], [np.diag(draws.var(0))], atol=0.01)
    np.testing.assert_array_equal(belief.mean[weights], prior.mean[weights])
    np.testing.assert_array_equal(belief.cov[weights], prior.cov[weights])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"probabilities": {"nobody": 1.0}}, "probabilities: must be one of ideal, weights; got 'nobody'"),
        ({"probabilities": {"ideal": 0.5, "weights": 0.6}}, "probabilities: must sum to 1; got"),
        ({"probabilities": {}}, "probabilities: must sum to 1; got {}"),
        ({"probabilities": {"ideal": 1.0}, "priors": {"weights": None}}, "priors: must be one of ideal; got 'weights'"),
        ({"priors": {"ideal": people.WeightsPrior()}}, "ideal prior: has no hyperparameters"),
        ({"priors": {"weights": 2.0}}, "weights prior: must be a WeightsPrior; got 2.0"),
    ],
)
def test_wrong_kinds_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        bayesian.elicitor(Bayes(**wrong))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (3, "answer: must be 0, 1 or 2, or a Veto, Range, Choice or Rating; got 3"),
        ((1, 2), r"answer: must be 0, 1 or 2, or a Veto, Range, Choice or Rating; got \(1, 2\)"),
        (elicit.Veto(np.ones(3)), "columns: must be boolean; got 'float32'"),
        (elicit.Veto(np.ones(2, bool)), r"columns: must have shape \(3,\); got \(2,\)"),
        (elicit.Range(np.full(3, np.nan), np.ones(3)), "lower: must not be NaN"),
        (elicit.Rating(X, np.nan), "value: must be finite; got nan"),
        (elicit.Choice(Recourse(X[None], np.ones(1, bool)), 1), "chosen: must be an integer from 0 to 0; got 1"),
    ],
)
def test_wrong_answers_are_named(answer, message):
    elicitor = bayesian.elicitor(Bayes(**SMALL))
    state = jax.eval_shape(elicitor.start, jax.random.key(0), Partial(linear), X, BASE, SPACE)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(partial(elicitor.tell, answer=answer), state)
