import re

import jax
import numpy as np
import pytest
from spaces import array, counting, jit, split

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.evaluate import metrics, robustness
from hare_jax.models import Training
from hare_jax.recourse import bind
from hare_jax.space import action_space

TRAINING = Training(hidden=(4,), batch_size=32, min_steps=600, weight_decay=0.01)


def plane(slope, bias):
    return models.classifier(models.from_layers([(array([slope]), array([bias]))]))


@pytest.fixture(scope="module")
def rows():
    x = array(np.random.default_rng(0).normal(size=(200, 2)))
    return x, array((x[:, 0] + 0.3 * x[:, 1] > 0.2).astype(int))


def test_the_logit_is_the_least_and_its_gradient_that_of_its_member():
    both = models.ensemble(plane([2.0, 0.0], 1.0), plane([0.0, -1.0], 0.5), lambda x: x[0] + 5)
    x = array([1.0, 3.0])
    np.testing.assert_allclose(models.member_logits(both, x), [3.0, -2.5, 6.0])
    value, slope = jit(jax.value_and_grad(lambda x: both(x)))(x)
    assert value == -2.5
    np.testing.assert_allclose(slope, [0.0, -1.0])
    assert re.match(r"Ensemble\(2 x Classifier\(2-1\), (jax\.tree_util\.)?Partial\(", repr(both))


def test_new_weights_never_recompile_and_members_are_stacked():
    counted, traces = counting(lambda logit_fn, x: logit_fn(x))
    for bias in (0.0, 1.0):
        pair = models.ensemble(plane([1.0, 0.0], bias), plane([1.0, 0.0], bias + 1))
        assert counted(pair, array([0.5, 0.0])) == 0.5 + bias
    assert len(traces) == 1


def test_a_recourse_for_an_ensemble_is_accepted_by_every_member(rows):
    space = action_space([True, True], [-5, -5], [5, 5])
    members = models.ensemble(plane([1.0, 0.2], -1.0), plane([0.6, 0.8], -1.0), plane([0.3, 1.0], -0.5))
    generate = bind("growing_spheres", jax.random.key(0), members, rows[0], space)
    x = array([[-1.0, -1.0], [0.0, 0.0], [-2.0, 0.5]])
    found = jit(jax.vmap(lambda key, x: generate(key, members, x, space)))(split(1, 3), x)
    assert found.valid.all()
    assert np.all(jit(jax.vmap(lambda x_cf: models.member_logits(members, x_cf)))(found.x) >= 0)
    assert np.all(jit(jax.vmap(lambda x_cf: metrics.robustness(members, x_cf)))(found.x) == 1)


@pytest.mark.parametrize("change", models.CHANGES)
def test_many_fits_differ_and_classify(rows, change):
    stack = models.fit_many(TRAINING, jax.random.key(3), *rows, num=3, change=change)
    weights = models.to_layers(stack)[0].weight
    assert weights.shape == (3, 4, 2)
    assert not np.allclose(weights[0], weights[1])
    each = jit(jax.vmap(lambda params: models.accuracy(models.classifier(params), *rows)))(stack)
    assert np.all(each > 0.85)


def test_constant_classifiers_are_replaced_or_warned_of(rows):
    never = Training(hidden=(), min_steps=300, positive_weight=1e-6, weight_decay=0.0)
    with pytest.warns(UserWarning, match=r"fit_many: \d of 2 classifiers accept every training row, or none"):
        models.fit_many(never, jax.random.key(0), *rows, num=2, num_spare=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num": 0}, "num: must be at least 1; got 0"),
        ({"num": 2, "change": "none"}, "change: must be one of seeds, bootstrap, shift; got 'none'"),
        ({"num": 2, "tilt": -1.0}, "tilt: must be at least 0; got -1.0"),
    ],
)
def test_wrong_arguments_of_many_fits(rows, wrong, message):
    with pytest.raises(ValueError, match=message):
        models.fit_many(TRAINING, jax.random.key(0), *rows, **wrong)


def test_an_ensemble_needs_classifiers():
    with pytest.raises(ValueError, match="members: must hold at least one classifier"):
        models.ensemble()
    with pytest.raises(ValueError, match=r"members\[0\]: must be a function of one row; got 3"):
        models.ensemble(3)


def test_the_share_is_over_the_valid_recourses():
    members = models.ensemble(*(plane([1.0, 0.0], -bias) for bias in (1.0, 2.0, 3.0, 4.0)))
    x = array([[1.5, 0.0], [4.5, 0.0], [9.0, 0.0], [2.5, 0.0]])
    found = Recourse(x, np.array([True, True, False, True]))
    share = jit(robustness.summarise)(jax.random.key(0), members, found)
    np.testing.assert_allclose(share.mean, (1 / 4 + 1 + 2 / 4) / 3, rtol=1e-6)
    assert share.n == 3
    assert share.low < share.mean < share.high
    none = jit(robustness.summarise)(jax.random.key(0), members, found, np.zeros(4, bool))
    assert none.n == 0
    assert np.isnan([none.mean, none.low, none.high]).all()
