"""What every recourse method promises, checked for each row of `METHODS`."""

from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from methods import fit, fit_all, generate, marked, quick
from spaces import (
    CHANGEABLE,
    WIDTH,
    Problems,
    array,
    column,
    concatenate,
    counting,
    full_space,
    jit,
    jit_fast,
    one_unit,
    random_problems,
    random_rows,
    row,
    split,
    stack,
    widen,
)

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.evaluate import metrics
from hare_jax.recourse import METHODS, bind
from hare_jax.space import allows, project

NUM_RANDOM, NUM_FEW, NUM_DEAD, NUM_WISHES = 140, 8, 32, 200


class Case(NamedTuple):
    """A method's answers to all problems, and where each kind of problem lies among them."""

    name: str
    problems: Problems
    fitted: Any  # leaves (n, ...)
    recourse: Recourse
    kinds: dict[str, slice]

    def of(self, kind: str) -> tuple[Problems, Recourse]:
        return row((self.problems, self.recourse), self.kinds[kind])


def scaled_floats(name):
    """Those hyperparameters, other than `quick`'s, that are floats or hold any, with each float times 0.9."""

    def scaled(leaf):
        return 0.9 * leaf if isinstance(leaf, float) else leaf

    defaults = METHODS[name].hyperparams()
    values = {field.name: getattr(defaults, field.name) for field in fields(defaults)} | quick(name)
    floats = {key: jax.tree.map(scaled, value) for key, value in values.items() if holds_float(value)}
    return {key: value for key, value in floats.items() if key != "autoencoder"}  # it would be trained anew


def holds_float(value):
    return any(isinstance(leaf, float) for leaf in jax.tree.leaves(value))


@partial(jit_fast, static_argnums=0)
def generate_all(name, fitted, keys, problems):
    return jax.vmap(partial(generate, name))(fitted, keys, problems)


@partial(jit, static_argnums=0)
def generate_one_by_one(name, fitted, keys, problems):
    """As `generate_all`, in half the time to compile."""
    return jax.lax.map(lambda args: generate(name, *args), (fitted, keys, problems))


@jax.jit
def judge(problems, recourse):
    """The logit of each row and of its recourse, and what `space` and `metrics` say about the move."""

    def one(space, x, params, x_cf):
        logits = models.logit(params, x), models.logit(params, x_cf)
        return *logits, allows(space, x, x_cf), metrics.feasible(x, x_cf, space)

    return jax.vmap(one)(*problems, recourse.x)


def same_classifier(seed, num, params):
    """`num` people well inside the bounds, with one classifier."""
    return Problems(stack([full_space()] * num), random_rows(seed, num, margin=-0.05), stack([params] * num))


def single_column():
    """Everybody is at 0, and one changeable column alone makes a difference, for each of them another."""
    columns = np.flatnonzero(CHANGEABLE)
    params = stack([one_unit(column(index), 0, 2, -1) for index in columns])
    x = np.zeros((len(columns), WIDTH))
    x[:, 10] = 1
    x[columns == 6, 7] = x[columns != 6, 6] = 1
    return Problems(stack([full_space()] * len(columns)), array(x), params)


@pytest.fixture(scope="module")
def problems():
    frozen = random_problems(20, NUM_FEW)
    dead = same_classifier(14, NUM_DEAD, one_unit(4 * column(0), -2.4, 1, -0.5))
    dead.x[:, 0] *= 0.6  # accepts x_0 >= 0.725, and is flat where x_0 < 0.6
    kinds = {
        "random": random_problems(10, NUM_RANDOM),
        "frozen": frozen._replace(space=frozen.space._replace(mutable=np.zeros((NUM_FEW, WIDTH), bool))),
        "refused": same_classifier(11, NUM_FEW, one_unit(column(0), 0, 0, -1)),
        "steeply refused": same_classifier(12, NUM_FEW, one_unit(100 * np.ones(WIDTH), 1, -1e4, -1)),
        "accepted": same_classifier(13, NUM_FEW, one_unit(column(0), 0, 0, 1)),
        "dead": dead,
        "single column": single_column(),
    }
    ends = np.cumsum([len(kind.x) for kind in kinds.values()])
    slices = [slice(end - len(kind.x), end) for end, kind in zip(ends, kinds.values(), strict=True)]
    return concatenate(list(kinds.values())), dict(zip(kinds, slices, strict=True))


@pytest.fixture(scope="module", params=map(marked, METHODS))
def case(request, problems):
    problems, kinds = problems
    num = len(problems.x)
    fitted = fit_all(request.param, split(14, num), problems, random_rows(9, 64))
    recourse = generate_all(request.param, fitted, split(15, num), problems)
    return Case(request.param, problems, fitted, jax.device_get(recourse), kinds)


@pytest.fixture(scope="module")
def judged(case):
    return jax.device_get(judge(case.problems, case.recourse))


@pytest.fixture(scope="module")
def easy(problems):
    """Which of the random problems a random search solves with more than one in twenty of its guesses."""
    chosen = row(problems[0], problems[1]["random"])
    wishes = array(np.random.default_rng(17).uniform(-0.3, 1.3, (NUM_WISHES, WIDTH)))

    def share(space, x, params):
        points = jax.vmap(partial(project, space, x))(wishes)
        return jax.vmap(partial(models.logit, params))(points) >= 0.05

    return np.mean(jit(jax.vmap(share))(*chosen), axis=1) > 0.05


def test_shapes_and_dtypes(case):
    assert case.recourse.x.shape == case.problems.x.shape
    assert case.recourse.valid.shape == case.problems.x.shape[:1]
    assert case.recourse.x.dtype == case.problems.x.dtype
    assert case.recourse.valid.dtype == bool


def test_never_nan(case):
    assert np.isfinite(case.recourse.x).all()


def test_every_rule_of_the_space_is_kept(case, judged):
    *_, allowed, kept = judged
    for name, rule in kept._asdict().items():
        assert rule.all(), name
    assert allowed.all()
    fixed = ~case.problems.space.mutable
    assert case.problems.x[fixed].tobytes() == case.recourse.x[fixed].tobytes()


def test_valid_is_truthful(case, judged):
    _, logits, *_ = judged
    assert np.all(logits[case.recourse.valid] >= 0)
    assert np.all(logits[~case.recourse.valid] < 0.01)  # a failure is not an accepted point that was overlooked


def test_easy_problems_are_solved(case, judged, easy):
    refused = judged[0][case.kinds["random"]] < 0
    assert np.sum(easy & refused) > 20
    assert np.mean(case.of("random")[1].valid[easy & refused]) >= 0.9


def test_same_key_same_answer(case):
    again = generate_all(case.name, case.fitted, split(15, len(case.problems.x)), case.problems)
    np.testing.assert_array_equal(again.x, case.recourse.x)
    np.testing.assert_array_equal(again.valid, case.recourse.valid)


@pytest.mark.parametrize("kind", ["refused", "steeply refused"])
def test_a_classifier_that_refuses_everything(case, kind):
    assert not case.of(kind)[1].valid.any()


def test_nothing_may_change(case, judged):
    problems, recourse = case.of("frozen")
    np.testing.assert_array_equal(recourse.x, problems.x)
    np.testing.assert_array_equal(recourse.valid, judged[0][case.kinds["frozen"]] >= 0)


def test_an_accepted_factual(case):
    problems, recourse = case.of("accepted")
    assert recourse.valid.all()
    assert np.all(np.abs(recourse.x - problems.x) <= 0.2)  # no method needs to go further than a small first step


def test_a_flat_classifier_is_solved(case, judged):
    problems, recourse = case.of("dead")
    slopes = jit(jax.vmap(jax.grad(models.logit, argnums=1)))(problems.params, problems.x)
    assert not np.any(slopes)
    assert np.all(judged[0][case.kinds["dead"]] < 0)
    assert recourse.valid.all()
    assert np.all(recourse.x[:, 0] >= 0.725)


def test_each_kind_of_feature_is_found(case, judged):
    _, recourse = case.of("single column")
    assert np.all(judged[0][case.kinds["single column"]] < 0)
    assert recourse.valid.tolist() == [True] * CHANGEABLE.sum()


def test_same_key_same_fit(case):
    again = fit_all(case.name, split(14, 2), row(case.problems, slice(0, 2)), random_rows(9, 64))
    jax.tree.map(np.testing.assert_array_equal, again, row(case.fitted, slice(0, 2)))


def test_looped_is_vmapped_with_one_trace(case):
    def generate_row(generate, key, logit_fn, x, space):
        return generate(key, logit_fn, x, space)

    generate_row, traces = counting(generate_row)
    rows, keys_fit, keys = random_rows(9, 64), split(14, len(case.problems.x)), split(15, len(case.problems.x))
    floats = scaled_floats(case.name)
    moved = []
    for index in (*range(6), *range(-3, 0)):
        space, x, params = row(case.problems, index)
        logit_fn = models.classifier(params)
        bound = bind(case.name, keys_fit[index], logit_fn, rows, space, **quick(case.name))
        single = generate_row(bound, keys[index], logit_fn, x, space)
        assert single.valid == case.recourse.valid[index]
        np.testing.assert_allclose(single.x, case.recourse.x[index], atol=1e-4)
        bound = bind(case.name, keys_fit[index], logit_fn, rows, space, **{**quick(case.name), **floats})
        moved.append(not np.array_equal(generate_row(bound, keys[index], logit_fn, x, space).x, single.x))
    assert len(traces) == 1
    assert any(moved) or not floats.keys() - {"margin"}  # the hyperparameters arrive


def test_float64_under_x64(case):
    problems, rows = widen(row(case.problems, slice(0, 24))), widen(random_rows(9, 64))
    with jax.enable_x64(True):
        fitted = fit_all(case.name, split(14, 24), problems, rows)
        recourse = jax.device_get(generate_one_by_one(case.name, fitted, split(19, 24), problems))
        assert recourse.x.dtype == "float64"
        assert np.isfinite(recourse.x).all()
        _, logits, allowed, kept = jax.device_get(judge(problems, recourse))
        assert recourse.valid.sum() > 8
        assert np.all(logits[recourse.valid] >= 0)
        assert allowed.all()
        assert kept.all.all()


def test_float32_is_kept_under_x64(case):
    """Rows and classifiers of float32 beside a space of float64."""
    problem, rows = row(case.problems, 0), random_rows(9, 64)
    with jax.enable_x64(True):
        problem = problem._replace(space=widen(problem.space))
        fitted = fit(case.name, jax.random.key(0), problem, rows)
        recourse = jax.eval_shape(partial(generate, case.name), fitted, jax.random.key(0), problem)
        assert recourse.x.dtype == problem.x.dtype


def test_unknown_names_are_errors():
    key, space, rows = jax.random.key(0), full_space(), random_rows(9, 4)
    logit_fn = models.classifier(one_unit(column(0), 0, 2, -1))
    with pytest.raises(ValueError, match=r"method: must be one of .*wachter.*; got 'watcher'"):
        bind("watcher", key, logit_fn, rows, space)
    for name in METHODS:
        with pytest.raises(ValueError, match=rf"{name} hyperparameter: must be one of .*; got 'learning_rates'"):
            bind(name, key, logit_fn, rows, space, learning_rates=0.1)
