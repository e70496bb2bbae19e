import copy
import pickle
from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import numpy as np
import pytest
from flax import linen, nnx
from jax.tree_util import Partial
from spaces import array, counting, jit, split

from hare_jax import models
from hare_jax.base import as_partial
from hare_jax.elicit import Hare, hare, run
from hare_jax.elicit.candidates import Sampling
from hare_jax.evaluate import metrics
from hare_jax.models import Training, network
from hare_jax.people import prefers_nearer
from hare_jax.recourse import bind
from hare_jax.recourse.descent import Descent
from hare_jax.space import action_space

NUM_ROWS, NUM_COLUMNS = 600, 4
TRAINING = Training(hidden=(6,), batch_size=64, min_steps=200)

fit = jit(models.fit)
fit_seeds = jit(jax.vmap(models.fit, in_axes=(None, 0, None, None)))


@pytest.fixture(scope="module")
def separable():
    """Rows with a gap of 0.2 on either side of a plane."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4 * NUM_ROWS, NUM_COLUMNS))
    distance = x @ np.array([1.0, -1.0, 0.5, 0.0]) / 1.5 + 0.05
    chosen = np.flatnonzero(np.abs(distance) > 0.2)[:NUM_ROWS]
    return array(x[chosen]), array((distance[chosen] > 0).astype(int))


@pytest.fixture(scope="module")
def fitted(separable):
    return jax.device_get(fit_seeds(TRAINING, split(0, 3), *separable))


def test_a_smaller_weight_of_class_1_lowers_the_logits(separable, fitted):
    fewer = fit_seeds(replace(TRAINING, positive_weight=0.01), split(0, 3), *separable)
    mean = jit(jax.vmap(lambda params: jax.vmap(partial(models.logit, params))(separable[0]).mean()))
    assert np.all(mean(fewer) < mean(fitted) - 0.5)


def test_init_is_uniform_within_the_root_of_the_fan_in():
    params = jax.device_get(jit(partial(models.init, num_columns=50, hidden=(40, 30)))(jax.random.key(1)))
    fan_ins = (50, 40, 30)
    layers = models.to_layers(params)
    assert [layer.weight.shape for layer in layers] == [(40, 50), (30, 40), (1, 30)]
    assert [layer.bias.shape for layer in layers] == [(40,), (30,), (1,)]
    for layer, fan_in in zip(layers, fan_ins, strict=True):
        scaled = np.concatenate([layer.weight.ravel(), layer.bias]) * np.sqrt(fan_in)
        assert np.all(np.abs(scaled) <= 1)
        assert abs(scaled.mean()) < 4 / np.sqrt(3 * scaled.size)
        assert abs(scaled.std() - 3**-0.5) < 2 / np.sqrt(scaled.size)
    assert not np.isin(layers[0].bias, layers[0].weight).any()  # keys are used once


def test_logit_in_closed_form():
    rng = np.random.default_rng(2)
    shapes = [(3, 5), (2, 3), (1, 2)]
    layers = [models.Layer(array(rng.normal(size=shape)), array(rng.normal(size=shape[0]))) for shape in shapes]
    params = models.from_layers(layers)
    x = array(rng.normal(size=5))
    hidden = np.maximum(layers[0].weight @ x + layers[0].bias, 0)
    hidden = np.maximum(layers[1].weight @ hidden + layers[1].bias, 0)
    expected = layers[2].weight @ hidden + layers[2].bias
    assert models.logit(params, x).shape == ()
    np.testing.assert_allclose(models.logit(params, x), expected[0], rtol=1e-5, atol=1e-6)
    linear = models.from_layers([(array([[1.0, -2.0]]), array([0.5]))])
    np.testing.assert_allclose(models.classifier(linear)(array([3.0, 1.0])), 1.5)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "layers: must hold at least one layer"),
        ([([1.0, 2.0], [0.0])], r"layers\[0\]: must have a weight of shape \(..., out, in\); got \(2,\)"),
        ([([[1.0, 2.0]], [0.0, 1.0])], r"layers\[0\]: must have a bias of shape \(1,\); got \(2,\)"),
        ([([[1.0]], [0.0]), ([[1.0, 2.0]], [0.0])], r"layers\[1\]: must take 1 inputs; got \(1, 2\)"),
    ],
)
def test_layers_that_do_not_fit_are_an_error(layers, message):
    with pytest.raises(ValueError, match=message):
        models.from_layers(layers)


def test_a_classifier_has_one_output():
    with pytest.raises(ValueError, match=r"params: must have one output, the logit; got \(2,\)"):
        models.classifier(models.from_layers([(np.ones((2, 3)), np.zeros(2))]))


def test_a_row_of_another_width_is_an_error():
    with pytest.raises(ValueError, match=r"x: must have shape \(3,\); got \(2,\)"):
        models.logit(models.from_layers([(np.ones((1, 3)), np.zeros(1))]), np.ones(2))


def plane(slope):
    return models.classifier(models.from_layers([(array([[slope, 0.0]]), array([0.5]))]))


def double(logit_fn, _):
    return jax.tree.map(lambda leaf: 2 * leaf, logit_fn), None


def test_a_classifier_is_a_pytree_everywhere():
    batch, x = jax.tree.map(lambda *leaves: np.stack(leaves), plane(1.0), plane(2.0)), array([3.0, 1.0])
    assert as_partial(batch) is batch
    np.testing.assert_allclose(jit(jax.vmap(lambda logit_fn: logit_fn(x)))(batch), [3.5, 6.5])
    slope = jit(jax.grad(lambda logit_fn: logit_fn(x)))(plane(1.0))
    assert isinstance(slope, models.Classifier)
    np.testing.assert_allclose(models.to_layers(slope.args[0])[0].weight, [[3.0, 1.0]])
    scaled, _ = jit(lambda logit_fn: jax.lax.scan(double, logit_fn, length=3))(plane(1.0))
    np.testing.assert_allclose(scaled(x), 8 * 3.5)
    for copied in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)):
        assert jax.tree.structure(copied) == jax.tree.structure(batch)
        np.testing.assert_array_equal(jax.tree.leaves(copied)[0], jax.tree.leaves(batch)[0])


def test_new_weights_and_an_equal_network_never_recompile():
    counted, traces = counting(lambda logit_fn, x: logit_fn(x))
    logits = [float(counted(plane(slope), array([3.0, 1.0]))) for slope in (1.0, 2.0)]
    assert logits == [3.5, 6.5]
    assert len(traces) == 1


def test_a_classifier_prints_its_widths(fitted):
    assert repr(plane(1.0)) == "Classifier(2-1)"
    assert repr(models.classifier(fitted)) == "Classifier(4-6-1)"  # a batch of them
    axes = jax.tree.map(lambda _: 0, models.classifier(fitted))
    assert "logit" in repr(axes)


def test_fit_learns_a_separable_problem(separable, fitted):
    for seed in range(3):
        logit_fn = models.classifier(jax.tree.map(lambda leaf, seed=seed: leaf[seed], fitted))
        assert jit(models.accuracy)(logit_fn, *separable) > 0.98
        assert jit(models.balanced_accuracy)(logit_fn, *separable) > 0.98


def test_a_batch_of_seeds_is_the_single_fits(separable, fitted):
    single = fit(TRAINING, split(0, 3)[1], *separable)
    for ours, batched in zip(jax.tree.leaves(single), jax.tree.leaves(fitted), strict=True):
        np.testing.assert_allclose(ours, batched[1], rtol=1e-3, atol=1e-4)
    weight = models.to_layers(fitted)[0].weight
    assert not np.allclose(weight[0], weight[1])


def test_accuracies_by_hand():
    logit_fn = Partial(models.logit, models.from_layers([(array([[1.0]]), array([0.0]))]))
    x, y = array([[1.0], [0.0], [-1.0], [-2.0], [3.0]]), array([1, 1, 1, 0, 0])
    np.testing.assert_allclose(jit(models.accuracy)(logit_fn, x, y), 3 / 5)
    np.testing.assert_allclose(jit(models.balanced_accuracy)(logit_fn, x, y), (2 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros(3), [0, 1, 0], r"x: must have shape \(n, d\) with .*; got \(3,\)"),
        (np.zeros((3, 2)), [0, 1], r"y: must have shape \(3,\), as x has rows; got \(2,\)"),
        (np.zeros((3, 2)), [[0], [1], [0]], r"y: must have shape \(3,\), as x has rows; got \(3, 1\)"),
        ([[0, np.nan], [1, 1]], [0, 1], r"x: must be finite; got '1 values that are not'"),
        ([[0, np.inf], [1, -np.inf]], [0, 1], r"x: must be finite; got '2 values that are not'"),
        (np.zeros((0, 2)), [], r"x: must have shape \(n, d\) with n > 0 and d > 0; got \(0, 2\)"),
        (np.zeros((3, 2)), [1, 1, 1], r"y: must hold both 0 and 1 and nothing else; got \[1\]"),
        (np.zeros((3, 2)), [0, 1, 2], r"y: must hold both 0 and 1 and nothing else; got \[0, 1, 2\]"),
        (np.zeros((2, 2)), [0, np.nan], r"y: must hold both 0 and 1 and nothing else; got \[0.0, nan\]"),
    ],
)
def test_check_labelled(x, y, message):
    models.check_labelled(np.zeros((2, 1)), np.array([0, 1]))
    with pytest.raises(ValueError, match=message):
        models.fit(models.Training(), jax.random.key(0), np.asarray(x), np.asarray(y))


# Other libraries' models: a Partial of a module-level function, so that new weights are new leaves and nothing else.

LINEN = linen.Sequential([linen.Dense(6), linen.relu, linen.Dense(1)])


def linen_logit(params, x):
    return LINEN.apply(params, x)[0]


def nnx_logit(graphdef, state, x):
    """The graph definition has no leaves: it is compared, not traced."""
    return nnx.merge(graphdef, state)(x)[0]


class EquinoxModel(eqx.Module):
    hidden: eqx.nn.Linear
    last: eqx.nn.Linear

    def __init__(self, key):
        key_hidden, key_last = jax.random.split(key)
        self.hidden, self.last = eqx.nn.Linear(NUM_COLUMNS, 6, key=key_hidden), eqx.nn.Linear(6, 1, key=key_last)

    def __call__(self, x):
        return self.last(jax.nn.relu(self.hidden(x)))


def equinox_logit(module, x):
    """The module is a pytree itself, of arrays alone."""
    return module(x)[0]


def drawn(seed, shapes):
    """Weights in a tree of shapes: eager initialisers would compile one program a layer."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: array(rng.normal(size=leaf.shape)), shapes)


def linen_classifier(seed):
    shapes = jax.eval_shape(LINEN.init, jax.random.key(0), np.zeros(NUM_COLUMNS))
    return Partial(linen_logit, drawn(seed, shapes))


def nnx_classifier(seed):
    def build():
        rngs = nnx.Rngs(0)
        return nnx.Sequential(nnx.Linear(NUM_COLUMNS, 6, rngs=rngs), nnx.relu, nnx.Linear(6, 1, rngs=rngs))

    graphdef, shapes = nnx.split(nnx.eval_shape(build))
    return Partial(nnx_logit, graphdef, drawn(seed, shapes))


def equinox_classifier(seed):
    return Partial(equinox_logit, drawn(seed, jax.eval_shape(EquinoxModel, jax.random.key(0))))


ask = jit(lambda logit_fn, x: logit_fn(x))


def recourse_and_session(key, logit_fn, x, ideal, space):
    """Wachter's recourse, and HARE's after a round of three questions."""
    key_method, key_session = jax.random.split(key)
    found = bind("wachter", key_method, logit_fn, x[None, :], space, descent=Descent(num_steps=50))(
        key_method, logit_fn, x, space
    )
    elicitor = hare.elicitor(Hare(sampling=Sampling(num_directions=3, num_steps=5)))
    prefers = Partial(prefers_nearer, ideal)
    best, _ = run(elicitor, prefers, key_session, logit_fn, x, found, space, num_proposals=1)
    return found, best


@pytest.mark.parametrize("classifier", [linen_classifier, nnx_classifier, equinox_classifier])
def test_classifiers_of_other_libraries(classifier):
    space = action_space([True] * NUM_COLUMNS, [-1] * NUM_COLUMNS, [1] * NUM_COLUMNS)
    solve, traces = counting(recourse_and_session)
    x, ideal = array([-0.5, 0.2, 0.1, 0.4]), array([0.9, 0.1, -0.8, 0.0])
    keeps = jit(lambda x, x_cf: metrics.feasible(x, x_cf, space).all)
    recourses, num_valid = [], 0
    for seed in range(4):
        logit_fn = classifier(seed)
        found, best = solve(jax.random.key(seed), logit_fn, x, ideal, space)
        assert found.valid == best.valid
        num_valid += int(best.valid)
        for recourse in (found, best):
            assert keeps(x, recourse.x)
            assert bool(ask(logit_fn, recourse.x) >= 0) or not recourse.valid
        first, last = (np.linalg.norm(np.asarray(recourse.x) - ideal) for recourse in (found, best))
        assert last <= first + 1e-4
        recourses.append(np.asarray(best.x).tolist())
    assert len(traces) == 1
    assert num_valid >= 2
    assert recourses[0] != recourses[1]  # the new weights arrive


def test_dtype_is_kept_under_x64():
    with jax.enable_x64(True):
        for dtype in ("float32", "float64"):
            x = jax.ShapeDtypeStruct((NUM_ROWS, NUM_COLUMNS), dtype)
            params = jax.eval_shape(partial(models.init, num_columns=NUM_COLUMNS), jax.random.key(0))
            params = jax.tree.map(lambda leaf, dtype=dtype: jax.ShapeDtypeStruct(leaf.shape, dtype), params)
            assert jax.eval_shape(jax.vmap(models.logit, in_axes=(None, 0)), params, x).dtype == dtype
            y = jax.ShapeDtypeStruct((NUM_ROWS,), int)
            trained = jax.eval_shape(models.fit, TRAINING, jax.random.key(0), x, y)
            assert {leaf.dtype.name for leaf in jax.tree.leaves(trained)} == {dtype}


def test_balanced_weighs_both_classes_the_same():
    y = np.array([0.0] * 100 + [1.0] * 1100)
    for training in (models.Training(hidden=(4,)), replace(models.PAPER, hidden=(4,))):
        fair = models.balanced(y, training)
        np.testing.assert_allclose(1100 * fair.positive_weight, 100)
        assert fair == replace(training, positive_weight=fair.positive_weight, min_steps=fair.min_steps)
        assert fair.min_steps >= 600
    with pytest.raises(ValueError, match=r"y: must hold both 0 and 1; got \[1.0\]"):
        models.balanced(np.ones(3))
    with pytest.raises(ValueError, match=r"training: must be a Training; got \(4,\)"):
        models.balanced(y, (4,))


# Standardisation


@pytest.mark.parametrize("scale", [np.array([1e6, 1e-6, 1e20, 0.0]), np.array([1.0, 100.0, 1e4, 0.0])])
def test_fit_does_not_depend_on_the_units_of_a_column(separable, scale):
    x, y = separable
    moved = array((x + np.array([3, 200, 5, 0])) * scale + np.array([0, 0, 0, 7]))
    params = jax.device_get(fit_seeds(TRAINING, split(0, 3), moved, y))
    assert not models.to_layers(params)[0].weight[:, :, 3].any()  # the constant column
    for seed in range(3):
        logit_fn = models.classifier(jax.tree.map(lambda leaf, seed=seed: leaf[seed], params))
        assert jit(models.accuracy)(logit_fn, moved, y) > 0.98


def test_folding_a_scaling_keeps_the_logits():
    rng = np.random.default_rng(3)
    rows = array(rng.normal(size=(50, NUM_COLUMNS)) * [1, 10, 0.1, 3] + [0, 5, 1, -2])
    scale, params = network.scaling(rows), linen_free(5)
    inside = jit(jax.vmap(network.standardise, in_axes=(None, 0)))(scale, rows)
    np.testing.assert_allclose(inside.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(inside.std(axis=0), 1, rtol=1e-5)
    logits = jit(jax.vmap(models.logit, in_axes=(None, 0)))
    np.testing.assert_allclose(logits(network.fold(scale, params), rows), logits(params, inside), atol=1e-5)


def linen_free(seed):
    """Parameters of a perceptron with one hidden layer."""
    return drawn(seed, network.parameter_shapes(network.Perceptron((6, 1)), NUM_COLUMNS))


def miss(target, key, logit_fn, x):
    """A penalty that the wanted logits `target` minimise."""
    return 100 * (logit_fn(x) - target) ** 2


def test_the_penalty_is_given_the_classifier_of_rows_as_they_are(separable):
    x, y = separable
    wanted = array(2 * x[:, 0] - x[:, 1])
    hp = Training(hidden=(), num_epochs=40, warmup=0.0, weight_decay=0.0)
    params = fit(hp, jax.random.key(0), array(x * 1e3), y, Partial(miss), wanted)
    logits = jit(jax.vmap(models.logit, in_axes=(None, 0)))(params, array(x * 1e3))
    np.testing.assert_allclose(logits, wanted, atol=0.1)


# What fit says of its result


QUICK = Training(hidden=(), num_epochs=1, min_steps=20)


@pytest.mark.parametrize(("weight", "found"), [(1e4, "8 of 8"), (1e-4, "0 of 8")])
def test_a_classifier_that_accepts_all_rows_or_none_is_a_warning(weight, found):
    x, y = np.tile(np.eye(2), (4, 1)) + np.arange(8)[:, None] / 100, np.arange(8) // 6
    hp = replace(QUICK, positive_weight=weight, learning_rate=0.3)
    with pytest.warns(UserWarning, match=rf"accepts {found} training rows, of which 2 are of class 1: try balanced"):
        models.fit(hp, jax.random.key(0), x, y)


def test_rows_that_are_not_finite_are_found_after_jit():
    x = array([[0.0, 1.0], [np.inf, 0.0], [1.0, 1.0], [2.0, 0.0]])
    for hp in (QUICK, replace(models.PAPER, hidden=())):
        with pytest.raises(ValueError, match="params: must be finite, as training on finite rows makes them; got"):
            models.classifier(fit(hp, jax.random.key(0), x, array([0, 1, 0, 1])))


def test_an_unknown_optimiser_is_an_error(separable):
    with pytest.raises(ValueError, match="optimiser: must be one of adamw, rmsprop; got 'sgd'"):
        models.fit(Training(optimiser="sgd"), jax.random.key(0), *separable)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_fit_is_as_good_as_scikit_learns_perceptron(name):
    datasets = pytest.importorskip("sklearn.datasets")
    neural = pytest.importorskip("sklearn.neural_network")
    source = getattr(datasets, f"load_{name}")()
    x, y = array(source.data.astype("float32")), array((source.target == (name != "wine")).astype("float32"))
    in_test = np.random.default_rng(0).permutation(len(x)) < len(x) // 4
    theirs = neural.MLPClassifier((10, 5, 10), max_iter=2000, random_state=0).fit(x[~in_test], y[~in_test])
    params = models.fit(Training(), jax.random.key(0), x[~in_test], y[~in_test])
    ours = models.accuracy(models.classifier(params), x[in_test], y[in_test])
    assert ours > max(0.93, theirs.score(x[in_test], y[in_test]) - 0.02)
