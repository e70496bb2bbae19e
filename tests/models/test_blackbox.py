from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import array, counting, full_space, jit, random_rows, split

from hare_jax import elicit
from hare_jax.elicit.candidates import Sampling
from hare_jax.evaluate import metrics
from hare_jax.evaluate.sharding import map_users
from hare_jax.models.blackbox import black_box
from hare_jax.people import prefers_nearer
from hare_jax.recourse import METHODS, bind
from hare_jax.solvers.boundary import boundary
from hare_jax.space import action_space

NUM, NUM_ROWS = 12, 400
CHEAP = ("growing_spheres", "nnce")
GRADIENT_FREE = [
    pytest.param(name, marks=() if name in CHEAP else pytest.mark.slow)
    for name, method in METHODS.items()
    if not (method.uses_gradients or method.uses_weights)
]


class Model:
    """Probability 1 / (1 + exp(-slope (x_0 - x_1))), with the shapes that it was asked about."""

    def __init__(self, two_columns=True, slope=2.0):
        self.two_columns, self.slope, self.shapes = two_columns, slope, []

    def predict_proba(self, x):
        assert isinstance(x, np.ndarray)
        self.shapes.append(x.shape)
        p = 1 / (1 + np.exp(-self.slope * (x[:, 0] - x[:, 1])))
        return np.stack([1 - p, p], axis=1) if self.two_columns else p


def draw(num, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num, 3)).astype("float32")


@jit
def all_logits(logit_fn, rows):
    return jax.vmap(logit_fn)(rows)


@pytest.mark.parametrize("two_columns", [True, False])
def test_the_logit_is_that_of_the_probability(two_columns):
    model, rows = Model(two_columns), draw(5)
    logits = all_logits(black_box(model.predict_proba), rows)
    np.testing.assert_allclose(logits, 2 * (rows[:, 0] - rows[:, 1]), atol=1e-5)
    assert logits.dtype == rows.dtype


def test_certainty_stays_finite_and_keeps_its_sign():
    logits = all_logits(black_box(lambda x: (x[:, 0] > 0).astype(int)), array([[-1.0], [1.0]]))
    assert np.isfinite(logits).all()
    assert logits[0] < -10
    assert logits[1] > 10


def test_a_batch_is_one_call():
    model = Model()
    logit_fn = black_box(model.predict_proba)
    assert all_logits(logit_fn, draw(5)).shape == (5,)
    assert model.shapes == [(5, 3)]
    nested = jit(jax.vmap(jax.vmap(logit_fn)))(draw(6).reshape(2, 3, 3))
    assert model.shapes[1:] == [(6, 3)]
    np.testing.assert_allclose(nested.reshape(6), all_logits(logit_fn, draw(6)), atol=1e-6)
    logit_fn(draw(1)[0])
    assert model.shapes[-1] == (1, 3)


def test_the_same_model_never_recompiles_and_may_be_trained_anew():
    counted, traces = counting(lambda logit_fn, rows: jax.vmap(logit_fn)(rows))
    model, rows = Model(), draw(5)
    before = counted(black_box(model.predict_proba), rows)
    model.slope = 3.0
    after = counted(black_box(model.predict_proba), rows)
    assert len(traces) == 1
    np.testing.assert_allclose(after, 1.5 * before, atol=1e-5)
    other = counted(black_box(Model(slope=-2.0).predict_proba), rows)
    np.testing.assert_allclose(other, -before, atol=1e-5)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: np.ones((len(x), 3)) / 3, r"must give \(5, 2\) or \(5,\)"),
        (lambda x: np.array(0.5), r"must give \(5, 2\) or \(5,\)"),
        (lambda x: np.full(len(x), np.nan), "must give probabilities"),
        (lambda x: 2 * np.ones(len(x)), "must give probabilities"),
    ],
)
def test_wrong_answers_are_errors(answer, words):
    with pytest.raises(ValueError, match=f"predict_proba: {words}"):
        black_box(answer, draw(5))
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"predict_proba: {words}"):
        jax.block_until_ready(all_logits(black_box(answer), draw(5)))


def test_what_is_no_function_is_an_error():
    class Unhashable(Model):
        __hash__ = None
        __call__ = Model.predict_proba

    with pytest.raises(ValueError, match="predict_proba: must be a function"):
        black_box(Model())
    with pytest.raises(ValueError, match="predict_proba: must be hashable"):
        black_box(Unhashable())


def test_a_gradient_is_an_error_that_says_what_to_do():
    logit_fn = black_box(Model().predict_proba)
    with pytest.raises(TypeError, match=r"no gradient.*METHODS.*validity_gradient=False"):
        jax.grad(logit_fn)(draw(1)[0])
    wachter = bind("wachter", jax.random.key(0), logit_fn, random_rows(0, 4), full_space())
    with pytest.raises(TypeError, match="METHODS"):
        wachter(jax.random.key(1), logit_fn, random_rows(0, 1)[0], full_space())


def test_the_boundary_needs_no_gradient():
    logit_fn, space = black_box(Model().predict_proba), action_space([True] * 3, [0.0] * 3, [1.0] * 3)
    found = jit(boundary)(logit_fn, array([0.0, 1.0, 0.0]), array([1.0, 0.0, 0.0]), space, margin=0.0)
    assert found.valid
    np.testing.assert_allclose(found.x, [0.5, 0.5, 0], atol=1e-5)


def test_float64_is_kept():
    with jax.enable_x64(True):
        rows = draw(5).astype("float64")
        logits = all_logits(black_box(Model().predict_proba), rows)
        assert logits.dtype == "float64"
        np.testing.assert_allclose(logits, 2 * (rows[:, 0] - rows[:, 1]), rtol=1e-12)
        assert all_logits(black_box(Model().predict_proba), draw(5)).dtype == "float32"


@pytest.mark.skipif("jax.default_backend() != 'cpu' and len(jax.devices()) == 1", reason="needs two devices")
def test_users_on_two_devices():
    model, rows = Model(), draw(7)

    def walk(logit_fn, x):
        """How many steps of 0.1 it takes until accepted: the model is asked within a loop, for some users longer."""
        move = jnp.array([0.1, 0, 0])
        return jax.lax.while_loop(lambda n: logit_fn(x + n * move) < 0, lambda n: n + 1, jnp.zeros((), x.dtype))

    logit_fn = black_box(model.predict_proba)
    for batch_size in (2, None):
        steps = jit(lambda rows, size=batch_size: map_users(partial(walk, logit_fn), rows, batch_size=size))(rows)
        assert steps.sharding.device_set == set(jax.devices())
        np.testing.assert_array_equal(steps, np.maximum(np.ceil((rows[:, 1] - rows[:, 0]) / 0.1), 0))
    assert len(jax.devices()) == 2
    assert {shape[0] for shape in model.shapes} == {2, 4}


@pytest.fixture(scope="module")
def model():
    """Boosted trees on rows of `full_space()`, whose label depends on all kinds of columns."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    rows = random_rows(0, NUM_ROWS, margin=0.0)
    score = rows @ [1.5, -1, 0, 1, 0, 0.5, 0.7, 0, -0.7, 0.3, 0.2, 0]
    noise = np.random.default_rng(1).normal(0, 0.1, NUM_ROWS)
    labels = score + noise > np.quantile(score, 0.6)
    return ensemble.GradientBoostingClassifier(n_estimators=30, random_state=0).fit(rows, labels)


@pytest.fixture(scope="module")
def refused(model):
    rows = random_rows(2, 4 * NUM, margin=0.0)
    return rows[~model.predict(rows)][:NUM]


@pytest.fixture(scope="module")
def solve(model, refused):
    """Recourses (n,) of a method for those whom the model refuses."""

    def solve(name):
        logit_fn, space = black_box(model.predict_proba, refused), full_space()
        generate = bind(name, jax.random.key(0), logit_fn, random_rows(0, NUM_ROWS, margin=0.0), space)
        one = jit(lambda rows: jax.vmap(lambda key, x: generate(key, logit_fn, x, space))(*rows))
        return jax.device_get(one((split(3, NUM), refused)))

    return solve


@pytest.mark.parametrize("name", GRADIENT_FREE)
def test_recourses_that_the_model_itself_accepts(model, refused, solve, name):
    recourse = solve(name)
    assert refused.shape == recourse.x.shape == (NUM, 12)
    assert recourse.valid.mean() > 0.9
    assert model.predict(recourse.x[recourse.valid]).all()
    space = full_space()
    assert jit(jax.vmap(lambda x, x_cf: metrics.feasible(x, x_cf, space).all))(refused, recourse.x).all()


@pytest.mark.slow
def test_a_session_with_hare(model, refused, solve):
    sampling = Sampling(num_directions=4, num_steps=8, validity_gradient=False)
    elicitor, space = elicit.hare.elicitor(elicit.Hare(sampling=sampling)), full_space()
    logit_fn, base = black_box(model.predict_proba), solve("growing_spheres")
    ideal = random_rows(4, NUM, margin=0.0)

    @jit
    def sessions(keys, rows, base, ideal):
        def one(key, x, base, ideal):
            prefers = Partial(prefers_nearer, ideal)
            return elicit.run(elicitor, prefers, key, logit_fn, x, base, space, num_proposals=2)

        return jax.vmap(one)(keys, rows, base, ideal)

    best, trace = jax.device_get(sessions(split(5, NUM), refused, base, ideal))
    assert trace.asked.sum() > NUM
    assert best.valid.tolist() == base.valid.tolist()
    assert model.predict(best.x[best.valid]).all()
    assert model.predict(trace.x[trace.valid]).all()
    distance = np.linalg.norm(np.stack([trace.x[:, 0], best.x]) - ideal, axis=-1)[:, base.valid]
    assert np.all(distance[1] <= distance[0] + 1e-6)
    assert distance[1].mean() < distance[0].mean()
