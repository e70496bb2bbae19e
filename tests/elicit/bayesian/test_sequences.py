"""Random sequences of all types of answers, side by side in one program."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import WIDTH, array, jit, random_problems, split

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.elicit import Bayes, Choice, Range, Rating, Veto, bayesian, offer, pool
from hare_jax.elicit.answers import in_ranges
from hare_jax.elicit.bayesian import search
from hare_jax.elicit.bayesian.learn import learn
from hare_jax.elicit.bayesian.state import State
from hare_jax.evaluate import metrics
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import project

NUM, NUM_ANSWERS, NUM_OPTIONS = 20, 30, 3
SHORT = LocalSearch(num_first=2, num_starts=1, num_rounds=1, num_rays=2)
HP = Bayes(
    num_pool=16,
    num_local=4,
    num_cheap=2,
    search=SHORT,
    reaches=(0.3, 1.0),
    probabilities={"ideal": 0.5, "weights": 0.5},
    max_questions=NUM_ANSWERS * (NUM_OPTIONS - 1),
)
COMPARISON, CHOICE, RATING, VETO, RANGE = range(5)
SAME = 1e-4  # recourses that differ by less are one
FREQUENT = [COMPARISON] * 6 + [CHOICE, CHOICE, RATING, RATING, VETO, RANGE]  # vetoes leave little to ask about


class Step(NamedTuple):
    """What was shown and recommended, and the state after the answer."""

    asked: Any  # () bool
    shown: Any  # (2, d)
    compared: Any  # (T, 2, d) pairs that answers were about, before the question
    num_told: Any  # ()
    usable: Any  # (3,) bool: both recourses shown and the recommendation are accepted, allowed and in the ranges
    valid: Any  # () bool of the recommendation
    finite: Any  # () bool: no number in the state is NaN, and no recourse or moment is infinite


def answers(key, state):
    """One of each type, drawn at random."""
    keys = jax.random.split(key, 8)
    column = jnp.arange(WIDTH) == jax.random.randint(keys[0], (), 0, WIDTH)
    members, x = pool.members(state.pool), state.x
    options = offer(state, keys[1], NUM_OPTIONS)
    chosen = jnp.argmax(options.valid * jax.random.uniform(keys[2], (NUM_OPTIONS,), minval=0.1))
    below, above = jax.random.uniform(keys[3], (2, 1), x.dtype)
    rated = jax.random.categorical(keys[4], jnp.where(members.valid, 0.0, -jnp.inf))
    value = jax.random.randint(keys[5], (), 0, 4).astype(x.dtype)
    comparison = jax.random.randint(keys[6], (), 0, 3)
    interval = Range(jnp.where(column, x - below, -jnp.inf), jnp.where(column, x + above, jnp.inf))
    return comparison, Choice(options, chosen), Rating(members.x[rated], value), Veto(column), interval


def tell(state, key, kind):
    """As the elicitor's own, with a type of answer that is traced."""
    key_answer, key_search = jax.random.split(key)
    told = [partial(learn, HP, state, answer) for answer in answers(key_answer, state)]
    state = jax.lax.switch(kind, told)
    return search.search(HP, search.at_boundary(HP, state), key_search)


def finite(state):
    belief = state.belief._replace(grid=None, prior=None)
    floats = [
        leaf for leaf in jax.tree.leaves((belief, state.pool, state.question, state.rated)) if leaf.dtype.kind == "f"
    ]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in floats]))


def step(elicitor, state: State, given):
    (key_propose, key_tell), kind = given
    state = elicitor.propose(state, key_propose)
    shown = elicitor.ask(state)
    after = tell(state, key_tell, kind)
    best = elicitor.recommend(after)
    points = jnp.stack([shown.a, shown.b, best.x])

    def usable(z, state):
        allowed = metrics.feasible(state.x, z, state.space).all & in_ranges(state.ranges, state.x, z)
        return (state.logit_fn(z) >= 0) & allowed

    checks = jnp.stack([usable(shown.a, state), usable(shown.b, state), usable(best.x, after)])
    return after, Step(
        shown.asked, points[:2], state.belief.pair, state.belief.num_told, checks, best.valid, finite(after)
    )


@jit
@jax.vmap
def hold(key, problem, kinds):
    """The steps (n, T, ...) of sessions with these types of answers (n, T)."""
    space, x, params = problem
    elicitor, logit_fn = bayesian.elicitor(HP), models.classifier(params)
    key_base, key_start, key_steps = jax.random.split(key, 3)
    points = jax.random.uniform(key_base, (16, WIDTH), x.dtype, -0.3, 1.3)
    points = jax.vmap(lambda z: project(space, x, z))(points)
    logits = jax.vmap(logit_fn)(points)
    base = Recourse(points[jnp.argmax(logits)], jnp.max(logits) >= HP.margin)
    state = elicitor.start(key_start, logit_fn, x, base, space)
    given = jax.random.split(key_steps, (NUM_ANSWERS, 2)), kinds
    return jax.lax.scan(partial(step, elicitor), state, given)[1]


def session_of(seed, kinds):
    return jax.device_get(hold(split(seed, NUM), random_problems(seed, NUM), array(kinds)))


def check(found):
    assert found.asked.mean() > 0.3
    assert found.finite.all()
    assert found.usable[..., :2][found.asked].all()
    assert found.usable[..., 2][found.valid].all()
    told = np.arange(found.compared.shape[2]) < found.num_told[..., None]
    for shown in (found.shown, found.shown[:, :, ::-1]):
        same = np.all(np.abs(found.compared - shown[:, :, None]) <= SAME, axis=(3, 4)) & told
        assert not np.any(same[found.asked])


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 100, 10))]


@pytest.mark.parametrize("seed", SEEDS)
def test_any_answers_break_nothing(seed):
    check(session_of(seed, np.random.default_rng(seed).choice(FREQUENT, (NUM, NUM_ANSWERS))))


def test_thirty_comparisons_are_about_thirty_pairs():
    found = session_of(200, np.full((NUM, NUM_ANSWERS), COMPARISON))
    check(found)
    assert np.all(np.diff(found.num_told, axis=1) == found.asked[:, :-1])
    for asked, shown in zip(found.asked, found.shown, strict=True):
        pairs = {frozenset(map(tuple, pair.tolist())) for pair in shown[asked]}
        assert len(pairs) == asked.sum()
