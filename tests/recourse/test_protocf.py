import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import column, full_space, jit, one_unit, random_classifiers, random_rows, row, split

from hare_jax import models
from hare_jax.recourse import METHODS
from hare_jax.recourse.protocf import ProtoCF, fit, prototype

NUM = 48
MATRIX = np.random.default_rng(0).normal(size=(3, 12)).astype("float32")


def encode(matrix, x):
    return jnp.dot(matrix, x, precision="highest")


@pytest.fixture(scope="module")
def rows():
    return random_rows(1, 200, margin=0)


@pytest.fixture(scope="module")
def logit_fn(rows):
    """A perceptron that accepts two rows in five."""
    params = row(random_classifiers(2, 1), 0)
    logits = jax.vmap(models.classifier(params))(rows)
    *hidden, last = models.to_layers(params)
    stricter = last._replace(bias=last.bias - np.quantile(logits, 0.6))
    return models.classifier(models.from_layers([*hidden, stricter]))


@pytest.fixture(scope="module")
def space():
    return full_space()


@pytest.fixture(scope="module")
def solve(rows, logit_fn, space):
    """Factual rows, their prototypes and their recourses, for a fitted ProtoCF."""

    @jit
    def one_program(fitted, keys, rows):
        def one(key, x):
            return prototype(fitted, x), METHODS["protocf"].generate(fitted, key, logit_fn, x, space)

        return jax.vmap(one)(keys, rows)

    def solve(**hyperparameters):
        hp = ProtoCF(encoder=Partial(encode, MATRIX), **hyperparameters)
        fitted = METHODS["protocf"].fit(hp, jax.random.key(4), logit_fn, rows, space)
        return jax.device_get(one_program(fitted, split(3, NUM), rows[:NUM]))

    return solve


def test_the_prototype_is_the_mean_of_the_nearest_accepted_codes(rows, logit_fn, solve):
    codes = rows @ MATRIX.T
    accepted = codes[np.asarray(jax.vmap(logit_fn)(rows)) >= 0]
    assert 10 < len(accepted) < len(rows)
    order = np.argsort(np.linalg.norm(accepted[None] - codes[:NUM, None], axis=2), axis=1)
    expected = accepted[order[:, :10]].mean(axis=1)
    np.testing.assert_allclose(solve()[0], expected, atol=1e-5)


@pytest.mark.parametrize(("offset", "num_accepted"), [(-1.99, 3), (-9, 0), (9, 200)])
def test_few_accepted_rows_none_or_all(rows, space, offset, num_accepted):
    rows = np.array(rows)
    rows[:, 0] = np.where(np.arange(len(rows)) < 3, 1, 0.5 * rows[:, 0])
    logit_fn = models.classifier(one_unit(column(0), 0, 2, offset))
    fitted = fit(ProtoCF(num_rows=50), jax.random.key(0), logit_fn, rows, space)
    assert fitted.codes.shape == (50, 12)
    assert fitted.accepted.sum() == min(num_accepted, 50)
    found = prototype(fitted, rows[10])
    if num_accepted == 3:
        np.testing.assert_allclose(found, rows[:3].mean(axis=0), atol=1e-5)
    elif num_accepted == 0:
        np.testing.assert_array_equal(found, rows[10])
    else:
        assert {tuple(code) for code in np.asarray(fitted.codes)} <= {tuple(each) for each in rows}


def test_a_larger_weight_draws_the_recourse_to_the_prototype(rows, logit_fn, solve):
    """Scaling back to the boundary undoes a part of it, more of it where the weight is large."""
    refused = np.asarray(jax.vmap(logit_fn)(rows[:NUM])) < 0

    def gap(**hyperparameters):
        target, found = solve(**hyperparameters)
        assert found.valid.all()
        return np.linalg.norm(found.x @ MATRIX.T - target, axis=1)[refused].mean()

    ends = [gap(prototype_weight=weight, num_boundary_steps=0) for weight in (0.0, 0.3, 3.0)]
    assert ends[2] < ends[1] < 0.7 * ends[0]
    assert gap(prototype_weight=3.0) < 0.85 * gap(prototype_weight=0.0)
