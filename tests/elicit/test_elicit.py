import io
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import WIDTH, Problems, array, counting, jit, random_problems, row, split, widen

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.elicit import (
    CANNOT_TELL,
    PREFERS_A,
    PREFERS_B,
    Elicitor,
    Hare,
    Trace,
    Veto,
    hare,
    random,
    run,
    session_keys,
)
from hare_jax.elicit.candidates import Sampling
from hare_jax.evaluate import metrics
from hare_jax.people import prefers_cheaper, prefers_nearer
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import project

NUM, NUM_DIRECTIONS, NUM_PROPOSALS = 64, 4, 3
BUDGET = NUM_DIRECTIONS * NUM_PROPOSALS


class People(NamedTuple):
    """Problems with a base recourse and a hidden ideal each."""

    problems: Problems
    base: Recourse  # (n, d), (n,)
    ideal: np.ndarray  # (n, d)
    refused: np.ndarray  # (n,) the factual is


class Session(NamedTuple):
    """What a session gave, and what was recommended before its first question."""

    first: Recourse
    best: Recourse
    trace: Trace


def elicitor(make=hare.elicitor, learning_rate=0.1, margin=MARGIN):
    sampling = Sampling(num_directions=NUM_DIRECTIONS, num_steps=8, learning_rate=learning_rate)
    return make(Hare(sampling=sampling, margin=margin))


@jit
def best_of_many(problems, wishes):
    """The likeliest of some allowed points: a base recourse that needs no method."""

    def one(problem):
        logit_fn = models.classifier(problem.params)
        points = jax.vmap(partial(project, problem.space, problem.x))(wishes)
        logits = jax.vmap(logit_fn)(points)
        return points[jnp.argmax(logits)], jnp.max(logits), logit_fn(problem.x)

    return jax.vmap(one)(problems)


def draw_people(seed):
    """Of eight, seven are refused at a logit of -0.3."""
    problems, rng = random_problems(seed, NUM), np.random.default_rng(seed)
    wishes, ideal = array(rng.uniform(-0.3, 1.3, (20, WIDTH))), array(rng.uniform(0, 1, (NUM, WIDTH)))
    points, highest, present = jax.device_get(best_of_many(problems, wishes))
    shift = np.where(np.arange(NUM) % 8 > 0, present + np.float32(0.3), 0)
    models.to_layers(problems.params)[-1].bias[:, 0] -= shift
    return People(problems, Recourse(points, highest - shift >= 2 * MARGIN), ideal, present - shift < -0.1)


@pytest.fixture(scope="module")
def people():
    return draw_people(0)


def prefers_either(wants_ideal, ideal, weights, key, x, a, b):
    """A person who wants their ideal, or else to pay little: one program for both."""
    nearer, cheaper = prefers_nearer(ideal, key, x, a, b), prefers_cheaper(weights, key, x, a, b)
    return jnp.where(wants_ideal, nearer, cheaper)


def nearer_to_ideals(people):
    return Partial(prefers_either, np.ones(len(people.ideal), bool), people.ideal, np.ones_like(people.ideal))


def session_row(elicitor, prefers, key, problem, base):
    logit_fn = models.classifier(problem.params)
    first = elicitor.recommend(elicitor.start(key, logit_fn, problem.x, base, problem.space))
    args = prefers, key, logit_fn, problem.x, base, problem.space
    return Session(first, *run(elicitor, *args, num_proposals=NUM_PROPOSALS))


def sessions(elicitor, prefers, keys, problems, base):
    return jax.vmap(partial(session_row, elicitor))(prefers, keys, problems, base)


@jit
def sessions_one_by_one(elicitor, *args):
    """As `sessions`, in less time to compile."""
    return jax.lax.map(lambda args: session_row(elicitor, *args), args)


@pytest.fixture(scope="module")
def counted():
    """All tests of HARE share one program."""
    return counting(sessions)


@pytest.fixture(scope="module")
def held(counted, people):
    """Sessions of people who want their ideal and answer without noise."""
    return jax.device_get(counted[0](elicitor(), nearer_to_ideals(people), split(1, NUM), people.problems, people.base))


@jax.jit
def judge(problems, points):
    """Whether points (n, t, d) are accepted, in a program of their own, and feasible."""

    def one(space, x, params, points):
        accepted = jax.vmap(partial(models.logit, params))(points) >= 0
        return accepted, jax.vmap(lambda point: metrics.feasible(x, point, space).all)(points)

    return jax.lax.map(lambda args: one(*args), (*problems, points))


def distances(held, people):
    """From each recommendation to the ideal: before the first question, and after each."""
    points = np.concatenate([held.first.x[:, None], held.trace.x], axis=1)
    return np.linalg.norm(points - people.ideal[:, None], axis=2)


def test_shapes(held):
    assert held.trace.x.shape == (NUM, BUDGET, WIDTH)
    assert held.trace.valid.shape == held.trace.asked.shape == (NUM, BUDGET)
    assert held.best.x.shape == (NUM, WIDTH)
    np.testing.assert_array_equal(held.best.x, held.trace.x[:, -1])


def test_never_further_from_the_ideal(held, people):
    way = distances(held, people)
    assert np.all(np.diff(way, axis=1) <= 1e-6)
    gained = (way[:, 0] - way[:, -1])[people.base.valid & people.refused]
    assert np.mean(gained > 1e-3) > 0.5
    assert np.mean(gained) > 0.05


def test_success_is_that_of_the_base(held, people):
    assert 10 < people.base.valid.sum() < NUM - 5
    np.testing.assert_array_equal(held.best.valid, people.base.valid)
    np.testing.assert_array_equal(held.trace.valid, np.repeat(people.base.valid[:, None], BUDGET, axis=1))


def test_an_invalid_base_is_returned_and_nobody_is_asked(held, people):
    refused = ~people.base.valid
    np.testing.assert_array_equal(held.best.x[refused], people.base.x[refused])
    assert not held.trace.asked[refused].any()


def test_questions_stay_within_the_budget(held, people):
    questions = held.trace.asked.sum(axis=1)
    assert questions.max() <= BUDGET
    assert questions[people.base.valid].mean() > BUDGET / 4
    # a question that is not asked changes nothing
    moved = np.any(np.diff(np.concatenate([held.first.x[:, None], held.trace.x], axis=1), axis=1), axis=2)
    assert moved.any()
    assert not moved[~held.trace.asked].any()


def test_every_recommendation_is_accepted_and_allowed(held, people):
    points = np.concatenate([held.first.x[:, None], held.trace.x, held.best.x[:, None]], axis=1)
    accepted, kept = jax.device_get(judge(people.problems, points))
    assert accepted[people.base.valid].all()
    assert kept.all()


def test_the_base_is_brought_to_the_boundary(held, people):
    def one(problem, base):
        return boundary(models.classifier(problem.params), problem.x, base.x, problem.space).x

    moved = jit(jax.vmap(one))(people.problems, people.base)
    np.testing.assert_allclose(held.first.x, moved, atol=1e-5)


def test_random_control_asks_nothing(people, held):
    args = elicitor(random.elicitor), nearer_to_ideals(people), split(1, NUM), people.problems, people.base
    drawn = jax.device_get(sessions_one_by_one(*args))
    assert drawn.trace.x.shape == (NUM, 0, WIDTH)
    assert drawn.trace.asked.size == 0
    np.testing.assert_array_equal(drawn.best.valid, people.base.valid)
    accepted, kept = jax.device_get(judge(people.problems, drawn.best.x[:, None]))
    assert accepted[people.base.valid].all()
    assert kept.all()
    refused = ~people.base.valid
    np.testing.assert_array_equal(drawn.best.x[refused], people.base.x[refused])
    valid = people.base.valid & people.refused
    assert np.mean(np.any(drawn.best.x != drawn.first.x, axis=1)[valid]) > 0.5
    far, near = (np.linalg.norm(best.x - people.ideal, axis=1)[valid].mean() for best in (drawn.best, held.best))
    assert near < far - 0.05


def test_one_trace_for_new_weights_floats_and_people(counted, held, people):
    run_sessions, traces = counted
    others = draw_people(3)
    changed = [
        (elicitor(), people._replace(problems=people.problems._replace(params=others.problems.params))),
        (elicitor(learning_rate=0.05, margin=2e-3), people),
        (elicitor(), others),
    ]
    for other, these in changed:
        best = run_sessions(other, nearer_to_ideals(these), split(1, NUM), these.problems, these.base).best
        assert not np.array_equal(best.x, held.best.x)
    assert len(traces) == 1  # of the fixture's call, too


def test_never_more_expensive_under_hidden_weights(counted, people):
    weights = array(np.random.default_rng(4).uniform(0.1, 5, (NUM, WIDTH)))
    misers = Partial(prefers_either, np.zeros(NUM, bool), people.ideal, weights)
    held = jax.device_get(counted[0](elicitor(), misers, split(1, NUM), people.problems, people.base))
    points = np.concatenate([held.first.x[:, None], held.trace.x], axis=1)
    costs = np.sum(weights[:, None] * np.abs(points - people.problems.x[:, None]), axis=2)
    assert np.all(np.diff(costs, axis=1) <= 1e-5)
    assert np.sum(costs[:, -1] < costs[:, 0] - 0.05) > 3


class Person(NamedTuple):
    """The five functions, each a program of its own, for one person."""

    hare: Elicitor
    logit_fn: Partial
    x: np.ndarray
    base: Recourse
    space: tuple
    ideal: np.ndarray
    key: jax.Array
    index: int


start = jit(lambda elicitor, *args: elicitor.start(*args))
propose = jit(lambda elicitor, *args: elicitor.propose(*args))
ask = jit(lambda elicitor, state: elicitor.ask(state))
tell = jit(lambda elicitor, *args: elicitor.tell(*args))
recommend = jit(lambda elicitor, state: elicitor.recommend(state))


@pytest.fixture(scope="module")
def person(people, held):
    """One who was asked about all candidates and changed their mind."""
    asked = held.trace.asked.all(axis=1) & np.any(held.best.x != held.first.x, axis=1)
    index = int(np.flatnonzero(asked)[0])
    problem, base, ideal, _ = row(people, index)
    logit_fn = models.classifier(problem.params)
    return Person(elicitor(), logit_fn, problem.x, base, problem.space, ideal, split(1, NUM)[index], index)


def begin(person):
    key_start, keys_propose, _ = session_keys(person.key, NUM_PROPOSALS, person.hare.questions_per_proposal)
    return start(person.hare, key_start, person.logit_fn, person.x, person.base, person.space), keys_propose


def reply(person, shown):
    distance_a, distance_b = (float(np.linalg.norm(np.asarray(p) - person.ideal)) for p in (shown.a, shown.b))
    return PREFERS_A if distance_a < distance_b else PREFERS_B


def test_a_person_s_session_is_the_same_as_run(person, held):
    state, keys = begin(person)
    recommended = []
    for key in keys:
        state = propose(person.hare, state, key)
        for _ in range(person.hare.questions_per_proposal):
            shown = ask(person.hare, state)
            assert shown.asked
            state = tell(person.hare, state, reply(person, shown))
            recommended.append(np.asarray(recommend(person.hare, state).x))
    np.testing.assert_allclose(recommended, held.trace.x[person.index], atol=1e-4)
    assert recommend(person.hare, state).valid


def test_a_session_can_be_saved(person):
    state, keys = begin(person)
    state = propose(person.hare, state, keys[0])
    state = tell(person.hare, state, PREFERS_B)

    file = io.BytesIO()
    np.savez(file, *jax.tree.leaves(state))
    file.seek(0)
    with np.load(file) as arrays:
        leaves = [arrays[name] for name in arrays.files]
    opened_anew, _ = begin(person)  # another process opens a session for the same person, and fills it
    restored = jax.tree.unflatten(jax.tree.structure(opened_anew), leaves)

    assert not np.array_equal(opened_anew.best.x, restored.best.x)
    for one in (state, restored):
        assert ask(person.hare, one).asked
    after = [tell(person.hare, one, reply(person, ask(person.hare, one))) for one in (state, restored)]
    after = [propose(person.hare, one, keys[1]) for one in after]
    for ours, theirs in zip(*map(jax.tree.leaves, after), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("answer", "keeps"), [(PREFERS_A, True), (CANNOT_TELL, True), (PREFERS_B, False)])
def test_what_an_answer_does(person, answer, keeps):
    state, keys = begin(person)
    state = propose(person.hare, state, keys[0])
    shown = ask(person.hare, state)
    assert shown.asked
    assert not np.array_equal(shown.a, shown.b)
    after = tell(person.hare, state, answer)
    np.testing.assert_array_equal(recommend(person.hare, after).x, shown.a if keeps else shown.b)
    following = ask(person.hare, after)  # the next challenger, against the winner
    np.testing.assert_array_equal(following.a, shown.a if keeps else shown.b)
    assert not np.array_equal(following.b, shown.b)


def test_nothing_is_left_to_ask_after_the_last_challenger(person):
    """A person's loop may be `while elicitor.ask(state).asked`."""
    state, keys = begin(person)
    state = propose(person.hare, state, keys[0])
    for _ in range(person.hare.questions_per_proposal):
        assert ask(person.hare, state).asked
        state = tell(person.hare, state, PREFERS_A)
    assert not ask(person.hare, state).asked
    after = tell(person.hare, state, PREFERS_B)
    np.testing.assert_array_equal(recommend(person.hare, after).x, recommend(person.hare, state).x)


def test_an_answer_that_it_does_not_know_is_refused(person):
    state, _ = begin(person)
    with pytest.raises(ValueError, match="answer: must be 0, 1 or 2"):
        tell(person.hare, state, Veto(jnp.ones(len(person.x), bool)))


def test_nothing_is_asked_before_the_first_proposal(person):
    state, _ = begin(person)
    assert not ask(person.hare, state).asked
    after = tell(person.hare, state, PREFERS_B)
    np.testing.assert_array_equal(recommend(person.hare, after).x, recommend(person.hare, state).x)


def test_float64_under_x64(people):
    wide = widen(row(people, slice(0, 32)))
    with jax.enable_x64(True):
        args = elicitor(), nearer_to_ideals(wide), split(1, 32), wide.problems, wide.base
        held = jax.device_get(sessions_one_by_one(*args))
        assert held.best.x.dtype == held.trace.x.dtype == "float64"
        assert np.all(np.diff(distances(held, wide), axis=1) <= 1e-12)
        accepted, kept = jax.device_get(judge(wide.problems, held.trace.x))
        assert wide.base.valid.sum() > 5
        assert accepted[wide.base.valid].all()
        assert kept.all()


@pytest.mark.parametrize("make", [hare.elicitor, random.elicitor])
def test_float32_is_kept_under_x64(make, people):
    """Rows, classifiers and ideals of float32 beside a space of float64."""
    problem, base, ideal, _ = row(people, 0)
    with jax.enable_x64(True):
        problem = problem._replace(space=widen(problem.space))
        args = Partial(prefers_nearer, ideal), jax.random.key(0), problem, base
        held = jax.eval_shape(session_row, elicitor(make), *args)
        assert {held.first.x.dtype, held.best.x.dtype, held.trace.x.dtype} == {problem.x.dtype}
