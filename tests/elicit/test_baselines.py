"""The baselines among the elicitors, against their definitions on a linear classifier."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import jit

from hare_jax import elicit, people
from hare_jax.base import Recourse
from hare_jax.elicit import pear, reap
from hare_jax.elicit.answers import Choice
from hare_jax.elicit.pear.pear import best_set
from hare_jax.people.weights import cost_weights
from hare_jax.space import ActionSpace, action_space

WIDTH = 4
EFFECT = np.array([1.0, 0.8, 1.2, 0.9], np.float32)
X = np.full(WIDTH, 0.2, np.float32)
BUDGET = 12


class Problem(NamedTuple):
    """A session's arguments after the key."""

    logit_fn: Partial
    x: jax.Array
    base: Recourse
    space: ActionSpace


def logit(effect, z):
    return jnp.sum(effect * (z - X)) - 0.5


def problem() -> Problem:
    space = action_space([True] * WIDTH, [0.0] * WIDTH, [1.0] * WIDTH)
    base = Recourse(jnp.full(WIDTH, 0.6), jnp.array(True))
    return Problem(Partial(logit, EFFECT), jnp.asarray(X), base, space)


def cuts(seed, num):
    """Half-spaces of matrices that hold for a random positive definite one, as scaled changes (n, 2, d)."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(WIDTH, WIDTH))
    change = rng.normal(size=(num, 2, WIDTH))
    cost = np.sum((change @ root) ** 2, axis=2)
    change = np.where((cost[:, :1] <= cost[:, 1:])[..., None], change, change[:, ::-1])
    norm = np.asarray(reap.cut_norm(change[:, 0], change[:, 1]))
    return (change / np.sqrt(norm)[:, None, None]).astype(np.float32)


@jit
def centre(slack, rows):
    step = partial(reap.newton_step, slack, rows, jnp.ones(len(rows), bool))
    return jax.lax.scan(step, jnp.eye(WIDTH, dtype=rows.dtype), length=60)[0]


@pytest.mark.parametrize("contradictory", [False, True])
def test_the_centre_is_where_the_gradient_of_the_barriers_is_zero(contradictory):
    rows = cuts(0, 6)
    rows = np.concatenate([rows[:3], rows[:3, ::-1]]) if contradictory else rows
    found, slack = np.asarray(centre(0.1, rows), np.float64), 0.1
    matrices = np.einsum("nd,ne->nde", rows[:, 0], rows[:, 0]) - np.einsum("nd,ne->nde", rows[:, 1], rows[:, 1])
    np.testing.assert_allclose(np.linalg.norm(matrices, axis=(1, 2)), 1, rtol=1e-5)
    t = -np.einsum("de,nde->n", found, matrices)
    s = (2 - t / slack + np.sqrt((t / slack) ** 2 + 4)) * slack / 2  # where the derivative by s is 0
    np.testing.assert_allclose(1 / (t + s) + 1 / s, 1 / slack, rtol=1e-5)
    np.testing.assert_allclose(reap.barrier(slack, jnp.asarray(t))[0], 1 / (t + s), rtol=1e-5)
    gradient = np.linalg.inv(found) - np.eye(WIDTH) - np.einsum("n,nde->de", 1 / (t + s), matrices)
    np.testing.assert_allclose(gradient, 0, atol=1e-2)
    assert np.linalg.eigvalsh(found)[0] > 0
    assert contradictory or t.min() > 0


def test_a_set_is_chosen_greedily_by_the_expected_utility_of_selection():
    rng, sharpness = np.random.default_rng(1), 3.0
    utility = rng.normal(size=(20, 7)).astype(np.float32)

    def selected(members):
        scores = np.exp(sharpness * utility[:, members])
        return np.mean(np.sum(scores * utility[:, members], axis=1) / np.sum(scores, axis=1))

    chosen = []
    for _ in range(3):
        chosen.append(max(set(range(7)) - set(chosen), key=lambda at: selected([*chosen, at])))
    at, adds = best_set(jnp.asarray(utility), jnp.ones((3, 7), bool), jnp.asarray(sharpness))
    assert at.tolist() == chosen
    assert adds[0]


def test_the_true_prior_is_that_of_the_simulated_people():
    drawn = np.sort(np.asarray(cost_weights(jax.random.key(0), jnp.zeros(4000))))
    rng = np.random.default_rng(2)
    mean = rng.choice(pear.POPULATION["mean"], 4000)
    own = np.sort(np.clip(mean + pear.POPULATION["sd"] * rng.normal(size=4000), 0.1, 5))
    assert np.abs(own - drawn).mean() < 0.1


def test_wrong_hyperparameters_are_errors():
    with pytest.raises(ValueError, match="sd: must be above 0; got 0"):
        elicit.bind("pear", sd=0.0)
    with pytest.raises(ValueError, match="set_size: must be at least 2; got 1"):
        elicit.bind("pear", set_size=1)
    for name in ("pear", "reap"):
        with pytest.raises(ValueError, match="max_questions: must be at least the budget, 30; got 5"):
            elicit.bind(name, max_questions=5)
    with pytest.raises(ValueError, match="slack: must be above 0 and finite; got 0"):
        elicit.bind("reap", slack=0.0)


@pytest.mark.slow
def test_the_perceptron_moves_towards_the_features_of_the_preferred_one():
    elicitor, (logit_fn, x, base, space) = elicit.bind("perceptron", budget=BUDGET, learning_rate=0.5), problem()
    state = jit(elicitor.start)(jax.random.key(0), logit_fn, x, base, space)
    state = jit(elicitor.propose)(state, jax.random.key(1))
    a, b, asked = jax.device_get(elicitor.ask(state))
    assert asked
    step = 0.5 * (np.abs(a - x) - np.abs(b - x)) / np.linalg.norm(base.x - x)
    tell = jit(elicitor.tell)
    for answer, expected in ((elicit.PREFERS_B, 1 + step), (elicit.PREFERS_A, 1 - step), (elicit.CANNOT_TELL, 1)):
        after = tell(state, jnp.array(answer))
        np.testing.assert_allclose(after.weights, expected * np.ones(WIDTH), rtol=1e-5)
        assert not elicitor.ask(after).asked


@pytest.mark.slow
def test_the_particles_have_the_moments_of_the_posterior():
    """Of two columns, against a grid."""
    hp = {"num_particles": 2000, "num_moves": 6, "num_pool": 16, "sharpness": 4.0, "lapse": 0.1, "mean": 2.0, "sd": 1.0}
    elicitor, (logit_fn, x, base, space) = elicit.bind("pear", budget=6, **hp), problem()
    space = space._replace(mutable=jnp.array([True, True, False, False]))
    base = Recourse(jnp.array([0.6, 0.6, 0.2, 0.2]), base.valid)

    @jit
    def session(key):
        keys = elicit.session_keys(key, 6, 1)
        state = elicitor.start(keys.start, logit_fn, x, base, space)

        def question(state, keys):
            state = elicitor.propose(state, keys[0])
            return elicitor.tell(state, jax.random.randint(keys[1][0], (), 0, 2)), None

        return jax.lax.scan(question, state, (keys.propose, keys.answer))[0]

    state = jax.device_get(session(jax.random.key(0)))
    grid = np.stack(np.meshgrid(*[np.linspace(-2, 6, 161)] * 2), axis=-1).reshape(-1, 2)
    change = np.abs(state.told.options - X)[..., :2]
    gap = np.clip(grid, 0.1, 5) @ (change[:, 1] - change[:, 0]).T * state.sharpness
    probability = 0.9 / (1 + np.exp(-gap)) + 0.1 / 2
    log_density = -np.sum((grid - 2) ** 2, axis=1) / 2 + np.sum(np.log(probability), axis=1)
    share = np.exp(log_density - log_density.max())
    share /= share.sum()
    mean = share @ grid
    np.testing.assert_allclose(state.particles[:, :2].mean(axis=0), mean, atol=0.15)
    np.testing.assert_allclose(state.particles[:, :2].var(axis=0), share @ (grid - mean) ** 2, atol=0.25)


@pytest.mark.slow
def test_a_choice_from_a_set_is_told_to_pear():
    elicitor, (logit_fn, x, base, space) = elicit.bind("pear", budget=BUDGET, set_size=3), problem()
    state = jit(elicitor.start)(jax.random.key(0), logit_fn, x, base, space)
    state = jit(elicitor.propose)(state, jax.random.key(1))
    offered = jax.jit(pear.offer, static_argnames="num")(state, jax.random.key(2), num=3)
    assert offered.valid[0]
    assert len(np.unique(offered.x[offered.valid], axis=0)) == offered.valid.sum()
    tell = jit(elicitor.tell)
    after = tell(state, Choice(offered, jnp.array(1)))
    np.testing.assert_array_equal(after.told.options[0], offered.x[np.array([1, 0, 2])])
    assert int(after.told.num_told) == 1
    shown = elicitor.ask(state)
    pair = Choice(Recourse(jnp.stack(shown[:2]), jnp.ones(2, bool)), jnp.array(1))
    told, compared = tell(state, pair), tell(state, jnp.array(elicit.PREFERS_B))
    np.testing.assert_allclose(told.particles, compared.particles, rtol=1e-6)
    with pytest.raises(ValueError, match="options: must be at most the set_size, 3; got 4"):
        elicitor.tell(state, Choice(Recourse(jnp.zeros((4, 4)), jnp.ones(4, bool)), jnp.array(0)))
    with pytest.raises(ValueError, match=r"options: must have shape \(k, 4\); got \(3, 5\)"):
        elicitor.tell(state, Choice(Recourse(jnp.zeros((3, 5)), jnp.ones(3, bool)), jnp.array(0)))
    with pytest.raises(ValueError, match=r"chosen: must be a valid option, one of \[0, 2\]; got"):
        elicitor.tell(state, Choice(Recourse(offered.x, jnp.array([True, False, True])), jnp.array(1)))
    with pytest.raises(ValueError, match="num: must be at most the set_size, 3; got 4"):
        pear.offer(state, jax.random.key(2), 4)


def quadratic(matrix, x, z):
    return -jnp.sum((matrix @ (z - x)) * (z - x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pear", "reap"])
def test_the_model_of_an_elicitor_is_learned(name):
    """People whose utility has the form that it assumes: a third of the base's regret is left, at most."""
    elicitor, (logit_fn, x, base, space), num = elicit.bind(name, budget=BUDGET), problem(), 16
    key_people, key_sessions = jax.random.split(jax.random.key(3))
    if name == "pear":
        hidden, utility = (
            jax.vmap(partial(cost_weights, x=X))(jax.random.split(key_people, num)),
            people.weights.utility,
        )
        best = np.min(0.501 * np.asarray(hidden) / EFFECT, axis=1)  # one column alone; all are wide enough
    else:
        root = np.random.default_rng(3).normal(size=(num, WIDTH, WIDTH))
        hidden, utility = jnp.asarray(root @ np.swapaxes(root, 1, 2) + 0.1 * np.eye(WIDTH), jnp.float32), quadratic
        best = np.asarray(0.5**2 / np.einsum("d,nde,e->n", EFFECT, np.linalg.inv(hidden), EFFECT))

    @jit
    def sessions(keys, hidden):
        def one(key, hidden):
            prefers = Partial(people.prefers_by, Partial(utility, hidden))
            found = elicit.run(elicitor, prefers, key, logit_fn, x, base, space)[0]
            return -utility(hidden, x, found.x), -utility(hidden, x, base.x), found.valid

        return jax.vmap(one)(keys, hidden)

    cost, before, valid = jax.device_get(sessions(jax.random.split(key_sessions, num), hidden))
    assert valid.all()
    assert np.mean(cost - best) < np.mean(before - best) / 3
