import io
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import array, counting, jit, random_problems, split

from hare_jax import elicit, models, people
from hare_jax.base import Recourse
from hare_jax.elicit import (
    CANNOT_TELL,
    Bayes,
    Choice,
    Range,
    Rating,
    Veto,
    bayesian,
    expected_distance,
    ideal_region,
    ideals,
    offer,
)
from hare_jax.elicit.bayesian.pool import members
from hare_jax.elicit.bayesian.region import MonteCarlo, inside
from hare_jax.elicit.candidates import Sampling
from hare_jax.evaluate import metrics
from hare_jax.recourse import growing_spheres
from hare_jax.space import action_space, allows

NUM, NUM_QUESTIONS = 40, 6
TRUTH, UNSURE, ALWAYS_A = range(3)  # how people answer
SMALL = Bayes(num_pool=24, num_local=8, num_cheap=2, max_questions=12)


def started(hp, key, space, x, params):
    logit_fn = models.classifier(params)
    base = growing_spheres.generate(growing_spheres.GrowingSpheres(), key, logit_fn, x, space)
    return bayesian.elicitor(hp).start(key, Partial(models.logit, params), x, base, space)


@jit
def sessions(hp, keys, problems, wishes, kind):
    """All that is shown and recommended, with what the rules say about it, and what is known in the end."""

    def one(key, space, x, params, wish):
        elicitor = bayesian.elicitor(hp)

        def question(state, key):
            state = elicitor.propose(state, key)
            shown = elicitor.ask(state)
            truth = 1 - people.prefers_nearer(wish, key, x, shown.a, shown.b).astype(int)
            state = elicitor.tell(state, jnp.select([kind == TRUTH, kind == UNSURE], [truth, CANNOT_TELL], 0))
            best = elicitor.recommend(state)
            points = jnp.stack([shown.a, shown.b, best.x])
            logit = jax.vmap(partial(models.logit, params))(points)
            kept = jax.vmap(lambda z: metrics.feasible(x, z, space).all)(points)
            return state, (shown, best, (logit >= 0) & kept)

        start = started(hp, key, space, x, params)
        state, shown = jax.lax.scan(question, start, jax.random.split(key, NUM_QUESTIONS))
        drawn = ideals(state, key, MonteCarlo(num_draws=16, num_temperatures=3, num_moves=1))
        return *shown, jax.vmap(lambda z: metrics.feasible(x, z, space).all)(drawn)

    return jax.vmap(one)(keys, *problems, wishes)


@pytest.mark.parametrize("kind", [TRUTH, UNSURE, ALWAYS_A])
def test_all_that_is_shown_is_valid_and_allowed(kind):
    problems = random_problems(5, NUM)
    wishes = array(np.random.default_rng(2).uniform(0, 1, problems.x.shape))
    shown, best, usable, possible = jax.device_get(sessions(SMALL, split(0, NUM), problems, wishes, kind))
    assert shown.asked.mean() > 0.4
    assert np.all(usable[shown.asked][:, :2])
    assert np.all(usable[best.valid][:, 2])
    assert np.all(best.valid[shown.asked])
    assert np.all(possible)
    assert np.all(np.isfinite(best.x))


def test_who_cannot_tell_is_not_asked_the_same_again():
    problems = random_problems(5, NUM)
    shown = jax.device_get(sessions(SMALL, split(0, NUM), problems, problems.x, UNSURE))[0]
    again = np.all(shown.a[:, 1:] == shown.a[:, :-1], axis=2) & np.all(shown.b[:, 1:] == shown.b[:, :-1], axis=2)
    assert np.mean(again[shown.asked[:, 1:]]) < 0.2


SPACE = action_space([True] * 3, np.zeros(3), np.ones(3))
X, SLOPE = jnp.full(3, 0.1), jnp.ones(3)
BASE = Recourse(jnp.full(3, 0.4), jnp.array(True))


def linear(slope, x):
    return slope @ x - 1


def distances(elicitor_of, num, hp, keys, wishes):
    """How far each of some people with ideals at `wishes` is after `num` proposals, and how often they were asked."""

    def one(key, ideal):
        prefers, logit_fn = Partial(people.prefers_nearer, ideal), Partial(linear, SLOPE)
        best, trace = elicit.run(elicitor_of(hp), prefers, key, logit_fn, X, BASE, SPACE, num_proposals=num)
        return jnp.linalg.norm(best.x - ideal), jnp.sum(trace.asked)

    return jax.vmap(one)(keys, wishes)


after_ten, traces = counting(partial(distances, bayesian.elicitor, 10))


def ideals_on_the_boundary(num):
    raw = np.random.default_rng(4).dirichlet(np.ones(3) * 1.5, num)
    return array(raw)


def test_ten_questions_bring_people_nearer_than_ten_of_hare():
    wishes = ideals_on_the_boundary(50)
    near = replace(SMALL, reach=1.0, probabilities={"ideal": 0.5, "weights": 0.5})  # no ideal is further away
    ours, asked = after_ten(near, split(1, 50), wishes)
    hp = elicit.Hare(sampling=Sampling(num_directions=10))
    theirs, _ = jit(partial(distances, elicit.hare.elicitor, 1))(hp, split(1, 50), wishes)
    assert np.all(np.asarray(asked) <= 10)
    assert float(jnp.mean(ours)) < 0.15
    assert float(jnp.mean(ours)) < 0.9 * float(jnp.mean(theirs))


def test_new_floats_compile_nothing():
    traces.clear()
    wishes = ideals_on_the_boundary(50)
    for probability, noise, reach in ((0.5, 0.03, 1.0), (0.9, 0.1, 3.0)):
        hp = replace(SMALL, probabilities={"ideal": probability, "weights": 1 - probability}, noise=noise, reach=reach)
        after_ten(hp, split(1, 50), wishes)
    assert len(traces) <= 1  # none where a test before this one has called it


@jit
def start(elicitor, key, slope, base):
    return elicitor.start(key, Partial(linear, slope), X, base, SPACE)


@jit
def propose(elicitor, state, key):
    return elicitor.propose(state, key)


@jit
def tell(elicitor, state, answer):
    return elicitor.tell(state, answer)


@jit
def believed(state, key, point):
    return expected_distance(state, key), inside(ideal_region(state, key), point)


@pytest.fixture(scope="module")
def opened():
    elicitor = bayesian.elicitor(SMALL)
    return elicitor, propose(elicitor, start(elicitor, split(2, 1)[0], SLOPE, BASE), split(3, 1)[0])


def test_after_a_veto_nothing_breaks_it(opened):
    elicitor, state = opened
    state = tell(elicitor, state, Veto(jnp.array([True, False, False])))
    for key in split(4, 6):
        assert float(state.best.x[0]) == float(X[0])
        state = propose(elicitor, state, key)
        shown = elicitor.ask(state)
        assert bool(shown.asked)
        assert float(shown.a[0]) == float(shown.b[0]) == float(X[0])
        state = tell(elicitor, state, jnp.asarray(0))
    assert bool(state.best.valid)


def test_a_range_is_kept(opened):
    elicitor, state = opened
    state = tell(elicitor, state, Range(jnp.zeros(3), array([0.3, 1.0, 1.0])))
    state = propose(elicitor, state, split(5, 1)[0])
    points = jnp.stack([state.best.x, *elicitor.ask(state)[:2]])
    assert float(jnp.max(points[:, 0])) <= 0.3 + 1e-6
    assert bool(jnp.all(jax.vmap(lambda z: allows(state.space, X, z))(points)))


def test_a_range_that_the_factual_is_outside_of_is_kept_too(opened):
    elicitor, state = opened
    state = tell(elicitor, state, Range(array([0.5, 0.0, 0.0]), jnp.ones(3)))
    state = propose(elicitor, state, split(5, 1)[0])
    first = np.asarray(members(state.pool).x)[np.asarray(members(state.pool).valid), 0]
    assert np.all((first == X[0]) | (first >= 0.5 - 1e-5))
    assert np.any(first >= 0.5 - 1e-5)
    assert bool(state.best.valid)
    assert float(state.best.x[0]) == X[0] or float(state.best.x[0]) >= 0.5 - 1e-5
    state = tell(elicitor, state, Range(jnp.zeros(3), array([0.3, 1.0, 1.0])))  # nothing is in both
    assert set(np.asarray(members(state.pool).x)[np.asarray(members(state.pool).valid), 0].tolist()) <= {float(X[0])}


def test_a_veto_of_a_level_is_one_of_its_category():
    space = action_space([True] * 4, np.zeros(4), np.ones(4), group=[0, 0, 0, -1])
    x, base = jnp.array([1.0, 0.0, 0.0, 0.1]), Recourse(jnp.array([0.0, 1.0, 0.0, 1.0]), jnp.array(True))
    elicitor = bayesian.elicitor(SMALL)

    @jit
    def after_veto(keys):
        state = elicitor.start(keys[0], Partial(linear, jnp.array([0.0, 0.3, 0.6, 1.2])), x, base, space)
        return elicitor.propose(elicitor.tell(state, Veto(jnp.array([False, True, False, False]))), keys[1])

    state = jax.device_get(after_veto(split(11, 2)))
    pool = jax.device_get(members(state.pool))
    assert pool.valid.any()
    np.testing.assert_array_equal(pool.x[pool.valid, :3], np.tile(x[:3], (pool.valid.sum(), 1)))
    np.testing.assert_array_equal(state.best.x[:3], x[:3])
    assert state.best.valid


def test_a_veto_of_everything_leaves_nothing_to_ask_or_recommend(opened):
    elicitor, state = opened
    state = propose(elicitor, tell(elicitor, state, Veto(jnp.ones(3, bool))), split(6, 1)[0])
    assert not bool(state.best.valid)
    assert not bool(elicitor.ask(state).asked)
    np.testing.assert_array_equal(state.best.x, X)


def test_ratings_teach_as_comparisons_do(opened):
    elicitor, state = opened
    a, b = array([0.9, 0.1, 0.1]), array([0.1, 0.1, 0.9])
    once = tell(elicitor, state, Rating(a, jnp.asarray(1.0)))
    np.testing.assert_array_equal(once.belief.mean, state.belief.mean)
    twice = tell(elicitor, once, Rating(b, jnp.asarray(4.0)))
    assert float(twice.belief.mean[0, 2]) > float(state.belief.mean[0, 2])
    assert float(twice.belief.mean[0, 0]) < float(state.belief.mean[0, 0])
    between = tell(elicitor, twice, Rating(array([0.1, 0.9, 0.1]), jnp.asarray(2.0)))
    assert int(between.belief.num_told) == 3  # better than the worst, and worse than the best
    again = tell(elicitor, between, Rating(b, jnp.asarray(4.0)))
    assert int(again.belief.num_told) == 4


def test_an_answered_question_is_not_shown_again(opened):
    """A person's loop may be `while elicitor.ask(state).asked`."""
    elicitor, state = opened
    assert bool(elicitor.ask(state).asked)
    told = tell(elicitor, state, jnp.asarray(0))
    assert not bool(elicitor.ask(told).asked)
    assert int(tell(elicitor, told, jnp.asarray(0)).belief.num_told) == int(told.belief.num_told) == 1


def test_a_session_can_be_saved(opened):
    elicitor, state = opened
    file = io.BytesIO()
    np.savez(file, *jax.tree.leaves(state))
    file.seek(0)
    with np.load(file) as arrays:
        restored = jax.tree.unflatten(jax.tree.structure(state), [arrays[name] for name in arrays.files])
    after = [tell(elicitor, one, jnp.asarray(1)) for one in (state, restored)]
    jax.tree.map(np.testing.assert_array_equal, *after)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_dtype_of_the_row_is_kept_under_x64(dtype):
    with jax.enable_x64(True):
        x, wish, slope = (jnp.asarray(np.asarray(leaf), dtype) for leaf in (X, BASE.x, SLOPE))

        def held(key):
            prefers, logit_fn = Partial(people.prefers_nearer, wish), Partial(linear, slope)
            base = Recourse(wish, jnp.array(True))
            state, trace = elicit.session(
                bayesian.elicitor(SMALL), prefers, key, logit_fn, x, base, SPACE, num_proposals=2
            )
            return state.belief, members(state.pool).x, trace.x, ideals(state, key)

        floats = [
            leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(held, jax.random.key(0))) if leaf.dtype.kind == "f"
        ]
    assert set(floats) == {jnp.dtype(dtype)}


def test_a_set_is_valid_and_diverse(opened):
    _, state = opened
    options, valid = jit(lambda state, key: offer(state, key, 4))(state, split(8, 1)[0])
    assert bool(jnp.all(valid))
    assert len(np.unique(np.asarray(options), axis=0)) == 4
    assert bool(jnp.all(jax.vmap(partial(linear, SLOPE))(options) >= 0))
    assert bool(jnp.all(jax.vmap(lambda z: allows(SPACE, X, z))(options)))


def test_a_choice_from_three_counts_as_two_comparisons(opened):
    elicitor, state = opened
    options = array([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9], [0.1, 0.9, 0.1], [0.5, 0.5, 0.5]])
    valid = jnp.array([True, True, True, False])
    told = tell(elicitor, state, Choice(Recourse(options, valid), jnp.asarray(1)))
    assert int(told.belief.num_told) == 2
    assert float(told.belief.mean[0, 2]) > float(state.belief.mean[0, 2])
    others = told.belief.plane[0, :2]
    np.testing.assert_allclose(others, 2 * (options[1] - options[jnp.array([0, 2])]), atol=1e-6)


def test_answers_make_it_surer_of_where_the_ideal_is(opened):
    elicitor, state = opened
    ideal = array([0.8, 0.1, 0.1])
    before, _ = believed(state, split(9, 1)[0], ideal)
    for key in split(10, 6):
        shown = elicitor.ask(state)
        state = tell(elicitor, state, 1 - people.prefers_nearer(ideal, key, X, shown.a, shown.b).astype(int))
        state = propose(elicitor, state, key)
    after, held = believed(state, split(9, 1)[0], ideal)
    assert float(after) < 0.7 * float(before)
    assert bool(held)


def test_it_stops_where_nothing_more_is_to_be_gained(opened):
    elicitor, state = opened
    for acquisition, least in (("utility", 0.05), ("information", 0.2)):
        elicitor = bayesian.elicitor(replace(SMALL, acquisition=acquisition, least_gain=least))
        now, num_asked = propose(elicitor, state, split(7, 1)[0]), 0
        while bool(elicitor.ask(now).asked):
            shown = elicitor.ask(now)
            answer = 1 - people.prefers_nearer(array([0.8, 0.1, 0.1]), split(7, 1)[0], X, shown.a, shown.b).astype(int)
            now, num_asked = tell(elicitor, now, answer), num_asked + 1
            now = propose(elicitor, now, split(20 + num_asked, 1)[0])
        assert 1 <= num_asked < SMALL.max_questions


def test_without_any_recourse_it_asks_nothing():
    elicitor = bayesian.elicitor(SMALL)
    state = start(elicitor, split(0, 1)[0], -SLOPE, Recourse(X, jnp.array(False)))
    state = propose(elicitor, state, split(1, 1)[0])
    assert not bool(elicitor.ask(state).asked)
    state = tell(elicitor, state, jnp.asarray(1))
    assert not bool(state.best.valid)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(state.belief))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"acquisition": "luck"}, "acquisition: must be one of utility, information; got 'luck'"),
        ({"lapses": ()}, "lapses: must hold at least one"),
        ({"lapses": (0.7,)}, "lapses: must be above 0 and below 0.5"),
        ({"num_pool": 0}, "num_pool: must be at least 1; got 0"),
        ({"probabilities": {"ideal": 1.5, "weights": -0.5}}, "probabilities: must be above 0; got -0.5"),
        ({"reach": 0.0}, "reach: must be above 0; got 0.0"),
        ({"priors": {"weights": people.WeightsPrior(sd=-1.0)}}, "weights prior sd: must be above 0; got -1.0"),
    ],
)
def test_wrong_hyperparameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        bayesian.elicitor(Bayes(**wrong))
