"""What every elicitor promises, checked for each row of `ELICITORS`, and on random spaces with relations."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_relations
from related import related_rows, related_space
from spaces import counting, jit, random_problems, row, split

from hare_jax import elicit, models
from hare_jax.base import Recourse
from hare_jax.elicit import ELICITORS, Bayes, Challenger, Hare, Pear, Perceptron, Range, Reap, Sampling, Veto, pool
from hare_jax.elicit.bayesian.learn import learn
from hare_jax.evaluate import metrics
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import project

NUM, BUDGET, PER_ROUND = 24, 6, 3
SHORT = LocalSearch(num_first=2, num_starts=1, num_rounds=1, num_rays=2)
PROBLEMS = {"free": random_problems, "related": random_relations.random_problems}
QUICK: dict[type, dict[str, Any]] = {
    Hare: {"sampling": Sampling(num_steps=5)},
    Bayes: {"num_pool": 12, "num_local": 4, "num_cheap": 2, "search": SHORT},
    Challenger: {},
    Perceptron: {"num_pool": 8, "num_local": 4, "search": SHORT, "short_search": SHORT},
    Reap: {"num_pool": 8, "num_local": 4, "search": SHORT},
    Pear: {"num_particles": 16, "num_pool": 8, "num_cheap": 2, "search": SHORT, "short_search": SHORT},
}
FAST = (Hare, Challenger)  # the others take longer to compile


class Session(NamedTuple):
    """What was shown and recommended after each answer, what the rules say about it, and the last state."""

    asked: np.ndarray  # (n, T) bool
    shown: np.ndarray  # (n, T, 2, d)
    best: Recourse  # (n, T, d), (n, T)
    accepted: np.ndarray  # (n, T, 3) bool: both recourses of a question, and the recommendation
    allowed: np.ndarray  # (n, T, 3) bool
    state: Any


def bound(name, **hyperparameters):
    quick = QUICK[ELICITORS[name].hyperparams]
    return elicit.bind(name, budget=BUDGET, per_round=PER_ROUND, **{**quick, **hyperparameters})


def hold(elicitor, keys, problems, base):
    """A session with each row, whose answers are drawn: they contradict each other, and some are ties."""

    def one(key, problem, base):
        logit_fn = models.classifier(problem.params)
        keys = elicit.session_keys(key, elicitor.num_proposals, elicitor.questions_per_proposal)

        def question(state, key):
            shown = elicitor.ask(state)
            state = elicitor.tell(state, jax.random.randint(key, (), 0, 3))
            best = elicitor.recommend(state)
            points = jnp.stack([shown.a, shown.b, best.x])
            accepted = jax.vmap(logit_fn)(points) >= 0
            allowed = jax.vmap(lambda z: metrics.feasible(problem.x, z, problem.space).all)(points)
            return state, (shown.asked, points[:2], best, accepted, allowed)

        def proposal(state, keys):
            return jax.lax.scan(question, elicitor.propose(state, keys[0]), keys[1])

        state = elicitor.start(keys.start, logit_fn, problem.x, base, problem.space)
        state, found = jax.lax.scan(proposal, state, (keys.propose, keys.answer))
        return Session(*jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found), state)

    return jax.vmap(one)(keys, problems, base)


hold_all, traces = counting(hold)


@cache
def people_of(kind):
    """Problems, and the likeliest of some allowed points as a base recourse; some of these are refused."""
    problems = PROBLEMS[kind](40, NUM)
    targets = np.random.default_rng(41).uniform(-0.3, 1.3, (16, problems.x.shape[1])).astype(problems.x.dtype)

    @jax.jit
    def best_of_many(problem):
        points = jax.vmap(lambda z: project(problem.space, problem.x, z))(targets)
        logits = jax.vmap(models.classifier(problem.params))(points)
        return Recourse(points[jnp.argmax(logits)], jnp.max(logits) >= 0.01)

    return problems, jax.device_get(jax.jit(jax.vmap(best_of_many))(problems))


def marked(name, kind):
    """Sessions with a search take longest to compile, and have fast tests of their own."""
    slow = ELICITORS[name].hyperparams not in FAST or kind == "related"
    return pytest.param((name, kind), marks=[pytest.mark.slow] * slow, id=f"{name}-{kind}")


@pytest.fixture(scope="module", params=[marked(name, kind) for kind in PROBLEMS for name in ELICITORS])
def session_of(request):
    name, kind = request.param
    return name, kind, jax.device_get(hold_all(bound(name), split(42, NUM), *people_of(kind)))


@pytest.fixture(scope="module")
def held(session_of):
    name, _, session = session_of
    return name, session


@pytest.fixture(scope="module")
def people(session_of):
    return people_of(session_of[1])


def test_the_budget_is_kept(held):
    name, session = held
    assert session.asked.shape[1] == (BUDGET if ELICITORS[name].asks else 0)
    assert session.asked.sum(axis=1).max(initial=0) <= BUDGET
    assert ELICITORS[name].asks == session.asked.any()


def test_nothing_refused_or_forbidden_is_shown_or_recommended(held):
    _, session = held
    counts = np.concatenate([np.repeat(session.asked[..., None], 2, axis=2), session.best.valid[..., None]], axis=2)
    assert np.all(session.accepted[counts])
    assert np.all(session.allowed[counts])
    assert np.all(session.allowed[..., 2])
    assert np.isfinite(session.best.x).all()


def test_nothing_that_is_shown_or_recommended_contradicts_a_relation(session_of):
    _, kind, session = session_of
    if kind == "free":
        assert session.state.space.relations is None
        return
    problems, _ = people_of(kind)
    for step in range(session.asked.shape[1]):
        for points in (session.best.x[:, step], *np.moveaxis(session.shown[:, step], 1, 0)):
            broken = random_relations.broken_rules(problems, points)
            assert not any(rule.any() for rule in broken.values()), broken


def test_a_question_has_two_different_options(held):
    _, session = held
    differ = np.any(session.shown[:, :, 0] != session.shown[:, :, 1], axis=2)
    assert np.all(differ[session.asked])


def test_a_valid_base_recourse_is_never_lost(held, people):
    _, session = held
    assert np.all(session.best.valid[people[1].valid])


def test_the_same_key_gives_the_same_session_and_one_trace_serves_all(held, people):
    name, session = held
    problems, base = people
    before = len(traces)
    again = jax.device_get(hold_all(bound(name), split(42, NUM), *people))
    jax.tree.map(np.testing.assert_array_equal, again.best, session.best)
    turned = row((problems, base), slice(None, None, -1))
    others = jax.device_get(hold_all(bound(name, margin=2e-3), split(42, NUM)[::-1], *turned))
    assert len(traces) == before  # other people, and another float hyperparameter
    np.testing.assert_array_equal(others.asked.shape, session.asked.shape)


def test_a_state_is_saved_and_loaded(session_of, people, tmp_path):
    """And continues as it would have without."""
    name, kind, session = session_of
    elicitor, problem, state = bound(name), row(people[0], 0), row(session.state, 0)
    path = tmp_path / "session.npz"
    elicit.save(path, elicitor, state)
    loaded = elicit.load(path, elicitor, models.classifier(problem.params), problem.space)
    assert jax.tree.structure(loaded) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, loaded, state)
    if kind == "related":  # takes long to compile
        return

    @jit
    def following(state, key):
        state = elicitor.tell(elicitor.propose(state, key), jnp.array(0))
        return elicitor.ask(state), elicitor.recommend(state)

    jax.tree.map(np.testing.assert_array_equal, *(following(each, split(43, 1)[0]) for each in (loaded, state)))


@pytest.mark.slow
def test_vetoes_and_ranges_of_columns_that_follow(tmp_path):
    """Of the state of a Bayesian session; the pool keeps them, and the session can be saved."""
    elicitor, space = bound("bayes"), related_space()
    x, weights = related_rows(0, 1)[0], jnp.linspace(1, 2, len(space.mutable))

    def logit_fn(z):
        return weights @ (z - x) - 0.1

    @jit
    def start(key):
        found = jax.vmap(lambda z: project(space, x, z))(jax.random.uniform(key, (16, len(x)), minval=-0.5, maxval=1.5))
        at = jnp.argmax(jax.vmap(logit_fn)(found))
        return elicitor.start(
            key, jax.tree_util.Partial(logit_fn), jnp.asarray(x), Recourse(found[at], jnp.array(True)), space
        )

    @jit
    def told(state, answer):
        after = learn(elicitor.tell.args[0], state, answer)
        return after, pool.members(after.pool)

    state, column = start(jax.random.key(0)), np.eye(len(x), dtype=bool)
    ratio, savings, reserve = (column[index] for index in (3, 4, 6))
    after, found = jax.device_get(told(state, Veto(savings)))
    assert np.any(found.x[:, 2] != x[2])  # its cause still moves, and it follows
    steps = np.floor(0.3 * (found.x[:, 2] - x[2]) * 90 + 0.501)
    np.testing.assert_allclose((found.x[:, 4] - x[4]) * 50, steps, atol=1e-3)
    again, _ = told(after, Veto(savings))
    np.testing.assert_array_equal(again.space.mutable, after.space.mutable)
    after, found = jax.device_get(told(state, Veto(ratio)))
    assert np.all(np.abs(found.x[:, 1:4] - x[1:4]) == 0)
    after, found = jax.device_get(told(after, Veto(reserve)))
    assert np.all(np.abs(found.x[:, [2, 4, 6]] - x[[2, 4, 6]]) == 0)
    elicit.save(tmp_path / "session.npz", elicitor, after)
    loaded = elicit.load(tmp_path / "session.npz", elicitor, logit_fn, space)
    jax.tree.map(np.testing.assert_array_equal, loaded, after)
    low = np.where(reserve, x[6] - 0.01, -np.inf)
    _, found = jax.device_get(told(state, Range(low, np.where(reserve, x[6] + 0.02, np.inf))))
    moved = found.x[found.valid][:, 6] - x[6]
    assert np.all((moved == 0) | ((moved > -0.011) & (moved < 0.021)))


def test_unknown_names_and_budgets_are_errors():
    with pytest.raises(ValueError, match=r"elicitor: must be one of .*bayes.*; got 'bays'"):
        elicit.bind("bays")
    with pytest.raises(ValueError, match="budget: must be at least 1; got 0"):
        elicit.bind("bayes", budget=0)
    with pytest.raises(ValueError, match="per_round: must be at least 1 and at most the budget, 3; got 5"):
        elicit.bind("multi", budget=3)
    for name in ELICITORS:
        with pytest.raises(ValueError, match=rf"{name} hyperparameter: must be one of .*; got 'margins'"):
            elicit.bind(name, margins=0.1)


def test_a_batch_without_vmap_is_named():
    problems = random_problems(40, 2)
    with pytest.raises(ValueError, match=r"x: must have shape \(12,\); got \(2, 12\), a batch: map .* jax.vmap"):
        elicit.run(
            bound("multi"), None, split(0, 1)[0], None, problems.x, Recourse(problems.x, True), row(problems.space, 0)
        )
