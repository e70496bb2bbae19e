"""Sessions of the Bayesian elicitor: NUM users side by side, all in the same few compiled programs."""

import io
from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import (
    GROUP,
    STEP,
    WIDTH,
    Problems,
    array,
    counting,
    jit,
    one_unit,
    random_problems,
    row,
    split,
    stack,
)

from hare_jax import elicit, models, people
from hare_jax.base import Recourse
from hare_jax.elicit import (
    CANNOT_TELL,
    PREFERS_A,
    PREFERS_B,
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
from hare_jax.elicit.bayesian import learn as learning
from hare_jax.elicit.bayesian.ideal import MonteCarlo
from hare_jax.elicit.bayesian.posterior import not_better
from hare_jax.elicit.bayesian.region import inside
from hare_jax.elicit.candidates import Sampling
from hare_jax.elicit.pool import members
from hare_jax.evaluate import metrics
from hare_jax.recourse import growing_spheres
from hare_jax.space import action_space

NUM, NUM_QUESTIONS = 40, 6
TRUTH, UNSURE, ALWAYS_A, COIN_TOSSES = range(4)  # how people answer
EVEN = {"ideal": 0.5, "weights": 0.5}
MOST_RISE = 1.05  # of the mean distance, from one question to later ones
SMALL = Bayes(num_pool=24, num_local=8, num_cheap=2, max_questions=12, probabilities=EVEN, reaches=(0.3, 2.0))
SESSION = bayesian.elicitor(SMALL)


def started(elicitor, key, problem, base):
    space, x, params = problem
    return elicitor.start(key, models.classifier(params), x, base, space)


start, starts = counting(jax.vmap(started, in_axes=(None, 0, 0, 0)))
propose, proposes = counting(jax.vmap(lambda elicitor, state, key: elicitor.propose(state, key), in_axes=(None, 0, 0)))
tell, tells = counting(jax.vmap(lambda elicitor, state, answer: elicitor.tell(state, answer), in_axes=(None, 0, 0)))


@jit
@jax.vmap
def learn(state, answer):
    """As `tell`, without the boundary and the search for the next recommendation, on which nothing here depends."""
    return learning.learn(SMALL, state, answer)


@jit
@jax.vmap
def prefers_nearer(ideal, shown):
    return people.prefers_nearer(ideal, jax.random.key(0), shown.a, shown.a, shown.b)


@jit
@jax.vmap
def judge(problem, points):
    """Of the points (n, d), which are accepted and which are allowed."""
    space, x, params = problem
    allowed = jax.vmap(lambda z: metrics.feasible(x, z, space).all)(points)
    return jax.vmap(partial(models.logit, params))(points) >= 0, allowed


@jit
@jax.vmap
def few_ideals(state, key):
    return ideals(state, key, MonteCarlo(num_draws=16, num_temperatures=3, num_moves=1))


@jit
def believed(state, key, point):
    return expected_distance(state, key), inside(ideal_region(state, key), point)


@jit
@jax.vmap
def pool_of(state):
    return members(state.pool)


def learnt(state):
    """What the answers change in a posterior."""
    return state.belief._replace(prior=None)


@jit
@jax.vmap
def chance_of_harm(x, state):
    return not_better(state.belief, x, state.best.x[None], state.pool.base.x, state.space)[0]


def keys(seed):
    return split(seed, NUM)


def everybody(tree):
    """The same for all users."""
    return stack([tree] * NUM)


def hold(elicitor, state, ideal, seeds, kind=TRUTH, proposer=None, threshold=0.0):
    """Ask a question for each seed: the last state, and what was shown and recommended, leaves (num, NUM, ...).

    Whose distances to the ideal differ by less than the threshold are tied.
    """
    trace = []
    for seed in seeds:
        state = propose(proposer or elicitor, state, keys(seed))
        shown = elicitor.ask(state)
        truth = np.where(prefers_nearer(ideal, shown), PREFERS_A, PREFERS_B)
        gap = np.linalg.norm(shown.a - ideal, axis=1) - np.linalg.norm(shown.b - ideal, axis=1)
        truth = np.where(np.abs(gap) < threshold, CANNOT_TELL, truth)
        coins = np.random.default_rng(seed).choice([PREFERS_A, PREFERS_B], NUM)
        given = [truth, np.full(NUM, CANNOT_TELL), np.full(NUM, PREFERS_A), coins]
        state = tell(elicitor, state, given[kind])
        trace.append(jax.device_get((shown, elicitor.recommend(state))))
    return state, *stack(trace)


@cache
def random_sessions(kind):
    problems = random_problems(5, NUM)

    def spheres(key, space, x, params):
        hp = growing_spheres.GrowingSpheres()
        return growing_spheres.generate(hp, key, models.classifier(params), x, space)

    wishes = array(np.random.default_rng(2).uniform(0, 1, problems.x.shape))
    state = start(SESSION, keys(0), problems, jit(jax.vmap(spheres))(keys(0), *problems))
    return problems, *hold(SESSION, state, wishes, range(100, 100 + NUM_QUESTIONS), kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TRUTH, UNSURE, ALWAYS_A])
def test_all_that_is_shown_is_valid_and_allowed(kind):
    problems, state, shown, best = random_sessions(kind)
    drawn = np.swapaxes(few_ideals(state, keys(0)), 0, 1)
    points = np.stack([*shown.a, *shown.b, *best.x, *drawn], axis=1)
    accepted, allowed = jax.device_get(judge(problems, points))
    usable = np.moveaxis((accepted & allowed)[:, : 3 * NUM_QUESTIONS].reshape(NUM, 3, NUM_QUESTIONS), 0, 2)
    assert shown.asked.mean() > 0.4
    assert np.all(usable[:2, shown.asked])
    assert np.all(usable[2, best.valid])
    assert np.all(best.valid[shown.asked])
    assert np.all(allowed[:, 3 * NUM_QUESTIONS :])
    assert np.all(np.isfinite(best.x))


def test_who_cannot_tell_is_not_asked_the_same_again():
    _, _, shown, _ = random_sessions(UNSURE)
    again = np.all(shown.a[1:] == shown.a[:-1], axis=2) & np.all(shown.b[1:] == shown.b[:-1], axis=2)
    assert np.mean(again[shown.asked[1:]]) < 0.2


# The three numbers sum up to at least 1 for who is accepted; nothing else can change.
NUMBERS = 3
X = array([0.1] * NUMBERS + [0.0] * 3 + [1, 0, 0, 0, 1, 0])
SPACE = action_space(np.arange(WIDTH) < NUMBERS, np.zeros(WIDTH), np.ones(WIDTH), group=GROUP, step=STEP)


def wide(*numbers):
    """A row with these numbers; for NUM users if they are arrays."""
    numbers = np.stack(np.broadcast_arrays(*numbers), axis=-1)
    return array(np.concatenate([numbers, np.broadcast_to(X[NUMBERS:], (*numbers.shape[:-1], WIDTH - NUMBERS))], -1))


def linear(weight, offset=-1.0):
    return one_unit(weight, 0, 1, offset)  # no row has a negative sum


WEIGHT = (np.arange(WIDTH) < NUMBERS).astype(float)
PROBLEMS = everybody(Problems(SPACE, X, linear(WEIGHT)))
BASE = everybody(Recourse(wide(0.4, 0.4, 0.4), np.array(True)))


def test_a_few_questions_bring_people_nearer_than_as_many_of_hare():
    wishes = wide(*np.random.default_rng(4).dirichlet(np.ones(NUMBERS) * 1.5, NUM).T)
    _, shown, best = hold(SESSION, start(SESSION, keys(1), PROBLEMS, BASE), wishes, range(200, 210))

    @jit
    @jax.vmap
    def with_hare(key, ideal, problem, base):
        hp = elicit.Hare(sampling=Sampling(num_directions=10))
        prefers, (space, x, params) = Partial(people.prefers_nearer, ideal), problem
        return elicit.run(
            elicit.hare.elicitor(hp), prefers, key, models.classifier(params), x, base, space, num_proposals=1
        )

    theirs, trace = with_hare(keys(1), wishes, PROBLEMS, BASE)
    assert trace.asked.shape[1] == len(shown.asked) == 10
    distance = np.mean(np.linalg.norm(best.x[-1] - wishes, axis=1))
    assert distance < 0.15
    assert distance < 0.9 * np.mean(np.linalg.norm(theirs.x - wishes, axis=1))


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "num", "most"), [(0.1, 20, 0.5), (0.3, 5, 0.8)])
def test_ties_do_not_make_it_worse(threshold, num, most):
    """Distances to the ideal that differ by less than the threshold are tied.

    The base is kept unless the recommendation is probably better by half the threshold, so that the distance falls less
    where that is nearly the distance of the base.
    """
    wishes = wide(*np.random.default_rng(4).dirichlet(np.ones(NUMBERS) * 1.5, NUM).T)
    ours = bayesian.elicitor(replace(SMALL, max_questions=30))
    _, _, best = hold(ours, start(ours, keys(1), PROBLEMS, BASE), wishes, range(400, 430), threshold=threshold)
    distance = np.mean(np.linalg.norm(best.x - wishes, axis=2), axis=1)
    assert distance[num - 1] < most * np.mean(np.linalg.norm(BASE.x - wishes, axis=1))
    assert distance[-1] < distance[num - 1]
    assert np.all(distance[num:] <= MOST_RISE * distance[num - 1])


def test_what_is_likely_to_be_worse_than_the_base_is_not_recommended():
    moved = {}
    for kind in (TRUTH, UNSURE):
        problems, state, *_ = random_sessions(kind)
        harm = np.asarray(chance_of_harm(problems.x, state))[state.pool.base.valid]
        assert np.all(harm <= SMALL.most_harm + 0.005)
        moved[kind] = np.mean(harm > 0)
    assert moved[TRUTH] > 0.5  # most recommendations are not the base


def test_coin_tosses_lead_back_to_the_base():
    wishes = wide(*np.random.default_rng(4).dirichlet(np.ones(NUMBERS) * 1.5, NUM).T)

    def at_base(kind, coins):
        ours = bayesian.elicitor(replace(SMALL, coins=coins))
        _, _, best = hold(ours, start(ours, keys(1), PROBLEMS, BASE), wishes, range(500, 512), kind)
        return np.mean(np.all(best.x[-1] == BASE.x, axis=1))

    assert at_base(TRUTH, 0.2) < 0.1
    assert at_base(COIN_TOSSES, 0.2) > 0.4
    assert at_base(COIN_TOSSES, 0.0) < 0.2


def test_new_floats_compile_nothing():
    def count(**floats):
        elicitor = bayesian.elicitor(replace(SMALL, **floats))
        state = propose(elicitor, start(elicitor, keys(1), PROBLEMS, BASE), keys(2))
        tell(elicitor, state, np.zeros(NUM, int))
        return len(starts), len(proposes), len(tells)

    before = count()
    assert count(probabilities=EVEN, noise=0.03, thickness=0.03) == before
    others = {"least_on_boundary": 0.5, "thickness": 0.1, "most_harm": 0.1, "coins": 0.2}
    assert count(probabilities={"ideal": 0.9, "weights": 0.1}, noise=0.1, **others) == before


@pytest.fixture(scope="module")
def opened():
    """Sessions that begin with the same row, and the first question of each."""
    return propose(SESSION, start(SESSION, keys(2), PROBLEMS, BASE), keys(3))


def test_after_a_veto_nothing_breaks_it(opened):
    state = tell(SESSION, opened, Veto(everybody(np.arange(WIDTH) == 0)))
    assert np.all(state.best.x[:, 0] == X[0])
    state, shown, best = hold(SESSION, state, everybody(X), range(40, 46), ALWAYS_A)
    assert shown.asked.all()
    assert np.all(best.x[..., 0] == X[0])
    assert np.all(shown.a[..., 0] == X[0])
    assert np.all(shown.b[..., 0] == X[0])
    assert best.valid.all()


def points_of(state):
    """What is shown and recommended."""
    return np.stack([state.best.x, *SESSION.ask(state)[:2]], axis=1)


def test_a_range_is_kept(opened):
    upper = wide(0.3, 1.0, 1.0)
    state = tell(SESSION, opened, Range(everybody(np.zeros_like(X)), everybody(upper)))
    state = propose(SESSION, state, keys(5))
    assert np.max(points_of(state)[..., 0]) <= 0.3 + 1e-6
    assert np.all(judge(PROBLEMS._replace(space=state.space), points_of(state)))


def test_a_range_that_the_factual_is_outside_of_is_kept_too(opened):
    state = tell(SESSION, opened, Range(everybody(wide(0.5, 0.0, 0.0)), everybody(np.ones_like(X))))
    state = jax.device_get(propose(SESSION, state, keys(5)))
    pool = jax.device_get(pool_of(state))
    valid, first = pool.valid, pool.x[..., 0]
    assert np.all(((first == X[0]) | (first >= 0.5 - 1e-5))[valid])
    assert np.all(np.any(valid & (first >= 0.5 - 1e-5), axis=1))
    assert np.all(state.best.valid)
    assert np.all((state.best.x[:, 0] == X[0]) | (state.best.x[:, 0] >= 0.5 - 1e-5))
    nothing = Range(everybody(np.zeros_like(X)), everybody(wide(0.3, 1.0, 1.0)))  # nothing is in both
    state = jax.device_get(tell(SESSION, state, nothing))
    pool = jax.device_get(pool_of(state))
    assert set(pool.x[pool.valid, 0].tolist()) <= {float(X[0])}


def test_a_veto_of_a_level_is_one_of_its_category():
    levels, weight = [6, 7, 8], np.zeros(WIDTH)
    weight[[0, 7, 8]] = 1.2, 0.3, 0.6
    base = wide(1.0, 0.1, 0.1)
    base[levels] = 0, 1, 0
    mutable = np.isin(np.arange(WIDTH), [0, *levels])
    problems = everybody(Problems(SPACE._replace(mutable=mutable), X, linear(weight)))
    state = start(SESSION, keys(11), problems, everybody(Recourse(base, np.array(True))))
    state = tell(SESSION, state, Veto(everybody(np.arange(WIDTH) == 7)))
    state = jax.device_get(propose(SESSION, state, keys(12)))
    pool = jax.device_get(pool_of(state))
    assert np.all(pool.valid.any(axis=1))
    kept = pool.x[pool.valid][:, levels]
    np.testing.assert_array_equal(kept, np.broadcast_to(X[levels], kept.shape))
    np.testing.assert_array_equal(state.best.x[:, levels], everybody(X[levels]))
    assert state.best.valid.all()


def test_a_veto_of_everything_leaves_nothing_to_ask_or_recommend(opened):
    state = tell(SESSION, opened, Veto(everybody(np.ones(WIDTH, bool))))
    state = propose(SESSION, state, keys(6))
    assert not np.any(state.best.valid)
    assert not np.any(SESSION.ask(state).asked)
    np.testing.assert_array_equal(state.best.x, everybody(X))


def test_ratings_teach_as_comparisons_do(opened):
    def rate(state, value, *numbers):
        return learn(state, everybody(Rating(wide(*numbers), array(value))))

    once = rate(opened, 1.0, 0.9, 0.1, 0.1)
    assert np.all(once.belief.num_told == 0)
    jax.tree.map(np.testing.assert_array_equal, once.belief, opened.belief)
    twice = rate(once, 4.0, 0.1, 0.1, 0.9)
    assert np.all(twice.belief.mean[:, 0, 2] > once.belief.mean[:, 0, 2])
    assert np.all(twice.belief.mean[:, 0, 0] < once.belief.mean[:, 0, 0])
    between = rate(twice, 2.0, 0.1, 0.9, 0.1)
    assert np.all(between.belief.num_told == 3)  # better than the worst, and worse than the best
    again = rate(between, 4.0, 0.1, 0.1, 0.9)
    assert np.all(again.belief.num_told == 4)


def test_an_answered_question_is_not_shown_again(opened):
    """A person's loop may be `while elicitor.ask(state).asked`."""
    assert np.all(SESSION.ask(opened).asked)
    told = tell(SESSION, opened, np.zeros(NUM, int))
    assert not np.any(SESSION.ask(told).asked)
    assert np.all(told.belief.num_told == 1)
    assert np.all(tell(SESSION, told, np.zeros(NUM, int)).belief.num_told == 1)


def test_an_answer_to_no_question_needs_no_room(opened, monkeypatch):
    monkeypatch.setattr(learning.posterior, "update", lambda belief, *_: belief)  # it takes long to compile
    one = jax.tree.map(lambda leaf: leaf[0], opened)
    full = one._replace(belief=one.belief._replace(num_told=jnp.array(SMALL.max_questions)))
    nothing = full.question._replace(asked=jnp.array(False))
    told = learning.learn(SMALL, full._replace(question=nothing), jnp.array(elicit.PREFERS_A))
    assert told.belief.num_told == SMALL.max_questions
    with pytest.raises(ValueError, match="must fit"):
        learning.learn(SMALL, full, jnp.array(elicit.PREFERS_A))


def test_a_session_can_be_saved(opened):
    file = io.BytesIO()
    np.savez(file, *jax.tree.leaves(opened))
    file.seek(0)
    with np.load(file) as arrays:
        restored = jax.tree.unflatten(jax.tree.structure(opened), [arrays[name] for name in arrays.files])
    after = [tell(SESSION, one, np.ones(NUM, int)) for one in (opened, restored)]
    jax.tree.map(np.testing.assert_array_equal, *after)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_of_the_row_is_kept_under_x64(dtype):
    with jax.enable_x64(True):
        x, params, ideal = jax.tree.map(lambda leaf: leaf.astype(dtype), (X, linear(WEIGHT), wide(0.4, 0.4, 0.4)))

        def held(key, x, params, ideal, space):
            prefers, base = Partial(people.prefers_nearer, ideal), Recourse(ideal, np.array(True))
            state, trace = elicit.session(
                SESSION, prefers, key, models.classifier(params), x, base, space, num_proposals=2
            )
            return state.belief, members(state.pool).x, trace.x, ideals(state, key)

        leaves = jax.tree.leaves(jax.eval_shape(held, jax.random.key(0), x, params, ideal, SPACE))
    assert {leaf.dtype for leaf in leaves if leaf.dtype.kind == "f"} == {np.dtype(dtype)}


def test_a_set_is_valid_and_diverse(opened):
    options, valid = jit(jax.vmap(partial(offer, num=4)))(opened, keys(8))
    assert np.all(valid)
    assert [len(np.unique(one, axis=0)) for one in np.asarray(options)] == [4] * NUM
    assert np.all(judge(PROBLEMS, options))


def test_a_choice_from_three_counts_as_two_comparisons(opened):
    options = np.stack([wide(0.9, 0.1, 0.1), wide(0.1, 0.1, 0.9), wide(0.1, 0.9, 0.1), wide(0.5, 0.5, 0.5)])
    valid = np.array([True, True, True, False])
    told = learn(opened, everybody(Choice(Recourse(options, valid), np.array(1))))
    assert np.all(told.belief.num_told == 2)
    assert np.all(told.belief.mean[:, 0, 2] > opened.belief.mean[:, 0, 2])
    others = told.belief.plane[:, 0, :2]
    np.testing.assert_allclose(others, everybody(2 * (options[1] - options[[0, 2]])), atol=1e-6)


def test_answers_make_it_surer_of_where_the_ideal_is(opened):
    ideal = wide(0.8, 0.1, 0.1)
    key = keys(9)[0]
    before, _ = believed(row(jax.device_get(opened), 0), key, ideal)
    state, *_ = hold(SESSION, opened, everybody(ideal), range(50, 56))
    after, held = believed(row(jax.device_get(state), 0), key, ideal)
    assert float(after) < 0.7 * float(before)
    assert bool(held)


def test_it_stops_where_nothing_more_is_to_be_gained(opened):
    ideal = everybody(wide(0.8, 0.1, 0.1))
    for acquisition, least, most in (("utility", 0.1, 6), ("information", 0.65, SMALL.max_questions)):
        stopping = bayesian.elicitor(replace(SMALL, acquisition=acquisition, least_gain=least))
        # Both learn alike from an answer, which is compiled but once.
        _, shown, _ = hold(SESSION, opened, ideal, range(60, 60 + most), proposer=stopping)
        num_asked = np.sum(np.cumprod(shown.asked, axis=0), axis=0)
        assert np.all(num_asked >= 1)
        assert np.mean(num_asked < most) > 0.7


def test_without_any_recourse_it_asks_nothing():
    problems = PROBLEMS._replace(params=everybody(linear(-WEIGHT)))
    state = start(SESSION, keys(0), problems, everybody(Recourse(X, np.array(False))))
    state = propose(SESSION, state, keys(1))
    assert not np.any(SESSION.ask(state).asked)
    state = tell(SESSION, state, np.ones(NUM, int))
    assert not np.any(state.best.valid)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(learnt(state)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"acquisition": "luck"}, "acquisition: must be one of mixed, utility, information; got 'luck'"),
        ({"lapses": ()}, "lapses: must hold at least one"),
        ({"lapses": ((0.7, 1.0),)}, "lapses: must be above 0 and below 0.5"),
        ({"lapses": ((0.1, 1.0), (0.2, 0.0))}, "lapses: must have probabilities above 0"),
        ({"lapses": ((0.1, 1.0, 2.0),)}, "lapses"),
        ({"widths": ()}, "widths: must hold at least one"),
        ({"widths": ((-0.1, 1.0),)}, "widths: must be at least 0"),
        ({"memories": ((0.0, 1.0),)}, "memories: must be above 0 and at most 1"),
        ({"memories": ((1.1, 1.0),)}, "memories: must be above 0 and at most 1"),
        ({"most_harm": 1.5}, "most_harm: must be .*; got 1.5"),
        ({"coins": -0.1}, "coins: must be .*; got -0.1"),
        ({"thickness": 0.0}, "thickness: must be above 0"),
        ({"num_pool": 0}, "num_pool: must be at least 1; got 0"),
        ({"probabilities": {"ideal": 1.5, "weights": -0.5}}, "probabilities: must be above 0; got -0.5"),
        ({"reaches": ()}, "reaches: must hold at least one"),
        ({"reaches": (1.0, 0.0)}, "reaches: must be above 0"),
        ({"priors": {"weights": people.WeightsPrior(sd=-1.0)}}, "weights prior sd: must be above 0; got -1.0"),
    ],
)
def test_wrong_hyperparameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        bayesian.elicitor(Bayes(**wrong))
