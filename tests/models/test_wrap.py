"""Models of other libraries as classifiers: the decision is the model's own, and wrong uses are found at once."""

import pickle
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from spaces import counting, jit

from hare_jax import models
from hare_jax.data import from_frame
from hare_jax.evaluate.sharding import map_users
from hare_jax.models.wrapping import decision, rows, wanted
from hare_jax.recourse import bind
from hare_jax.space import project

NUM = 300
CITIES = np.array(["a", "b", "c"])


def draw(num=NUM):
    """Incomes in steps of 5, debts, a rate with a decimal, cities and contracts; the label follows the incomes."""
    rng = np.random.default_rng(0)
    income, debt = rng.integers(0, 21, num) * 5, rng.uniform(0, 3, num)
    frame = pd.DataFrame({"city": CITIES[rng.integers(3, size=num)], "income": income, "debt": debt})
    frame["rate"] = rng.integers(1, 80, num) / 10
    frame["contract"] = np.where(rng.random(num) < 0.5, "fixed", "none")
    frame["loan"] = np.where(income / 100 + rng.normal(0, 0.2, num) > 0.5, "accepted", "refused")
    return frame


@pytest.fixture(scope="module")
def frame():
    return draw()


@pytest.fixture(scope="module")
def table(frame):
    features = {
        "city": {"type": "categorical"},
        "income": {"type": "ordered", "step": 5},
        "debt": {"type": "continuous", "direction": "down"},
        "rate": {"type": "ordered", "step": 0.1},
        "contract": {"type": "categorical"},
    }
    return from_frame(frame, {"target": "loan", "positive": "accepted", "features": features}, test=frame)


@pytest.fixture(scope="module")
def x(table):
    return np.asarray(table.x_train)


class Scorer:
    """An estimator of rows in original units whose scores are those of `score`."""

    classes_ = np.array(["accepted", "refused"])

    def __init__(self, score=None, classes=None):
        self.score = score or (lambda frame: frame["income"].to_numpy() / 100)
        self.classes_ = self.classes_ if classes is None else np.array(classes)
        self.asked = []

    def predict_proba(self, frame):
        self.asked.append(len(frame))
        p = np.asarray(self.score(frame), float)
        return np.stack([p, 1 - p], axis=1)

    def predict(self, frame):
        return self.classes_[self.predict_proba(frame).argmax(axis=1)]


def array_scorer(score, **options):
    """One of encoded rows."""
    model = Scorer(score, **options)
    model.n_features_in_ = 7
    return model


def logits(logit_fn, x):
    return np.asarray(jit(lambda logit_fn, x: jax.vmap(logit_fn)(x))(logit_fn, x))


def test_the_wanted_class_is_asked_for_by_its_name(table, frame, x):
    model = Scorer()
    logit_fn = models.wrap(model, table)
    assert repr(logit_fn) == "Wrapped(Scorer, wanted='accepted')"
    accepted = logits(logit_fn, x) >= 0
    np.testing.assert_array_equal(accepted, model.predict(frame) == "accepted")
    other = logits(models.wrap(model, table, wanted="refused"), x)
    np.testing.assert_array_equal(other >= 0, ~accepted)  # ties too
    assert (frame["income"] == 50).any()
    assert model.asked[-1] == len(x)  # one call


def test_a_threshold_is_the_least_probability(table, x):
    model = Scorer(lambda frame: np.round(frame["income"] / 100, 1))
    found = logits(models.wrap(model, table, threshold=0.8), x)
    p = model.predict_proba(table.decode(x))[:, 0]
    np.testing.assert_array_equal(found >= 0, p >= 0.8)
    assert (p == 0.8).any()
    inner = (p > 0) & (p < 1)
    np.testing.assert_allclose(found[inner], np.log(p[inner] / (1 - p[inner]) / 4), atol=1e-4)


def test_some_classes_of_many(table, x):
    model = array_scorer(lambda x: x[:, 0], classes=["a", "b", "c"])
    model.predict_proba = lambda x: np.stack([x[:, 0], x[:, 1], x[:, 2]], 1) / x[:, :3].sum(1, keepdims=True)
    model.predict = lambda x: model.classes_[model.predict_proba(x).argmax(1)]
    x = x[(x[:, :3] > 0).any(axis=1)]
    found = logits(models.wrap(model, table, wanted={"a", "c"}), x)
    np.testing.assert_array_equal(found >= 0, np.isin(model.predict(rows.round_trip(table.features, x)), ["a", "c"]))
    both = logits(models.wrap(model, table, wanted=["c", "a"], threshold=0.6), x)
    np.testing.assert_array_equal(both >= 0, model.predict_proba(x)[:, [0, 2]].sum(1) >= 0.6)


@pytest.mark.parametrize(
    ("condition", "accepts"),
    [
        (">= 50", lambda v: v >= 50),
        ("> 50", lambda v: v > 50),
        ("<= 50", lambda v: v <= 50),
        ("<5e1", lambda v: v < 50),
        ((20, 50), lambda v: (v >= 20) & (v <= 50)),
    ],
)
def test_a_number_is_wanted_by_a_condition(table, frame, x, condition, accepts):
    class Regressor:
        def predict(self, frame):
            return frame["income"].to_numpy()

    found = logits(models.wrap(Regressor(), table, wanted=condition), x)
    np.testing.assert_array_equal(found >= 0, accepts(frame["income"]))
    assert 1 < np.abs(found).max() < 4  # in standard deviations of the predictions


def test_numeric_classes_by_a_condition():
    inside = wanted.by_class(">= 6", decision.PROBABILITY, [4, 5, 6, 7], 1).decision.inside
    assert inside == (2, 3)


def test_codes_stand_for_the_labels():
    for codes in ([0, 1], [-1, 1], [False, True]):
        for name in (None, "accepted", {"accepted"}):
            found = wanted.by_class(name, decision.PROBABILITY, codes, "accepted")
            assert found.decision.inside == (1,)
            assert found.labelled
    assert not wanted.by_class(0, decision.PROBABILITY, [0, 1], "accepted").labelled
    assert wanted.by_class(None, decision.PROBABILITY, [0, 1], 0).decision.inside == (0,)


def test_decoding_and_encoding_again_is_what_a_model_is_asked_about(table, x):
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.5, (40, 7)).astype("float32")
    moved = jit(jax.vmap(lambda x, noise: project(table.space, x, x + noise)))(x[:40], noise)
    for some in (x, np.asarray(moved), rng.uniform(-0.2, 1.2, (50, 7)).astype("float32")):
        np.testing.assert_array_equal(rows.round_trip(table.features, some), table.encode(table.decode(some)))
    with jax.enable_x64(True):
        some = rng.uniform(-0.2, 1.2, (50, 7))
        np.testing.assert_array_equal(rows.round_trip(table.features, some), table.encode(table.decode(some)))
    seen = []
    model = array_scorer(lambda x: seen.append(x) or x[:, 0])
    models.wrap(model, table, wanted="refused")(rng.uniform(0, 1, 7).astype("float32"))
    np.testing.assert_array_equal(seen[-1], rows.round_trip(table.features, seen[-1]))


def test_the_rows_that_a_model_was_trained_on_are_found(table, x):
    frame_model, encoded_model = Scorer(), array_scorer(lambda x: x[:, 0])
    frame_model.feature_names_in_ = np.array(["debt", "income"])
    frame_model.score = lambda frame: (list(frame) == ["debt", "income"]) * frame["income"] / 100
    named = Scorer(lambda frame: frame["income"])
    named.feature_names_in_ = np.array(table.columns)
    prepared = Scorer(lambda values: values[:, 0] / 100)
    results = [
        logits(models.wrap(frame_model, table), x),
        logits(models.wrap(encoded_model, table), x),
        logits(models.wrap(encoded_model, table, inputs="encoded"), x),
        logits(models.wrap(named, table), x),
        logits(models.wrap(prepared, table, inputs=lambda frame: frame[["income"]].to_numpy()), x),
        logits(models.wrap(lambda frame: frame["income"] / 100, table, inputs="frame"), x),
    ]
    for found in results[1:]:
        np.testing.assert_allclose(found, results[0], atol=1e-5)


def test_of_two_readings_of_a_row_the_one_that_agrees_with_the_labels():
    frame = draw()[["income", "debt", "loan"]]
    features = {"income": {"type": "continuous"}, "debt": {"type": "continuous"}}
    table = from_frame(frame, {"target": "loan", "positive": "accepted", "features": features}, test=frame)
    x = np.asarray(table.x_train)
    raw, encoded = Scorer(lambda x: x[:, 0] > 50), Scorer(lambda x: x[:, 0])
    for model in (raw, encoded):
        model.n_features_in_ = 2
    agree = logits(models.wrap(raw, table), x) >= 0
    np.testing.assert_array_equal(agree, frame["income"] > 50)
    np.testing.assert_array_equal(logits(models.wrap(encoded, table), x) >= 0, frame["income"] >= 50)


class Contradictory(Scorer):
    """Its predictions follow from its decision function alone, unless that is hidden too."""

    def decision_function(self, frame):
        return 70.0 - frame["income"].to_numpy()

    def predict(self, frame):
        return self.classes_[(frame["income"].to_numpy() < 70).astype(int)]


def test_the_decision_is_that_of_predict(table, frame, x):
    model, own = Contradictory(), frame["income"] >= 70
    found = logits(models.wrap(model, table), x)
    np.testing.assert_array_equal(found >= 0, own)
    assert len(np.unique(found)) > 10
    model.decision_function = None
    del Contradictory.decision_function
    with pytest.raises(ValueError, match="rows: TypeError"):
        models.wrap(model, table)
    del model.decision_function
    np.testing.assert_array_equal(logits(models.wrap(model, table), x), np.where(own, 2, -2))


def test_the_same_model_never_recompiles_and_pickles(table, x):
    model = Scorer(classes=["accepted", "refused"])
    model.score = score_of_income
    evaluate, traces = counting(lambda logit_fn, x: jax.vmap(logit_fn)(x))
    first = evaluate(models.wrap(model, table), x)
    evaluate(models.wrap(model, table), x)
    assert len(traces) == 1
    evaluate(models.wrap(model, table, threshold=0.8), x)
    assert len(traces) == 2
    copy = pickle.loads(pickle.dumps(models.wrap(model, table)))
    np.testing.assert_array_equal(evaluate(copy, x), first)
    assert len(pickle.dumps(copy)) < 10_000  # without the table's rows


def score_of_income(frame):
    return frame["income"] / 100


def test_new_weights_of_a_jax_function_never_recompile(table, x):
    evaluate, traces = counting(lambda logit_fn, x: jax.vmap(logit_fn)(x))
    for slope in (1.0, 2.0):
        logit_fn = models.wrap(scaled_income, table, {"slope": jnp.array(slope)})
        np.testing.assert_allclose(evaluate(logit_fn, x), slope * (x[:, 0] - 0.5), atol=1e-6)
    assert len(traces) == 1
    gradient = jax.grad(lambda logit_fn: logit_fn(x[0]))(logit_fn)
    np.testing.assert_allclose(jax.tree.leaves(gradient), [x[0, 0] - 0.5], atol=1e-6)
    pickle.loads(pickle.dumps(logit_fn))


def scaled_income(params, x):
    return params["slope"] * (x[0] - 0.5)


def test_outputs_and_classes_of_a_function(table, x):
    centred = 4 * x[:, 0] - 2
    ways = [
        ({}, lambda x: 4 * x[0] - 2),
        ({}, lambda x: 4 * x[:, 0] - 2),  # of rows, not of a row
        ({}, lambda x: jnp.stack([1 - 2 * x[0], 2 * x[0] - 1])),
        ({"outputs": "probability"}, lambda x: jax.nn.sigmoid(4 * x[0] - 2)),
        ({"classes": ("accepted", "refused")}, lambda x: 2 - 4 * x[0]),
        ({"classes": "abc", "wanted": ("a", "b"), "threshold": 0.5}, lambda x: jnp.stack([4 * x[0] - 2, x[0] - 99, 0])),
        ({"outputs": "value", "wanted": "> 50"}, lambda x: 100 * x[0]),
    ]
    for options, fn in ways:
        found = logits(models.wrap(fn, table, **options), x)
        assert found.shape == (NUM,)
        np.testing.assert_allclose(found / found.std(), centred / centred.std(), atol=1e-2)


class KerasLike:
    """A model with the interface of Keras on JAX, which takes batches only."""

    def __init__(self):
        self.trainable_variables = [SimpleNamespace(value=jnp.array([4.0])), SimpleNamespace(value=jnp.array(-2.0))]
        self.non_trainable_variables = []

    def stateless_call(self, trainable, other, rows):
        weight, bias = trainable
        return rows[:, :1] * weight[None, :] + bias, other

    def __call__(self, rows):
        raise NotImplementedError

    predict = __call__


def test_a_keras_model_is_a_jax_function(table, x):
    logit_fn = models.wrap(KerasLike(), table)
    np.testing.assert_allclose(logits(logit_fn, x), 4 * x[:, 0] - 2, atol=1e-6)


def test_no_gradient_is_an_error_that_says_so(table, x):
    logit_fn = models.wrap(Scorer(), table)
    wachter = bind("wachter", jax.random.key(0), logit_fn, table.x_train, table.space)
    with pytest.raises(TypeError, match="METHODS"):
        wachter(jax.random.key(1), logit_fn, x[0], table.space)


def test_an_exception_of_the_model_is_quoted_in_one_line(table, x):
    model = Scorer()
    logit_fn = models.wrap(model, table)
    model.score = lambda frame: frame["age"]
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.block_until_ready(jax.vmap(logit_fn)(x))
    assert models.reason(caught.value) == "Scorer, wanted='accepted': KeyError: 'age'"


@pytest.fixture(scope="module")
def torch_model():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(7, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    with torch.no_grad():
        model[0].weight[0] = torch.tensor([4.0, 0, 0, 0, 0, 0, 0])
        model[0].bias[0], model[2].weight[0, 0], model[2].bias[0] = -2.0, -5.0, 0.0
    return model


@pytest.mark.slow
def test_a_torch_module_has_the_gradients_of_autograd(torch_model, table, x):
    torch = pytest.importorskip("torch")
    logit_fn = models.wrap(torch_model, table, classes=("accepted", "refused"))
    inputs = torch.tensor(x, requires_grad=True)
    outputs = -torch_model(inputs)[:, 0]
    outputs.sum().backward()
    np.testing.assert_allclose(logits(logit_fn, x), outputs.detach(), atol=1e-6)
    np.testing.assert_allclose(jit(jax.vmap(jax.grad(logit_fn)))(x), inputs.grad, atol=1e-6)
    forward = jit(jax.vmap(lambda x: jax.jvp(logit_fn, (x,), (jnp.ones_like(x),))[1]))(x)
    np.testing.assert_allclose(forward, inputs.grad.sum(axis=1), atol=1e-5)
    assert next(torch_model.parameters()).grad is not None  # by this test; the wrapped model leaves it alone
    with pytest.raises(TypeError, match="first derivative only"):
        jax.hessian(logit_fn)(x[0])
    pickle.loads(pickle.dumps(logit_fn))


@pytest.mark.slow
def test_a_torch_module_on_two_devices_in_one_call_each(torch_model, table, x):
    logit_fn = models.wrap(torch_model, table, classes=("accepted", "refused"))
    seen = []
    torch_model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    step = jit(lambda x: map_users(lambda x: x + 0.1 * jax.grad(logit_fn)(x), x))
    once = jax.block_until_ready(step(x))
    assert len(once.sharding.device_set) == 2
    assert set(seen) == {(100, 7), (50, 7)}  # two batches a device
    np.testing.assert_allclose(once, x + 0.1 * jax.vmap(jax.grad(logit_fn))(x), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sigmoid", {"outputs": "probability", "threshold": 0.7}),
        ("softmax", {"outputs": "probability", "wanted": {0, 2}}),
        ("identity", {"wanted": {0, 2}}),
        ("identity", {"wanted": {0, 2}, "threshold": 0.7}),
        ("value", {"outputs": "value", "wanted": (0.1, 1.0)}),
    ],
)
def test_every_decision_is_the_same_in_torch_and_in_jax(table, x, name, options):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    num = 1 if name in ("sigmoid", "value") else 3
    weight = np.random.default_rng(0).normal(0, 3, (num, 7)).astype("float32")
    weight[:, 0], bias = np.abs(weight[:, 0]), -weight.mean(1)
    linear = torch.nn.Linear(7, num)
    linear.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    last = {"sigmoid": torch.nn.Sigmoid(), "softmax": torch.nn.Softmax(-1)}.get(name, torch.nn.Identity())
    end = {"sigmoid": jax.nn.sigmoid, "softmax": jax.nn.softmax}.get(name, lambda outputs: outputs)
    both = torch.nn.Sequential(linear, last), lambda x: end(jnp.asarray(weight) @ x + bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are not trained
        host, traced = (models.wrap(model, table, **options) for model in both)
    values, slopes = zip(*(jit(jax.vmap(jax.value_and_grad(fn)))(x[:50]) for fn in (host, traced)), strict=True)
    np.testing.assert_allclose(*values, atol=1e-4)
    np.testing.assert_allclose(*slopes, atol=1e-3)


@pytest.mark.slow
def test_off_the_cpu_rows_are_copied(torch_model, table, x, monkeypatch):
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda x, cpu, default: default(x))
    logit_fn = models.wrap(torch_model, table, classes=("accepted", "refused"))
    with jax.default_device(jax.devices()[0]):
        values, slopes = jax.vmap(jax.value_and_grad(logit_fn))(x[:5])
    monkeypatch.undo()
    expected = jax.vmap(jax.value_and_grad(logit_fn))(x[:5])
    np.testing.assert_allclose(values, expected[0], atol=1e-6)
    np.testing.assert_allclose(slopes, expected[1], atol=1e-6)


@pytest.mark.slow
def test_a_random_torch_module_is_an_error(table):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model = torch.nn.Sequential(torch.nn.Linear(7, 4), torch.nn.Dropout(), torch.nn.Linear(4, 1))
    with pytest.raises(ValueError, match=r"model: must be in evaluation mode: call model.eval\(\); got \['1'\]"):
        models.wrap(model, table)


WRONG = {
    "an unknown class": (
        Scorer,
        {"wanted": "granted"},
        r"wanted: must be one of the classes \['accepted', 'refused'\]",
    ),
    "all classes": (Scorer, {"wanted": {"accepted", "refused"}}, "wanted: must be some of the classes .* not all"),
    "no class": (Scorer, {"wanted": ()}, "wanted: must be some of the classes"),
    "a threshold above 1": (Scorer, {"threshold": 80}, "threshold: must lie between 0 and 1.*got 80"),
    "unknown inputs": (Scorer, {"inputs": "rows"}, "inputs: must be 'frame', 'encoded' or a function"),
    "unknown outputs": (Scorer, {"outputs": "odds"}, "outputs: must be one of probability, logit, value"),
    "the inverted labels": (
        lambda: Scorer(classes=["refused", "accepted"]),
        {},
        "Scorer decides against the table's labels as 'accepted'.*accepts .* of the favourable",
    ),
    "other columns": (
        lambda: setattr(model := Scorer(), "feature_names_in_", ["age"]) or model,
        {},
        r"model: was trained on columns that are no features of the table; got \['age'\]",
    ),
    "an exception": (lambda: Scorer(lambda frame: frame["age"]), {}, "frame rows: KeyError: 'age'"),
    "NaN": (lambda: Scorer(lambda frame: np.full(len(frame), np.nan)), {}, "model: must give finite outputs"),
    "no probabilities": (lambda: Scorer(lambda frame: frame["income"]), {}, "model: must give probabilities"),
    "randomness": (
        lambda: Scorer(lambda frame: np.random.default_rng().uniform(0, 1, len(frame))),
        {"outputs": "probability"},
        "model: must give the same answer for a row each time",
    ),
    "probabilities as logits": (lambda: lambda x: jax.nn.sigmoid(x[0]), {}, 'declare outputs="probability"'),
    "two probabilities as logits": (lambda: lambda x: jax.nn.softmax(x[:2]), {}, 'declare outputs="probability"'),
    "logits as probabilities": (lambda: lambda x: 9 * x[0], {"outputs": "probability"}, 'outputs="logit"'),
    "too few names": (lambda: lambda x: x[:3], {"classes": ("no", "yes")}, "classes: must name the 3 classes"),
    "no names": (lambda: lambda x: 2 * x[:3], {}, r"wanted: must name one of the classes \[0, 1, 2\]; got None"),
    "other names": (Scorer, {"classes": ("no", "yes")}, "classes: must be the model's own"),
    "a host function": (lambda: lambda x: np.asarray(x)[0], {}, "model: must be a JAX function of a row"),
    "no model": (lambda: 3, {}, "model: must be an estimator, a module or a function; got 'int'"),
    "no condition": (lambda: lambda x: x[0], {"outputs": "value"}, "wanted: must be a condition such as '>= 6'"),
    "a crossed range": (lambda: lambda x: x[0], {"outputs": "value", "wanted": (6, 4)}, "low below high"),
    "a threshold of a number": (lambda: lambda x: x[0], {"wanted": "> 3", "threshold": 0.5}, "threshold: must be None"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_uses_are_errors(table, name):
    make, options, words = WRONG[name]
    with pytest.raises(ValueError, match=words) as caught:
        models.wrap(make(), table, **options)
    assert "\n" not in str(caught.value)


def test_a_model_that_decides_nothing_is_a_warning(table):
    with pytest.warns(UserWarning, match=r"Scorer accepts none of 300 training rows as 'accepted' with threshold=0.9"):
        models.wrap(Scorer(lambda frame: frame["income"] / 200), table, threshold=0.9)
    with pytest.warns(UserWarning, match=r"<lambda> accepts all 300 training rows as 1: its logits lie between 1 and"):
        models.wrap(lambda x: 1 + 2 * x[0], table)
    noise = array_scorer(lambda x: np.sin(1e4 * x[:, 2]) / 2 + 0.5)
    noise.score = lambda x: 0.5 + 0.4 * np.where(x[:, 0] > 0.95, -1, np.sign(x[:, 1] - 2))
    noise.score = lambda x: np.where(x[:, 0] > 0.97, 0.1, np.where(x[:, 0] > 0.9, 0.9, 0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.wrap(noise, table)
    noise.score = lambda x: np.where(x[:, 0] < 0.1, 0.9, 0.1)
    with pytest.raises(ValueError, match="against the table's labels"):
        models.wrap(noise, table)
