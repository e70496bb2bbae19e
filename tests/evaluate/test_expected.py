"""The expected figure of a session and its gradient, against all sequences of answers.

The brute force is independent of the package's derivatives: it runs the session with each sequence of answers, moves
what was shown and recommended by Newton's method in NumPy, and takes central differences of the expectation.
"""

from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy import stats
from spaces import counting, jit

from hare_jax import elicit
from hare_jax.base import Recourse
from hare_jax.elicit import ELICITORS, Bayes, Hare, Sampling
from hare_jax.evaluate import expected
from hare_jax.people import Response
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.local_search import LocalSearch
from hare_jax.space import action_space

WIDTH, UNITS = 5, 6
STEP = np.array([0, 0, 0, 0.5, 1])  # three continuous columns, an ordered one, and a category
LOWER, UPPER = np.array([-2.0, -2, -2, -2, 0]), np.array([2.0, 2, 0.6, 2, 1])
NUM_DRAWS, NUM_DIRECTIONS = 4096, 4
H = 1e-5  # of the central differences
NEAR = 1 - 2.0**-7  # a recourse is on the boundary if it is refused at this fraction of its change
SHORT = LocalSearch(num_first=2, num_starts=1, num_rounds=1, num_rays=2)
QUICK: dict[type, dict[str, Any]] = {
    Hare: {"sampling": Sampling(num_steps=4, learning_rate=0.3, annealed=False, spread_weight=0.1)},
    Bayes: {
        "num_pool": 12,
        "num_local": 4,
        "num_cheap": 2,
        "num_favourites": 2,
        "search": SHORT,
    },
}
CDF = {"logistic": stats.logistic.cdf, "probit": stats.norm.cdf}


class Theta(NamedTuple):
    """What the expectation is differentiated in."""

    params: Any
    x: Any
    hidden: Any
    sharpness: Any
    lapse: Any


class Case(NamedTuple):
    elicitor: str
    budget: int
    per_round: int
    kind: str
    link: str = "logistic"


CASES = [
    pytest.param(Case("multi", 4, 2, "weights"), marks=pytest.mark.slow),
    pytest.param(Case("single", 5, 5, "ideal", "probit"), marks=pytest.mark.slow),
    pytest.param(Case("multi", 5, 1, "ideal"), marks=pytest.mark.slow),
    pytest.param(Case("bayes", 5, 1, "ideal"), marks=pytest.mark.slow),
    pytest.param(Case("bayes", 5, 1, "weights", "probit"), marks=pytest.mark.slow),
]


def logit(params, x):
    return params["last"] @ jnp.tanh(params["first"] @ x + params["bias"]) + params["offset"]


def np_logit(params, x):
    return params["last"] @ np.tanh(params["first"] @ x + params["bias"]) + params["offset"]


@pytest.fixture(scope="module", autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def problem(seed=7):
    """Parameters, of which `x` is refused, and the likeliest of some points as a base recourse, accepted."""
    rng = np.random.default_rng(seed)
    params = {"first": rng.normal(size=(UNITS, WIDTH)), "bias": rng.normal(size=UNITS), "last": rng.normal(size=UNITS)}
    x = np.zeros(WIDTH)
    params["offset"] = -np_logit({**params, "offset": 0.0}, x) - 0.5
    points = rng.uniform(LOWER, UPPER, (200, WIDTH))
    points[:, 3:] = np.round(points[:, 3:] / STEP[3:]) * STEP[3:]
    base = max(points, key=lambda point: np_logit(params, point))
    assert np_logit(params, base) > 0.1
    hidden = {"ideal": rng.uniform(LOWER, UPPER), "weights": rng.uniform(0.3, 2, WIDTH)}
    return params, x, hidden, Recourse(base, np.array(True))


def space():
    return action_space([True] * WIDTH, LOWER, UPPER, step=STEP)


def bound(case, **hyperparameters):
    quick = QUICK[ELICITORS[case.elicitor].hyperparams]
    return elicit.bind(case.elicitor, budget=case.budget, per_round=case.per_round, **{**quick, **hyperparameters})


def arguments(case, theta):
    response = Response(link=case.link, sharpness=theta.sharpness, lapse=theta.lapse)
    return case.kind, response, jax.random.key(5), Partial(logit, theta.params), theta.x, theta.hidden


def all_answers(budget):
    return np.array(list(product((elicit.PREFERS_A, elicit.PREFERS_B), repeat=budget)))


def all_outcomes(case, elicitor, theta, base):
    return expected.of_answers(elicitor, *arguments(case, theta), base, space(), all_answers(case.budget))


def weighted(outcomes):
    """The expectation over all sequences of answers."""
    return jnp.sum(jnp.exp(outcomes.log_probability) * outcomes.figure)


def enumerated(case, elicitor, theta, base):
    return weighted(all_outcomes(case, elicitor, theta, base))


def drawn(case, elicitor, theta, base, **options):
    return expected.over_answers(elicitor, *arguments(case, theta), base, space(), num_draws=NUM_DRAWS, **options)


def plans(case, elicitor, theta, base):
    """What is shown, and whether, and what is recommended, with each sequence of answers."""
    keys = elicit.session_keys(jax.random.key(5), elicitor.num_proposals, elicitor.questions_per_proposal)
    start = elicitor.start(keys.start, Partial(logit, theta.params), theta.x, base, space())

    def question(state, answer):
        shown = elicitor.ask(state)
        return elicitor.tell(state, answer), shown

    def proposal(state, row):
        return jax.lax.scan(question, elicitor.propose(state, row[0]), row[1])

    def one(answers):
        last, shown = jax.lax.scan(proposal, start, (keys.propose, answers.reshape(elicitor.num_proposals, -1)))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), shown), elicitor.recommend(last).x

    return jax.vmap(one)(all_answers(case.budget))


class Found(NamedTuple):
    case: Case
    theta: Theta
    plans: Any
    outcomes: expected.Outcomes  # of all sequences of answers
    outcome_slopes: expected.Outcomes  # tangents of them in each direction
    value: Any  # of the enumerated expectation
    grad: Theta
    directions: Theta  # leaves (NUM_DIRECTIONS, ...)
    slopes: expected.Expectation  # tangents of the draws in each direction: (m,), (m, n)
    draws: expected.Expectation


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case.elicitor}-{case.kind}-{case.link}")
def found(request):
    case = request.param
    params, x, hidden, base = problem()
    theta = Theta(params, x, hidden[case.kind], np.array(1.3), np.array(0.05))
    rng = np.random.default_rng(9)
    directions = jax.tree.map(lambda leaf: rng.normal(size=(NUM_DIRECTIONS, *np.shape(leaf))), theta)
    elicitor = bound(case)

    @jit
    def brute(theta, directions):
        def outcomes(theta):
            return all_outcomes(case, elicitor, theta, base)._replace(valid=None)

        found, pull = jax.vjp(outcomes, theta)
        value, slope = jax.value_and_grad(weighted)(found)
        pushed = jax.vmap(jax.linearize(outcomes, theta)[1])(directions)
        return plans(case, elicitor, theta, base), found, pushed, value, pull(slope)[0]

    @jit
    def estimate(theta, directions):
        value, push = jax.linearize(lambda t: drawn(case, elicitor, t, base)._replace(valid=None), theta)
        return value, jax.vmap(push)(directions)

    exact = jax.device_get(brute(theta, directions))
    draws, slopes = jax.device_get(estimate(theta, directions))
    return Found(case, theta, *exact, directions, slopes, draws)


def moved(theta, fixed, point):
    """A recourse (d,) for `fixed.x`, moved along its direction so that it keeps its logit at `theta`."""
    lower, upper = np.minimum(LOWER, fixed.x), np.maximum(UPPER, fixed.x)
    at_bound = (np.abs(point - lower) < 1e-12) | (np.abs(point - upper) < 1e-12)
    held = (point != fixed.x) & (at_bound | (STEP == 1))
    change = np.where(held | (STEP > 0), 0, point - fixed.x)
    before = np_logit(fixed.params, point - (1 - NEAR) * change)
    start = np.where(held, point, theta.x + (point - fixed.x) - change)
    t, target = 1.0, np_logit(fixed.params, point)
    if not before < MARGIN <= target + 1e-9:
        return start + change
    for _ in range(20):
        units = np.tanh(theta.params["first"] @ (start + t * change) + theta.params["bias"])
        slope = theta.params["last"] @ ((1 - units**2) * (theta.params["first"] @ change))
        t -= (np_logit(theta.params, start + t * change) - target) / slope
    return start + t * change


def utility(kind, theta, z):
    return -np.sum((z - theta.hidden) ** 2) if kind == "ideal" else -np.sum(theta.hidden * np.abs(z - theta.x))


def np_loss(kind, theta, z):
    return np.sqrt(-utility(kind, theta, z)) if kind == "ideal" else -utility(kind, theta, z)


def expectation(found, theta):
    """The expectation at `theta`, with what was shown at `found.theta` moved by `moved`."""
    shown, best = found.plans
    total, at = 0.0, 0.0
    for index, answers in enumerate(all_answers(found.case.budget)):
        probability = 1.0
        for step, answer in enumerate(answers):
            if shown.asked[index, step]:
                a, b = (moved(theta, found.theta, points[index, step]) for points in (shown.a, shown.b))
                delta = utility(found.case.kind, theta, a) - utility(found.case.kind, theta, b)
                sign = 1 if answer == elicit.PREFERS_A else -1
                cdf = CDF[found.case.link](sign * theta.sharpness * delta)
                probability *= theta.lapse + (1 - 2 * theta.lapse) * cdf
            else:
                probability /= 2
        total += probability
        at += probability * np_loss(found.case.kind, theta, moved(theta, found.theta, best[index]))
    assert total == pytest.approx(1)
    return at


def shifted(found, index, h):
    return jax.tree.map(lambda leaf, way: leaf + h * way[index], found.theta, found.directions)


def along(grad, found, index):
    """The derivative in a direction, from the gradient."""
    parts = jax.tree.map(lambda slope, way: np.vdot(slope, way[index]), grad, found.directions)
    return sum(jax.tree.leaves(parts))


def test_the_gradient_of_the_expectation_is_that_of_central_differences(found):
    assert found.value == pytest.approx(expectation(found, found.theta), rel=1e-9)
    for index in range(NUM_DIRECTIONS):
        above, below = (expectation(found, shifted(found, index, h)) for h in (H, -H))
        assert along(found.grad, found, index) == pytest.approx((above - below) / (2 * H), rel=1e-6, abs=1e-8)


def test_draws_are_unbiased(found):
    """Prints the estimate, its standard error, the brute force, and the z-score, in each direction."""
    error = np.std(found.draws.terms) / np.sqrt(NUM_DRAWS)
    assert abs(found.draws.mean - found.value) < 3 * error
    for index in range(NUM_DIRECTIONS):
        estimate, exact = found.slopes.mean[index], along(found.grad, found, index)
        error = np.std(found.slopes.terms[index]) / np.sqrt(NUM_DRAWS)
        print(f"{estimate:.5f} +- {error:.5f}, exact {exact:.5f}, z = {(estimate - exact) / error:.2f}")
        assert abs(estimate - exact) < 3 * error


def test_the_baseline_reduces_the_variance(found):
    """The variance without it is exact, from all sequences of answers."""
    for index in range(NUM_DIRECTIONS):
        plain = exact_variance(found, index)
        assert np.var(found.slopes.terms[index]) < 0.8 * plain


def exact_variance(found, index):
    """Of the derivative of a draw without a baseline, in a direction."""
    slope, score = (tangent[index] for tangent in (found.outcome_slopes.figure, found.outcome_slopes.log_probability))
    share = np.exp(found.outcomes.log_probability)
    each = slope + found.outcomes.figure * score
    return share @ each**2 - (share @ each) ** 2


def test_the_answers_matter(found):
    """The checks above mean something: the recommendation depends on the answers, and on both kinds of columns."""
    shown, best = found.plans
    assert len(np.unique(np.round(best, 6), axis=0)) >= 4
    assert shown.asked.sum(axis=1).max() >= 4
    assert all(np.any(np.abs(leaf) > 1e-3) for leaf in jax.tree.leaves(found.grad))


HYPERPARAMETERS = ("radius", "spread_weight")


@pytest.mark.slow
def test_the_derivative_in_hares_hyperparameters_is_that_of_central_differences(monkeypatch):
    monkeypatch.setattr(elicit.hare, "_BOUNDARY_STEPS", 45)  # so that differences are not those of the bisection
    case = Case("multi", 4, 2, "weights")
    params, x, hidden, base = problem()
    theta = Theta(params, x, hidden[case.kind], 1.3, 0.05)

    def elicitor(values):
        quick = QUICK[Hare]["sampling"]
        return bound(case, sampling=replace(quick, **dict(zip(HYPERPARAMETERS, values, strict=True))))

    @jit
    def brute(values, ways):
        value, push = jax.linearize(lambda v: enumerated(case, elicitor(v), theta, base), values)
        return value, jax.vmap(push)(ways)

    @jit
    def estimate(values, way):
        return jax.jvp(lambda v: drawn(case, elicitor(v), theta, base).terms, (values,), (way,))[1]

    ways, at = np.eye(2), np.array([1.0, 0.1])
    slopes = brute(at, ways)[1]
    for way, slope in zip(ways, slopes, strict=True):
        above, below = (float(brute(at + h * way, ways)[0]) for h in (H, -H))
        assert float(slope) == pytest.approx((above - below) / (2 * H), rel=1e-5)
        assert abs(slope) > 1e-3
    terms = np.asarray(estimate(at, ways[0]))
    assert abs(np.mean(terms) - slopes[0]) < 3 * np.std(terms) / np.sqrt(NUM_DRAWS)


@pytest.mark.slow
def test_the_bayesian_hyperparameters_are_constant():
    case = Case("bayes", 2, 1, "ideal")
    params, x, hidden, base = problem()
    theta = Theta(params, x, hidden[case.kind], 1.3, 0.05)
    grad = jit(jax.grad(lambda noise: enumerated(case, bound(case, noise=noise), theta, base)))(0.03)
    assert grad == 0


def gradient(hp, theta, base):
    """The gradient of one person's expected loss, from a few sessions in batches that do not divide their number."""
    case = Case("multi", 4, 2, "ideal")
    options = {"num_draws": 7, "batch_size": 3}
    elicitor = bound(case, sampling=hp)
    return jax.value_and_grad(
        lambda t: expected.over_answers(elicitor, *arguments(case, t), base, space(), **options).mean
    )(theta)


@pytest.mark.slow
def test_people_are_batched_and_failures_have_finite_gradients():
    """The base recourse is valid, not valid, or the ideal itself; or the factual is accepted."""
    params, x, hidden, base = problem()
    gradients, traces = counting(jax.vmap(gradient, in_axes=(None, Theta(None, 0, 0, None, None), 0)))
    far = np.sign(base.x) * 2 * UPPER
    bases = Recourse(np.stack([base.x] * 4), np.array([True, False, False, True]))
    theta = Theta(
        params, np.stack([x, x, x, base.x]), np.stack([hidden["ideal"], hidden["ideal"], base.x, far]), 1.3, 0.0
    )
    hp = QUICK[Hare]["sampling"]
    value, grad = gradients(hp, theta, bases)
    gradients(replace(hp, radius=0.9), theta._replace(params=jax.tree.map(lambda leaf: 1.1 * leaf, params)), bases)
    assert len(traces) == 1
    assert np.isfinite(value).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grad))
    assert np.any(grad.params["first"][0] != 0)
    assert value[2] == 0
    np.testing.assert_array_equal(grad.params["first"][1:3], 0)


@pytest.mark.slow
def test_an_elicitor_without_questions_has_an_exact_derivative():
    case = Case("random", 4, 2, "ideal")
    params, x, hidden, base = problem()
    theta = Theta(params, x, hidden["ideal"], 1.3, 0.05)
    terms = jit(jax.jacfwd(lambda x: drawn(case, bound(case), theta._replace(x=x), base).terms))(x)
    assert np.all(terms == terms[:1])
    assert np.any(terms[0] != 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_draws": 1}, "num_draws: must be at least 2"),
        ({"kind": "nobody"}, "person: must be one of"),
        ({"x": np.zeros(2)}, "x: must have shape"),
        ({"lapse": 0.7}, "lapse: must be from 0 to 0.5"),
    ],
)
def test_wrong_arguments_are_errors(wrong, message):
    params, x, hidden, base = problem()
    case = Case("multi", 4, 2, wrong.get("kind", "ideal"))
    theta = Theta(params, wrong.get("x", x), hidden["ideal"], 1.0, wrong.get("lapse", 0.0))
    elicitor = bound(case)
    with pytest.raises(ValueError, match=message):
        expected.over_answers(elicitor, *arguments(case, theta), base, space(), num_draws=wrong.get("num_draws", 2))


def test_wrong_answers_are_errors():
    params, x, hidden, base = problem()
    case = Case("multi", 4, 2, "ideal")
    theta = Theta(params, x, hidden["ideal"], 1.0, 0.0)
    with pytest.raises(ValueError, match="answers: must have shape"):
        expected.of_answers(bound(case), *arguments(case, theta), base, space(), np.zeros((2, 3), int))
