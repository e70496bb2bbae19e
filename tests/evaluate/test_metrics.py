from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial
from spaces import array

from hare_jax.base import Recourse
from hare_jax.evaluate import metrics
from hare_jax.space import action_space, allows, project

# columns: 0 free, 1 rises, 2 ordered, 3 ordered and falls, 4-6 a group, 7 immutable, 8-9 an immutable group
GROUP = [-1, -1, -1, -1, 2, 2, 2, -1, 5, 5]
STEP = [0, 0, 0.25, 1 / 15, 1, 1, 1, 0, 1, 1]
WIDTH = len(GROUP)
FLOAT = jnp.zeros(0).dtype.name

check = jax.jit(metrics.feasible)
allowed = jax.jit(allows)
projected = jax.jit(project)
redundant = jax.jit(metrics.redundancy)
distances = jax.jit(lambda x, x_cf: (metrics.l1(x, x_cf), metrics.l2(x, x_cf), metrics.linf(x, x_cf)))
features = jax.jit(metrics.l0)
weighted = jax.jit(metrics.weighted_cost)
cosines = jax.jit(metrics.ideal_cosine)
violations = jax.jit(metrics.violations)


def linear(weights, bias, x):
    return jnp.sum(weights * x) + bias


def row(*values):
    """`values`, and zeros up to the common width: one shape for all tests compiles once."""
    return array([*values] + [0.0] * (WIDTH - len(values)))


def changed(x, columns, values):
    x = np.array(x)
    x[columns] = values
    return x


def classifier(bias, *weights):
    return Partial(linear, row(*weights), array(bias))


def free_space(**columns):
    given = {"mutable": [True] * WIDTH, "lower": [-np.inf] * WIDTH, "upper": [np.inf] * WIDTH}
    return action_space(**(given | columns))


def grouped_space(*group):
    return free_space(lower=[0] * WIDTH, upper=[1] * WIDTH, group=[*group] + [-1] * (WIDTH - len(group)))


def random_case(seed):
    rng = np.random.default_rng(seed)
    upper = np.where(np.array(GROUP) >= 0, 1, rng.uniform(0.5, 1, WIDTH))
    upper[4 + rng.integers(3)] = rng.integers(2)  # one level may be closed
    lower = np.where(np.array(GROUP) >= 0, 0, rng.uniform(0, 0.4, WIDTH))
    mutable = [True] * 7 + [False] * 3
    space = action_space(mutable, lower, upper, [0, 1, 0, -1, 0, 0, 0, 0, 0, 0], GROUP, STEP)
    x = rng.uniform(-0.2, 1.2, WIDTH)  # may lie outside the bounds
    x[4:7], x[8:10] = np.eye(3)[rng.integers(3)], np.eye(2)[rng.integers(2)]
    return rng, space, array(x)


def test_distances_in_closed_form():
    x, x_cf = row(0.0, 1.0, 0.5, 0.25), row(3.0, 1.0, -3.5, 0.250001)
    assert features(x, x_cf) == 2
    one, two, most = distances(x, x_cf)
    np.testing.assert_allclose(one, 7, rtol=1e-6)
    np.testing.assert_allclose(two, 5, rtol=1e-6)
    assert most == 4
    np.testing.assert_allclose(weighted(row(1.0, 9.0, 0.5), x, x_cf), 5, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(metrics.ideal_l2)(x, x_cf), 5, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_distances_are_ordered_and_symmetric(seed):
    x, x_cf, ideal = array(np.random.default_rng(seed).normal(size=(3, WIDTH)))
    one, two, most = distances(x, x_cf)
    assert most <= two * (1 + 1e-6)
    assert two <= one * (1 + 1e-6)
    assert one <= WIDTH * most * (1 + 1e-6)
    assert distances(x_cf, x) == (one, two, most)
    np.testing.assert_allclose(weighted(row(*[1.0] * WIDTH), x, x_cf), one, rtol=1e-6)
    wanted, moved = np.asarray(ideal - x), np.asarray(x_cf - x)
    cosine = wanted @ moved / np.linalg.norm(wanted) / np.linalg.norm(moved)
    np.testing.assert_allclose(cosines(ideal, x, x_cf), 1 - cosine, atol=1e-6)
    longer = cosines(ideal, x, x + 3 * (x_cf - x))
    np.testing.assert_allclose(longer, cosines(ideal, x, x_cf), atol=1e-5)


def test_cosine_is_one_where_a_vector_is_zero():
    x, other = row(0.5, 0.25), row(1.0)
    for ideal, x_cf in ((x, other), (other, x), (x, x)):
        assert cosines(ideal, x, x_cf) == 1


def test_gradients_are_finite_at_no_change():
    x, ideal = array([0.5, 0.25]), array([1.0, 0.0])

    def both(x_cf):
        return jnp.stack([metrics.l2(x, x_cf), metrics.ideal_cosine(ideal, x, x_cf)])

    gradients = jax.jit(jax.jacrev(both))
    np.testing.assert_array_equal(gradients(x), np.zeros((2, 2)))
    assert np.isfinite(jax.jit(jax.hessian(both))(x)).all()
    assert np.isfinite([gradients(x + array([size, 0])) for size in (1e-30, 1e-18, 1e-7)]).all()
    np.testing.assert_allclose(np.asarray(gradients(x + array([0.3, 0.4])))[0], [0.6, 0.8], rtol=1e-6)


def test_l0_counts_features_where_it_knows_the_space():
    space = grouped_space(3, -1, 3, 3, -1)
    x, switched = row(1.0, 0.0, 0.0, 0.0, 0.5), row(0.0, 0.0, 0.0, 1.0, 0.75)
    assert features(x, switched) == 3
    assert features(x, switched, space) == 2
    assert features(x, x, space) == 0


def test_redundancy_by_hand():
    logit_fn, space, x = classifier(-1.0, 1.0, 1.0), free_space(), row()
    assert redundant(logit_fn, x, row(1.0, 0.25), space) == 1  # only the 0.25
    assert redundant(logit_fn, x, row(1.0, 1.0), space) == 2  # either, though not both
    assert redundant(logit_fn, x, row(0.5, 0.5), space) == 0
    assert redundant(logit_fn, x, row(2.0, -0.5), space) == 1


def test_redundancy_puts_a_group_back_together():
    space = grouped_space(-1, 0, 0, 0)
    x, x_cf = row(0.0, 1.0), row(1.0, 0.0, 0.0, 1.0)
    # column by column both halves of the switch could go; as one feature it can't
    assert redundant(classifier(-2.0, 2.0, -1.0, 0.0, 1.0), x, x_cf, space) == 0
    assert redundant(classifier(-2.0, 2.0, -1.0, 0.0, 1.0), x, x_cf, free_space()) == 2
    assert redundant(classifier(0.0, 1.0, -1.0, 0.0, 1.0), x, x_cf, space) == 2
    assert redundant(classifier(-0.5, 0.0, 0.0, 0.0, 1.0), x, x_cf, space) == 1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_redundancy_is_at_most_l0_and_zero_without_change(seed):
    rng, space, x = random_case(seed)
    x_cf = projected(space, x, array(rng.uniform(0, 1, WIDTH)))
    logit_fn = classifier(0.5, *rng.normal(size=WIDTH))
    assert 0 <= redundant(logit_fn, x, x_cf, space) <= features(x, x_cf, space)
    assert redundant(logit_fn, x, x, space) == 0


def test_violations_counts_any_difference():
    space = free_space(mutable=[False, True, False] + [True] * 7)
    x = row(0.5, 0.5, 0.5)
    assert violations(x, x, space) == 0
    assert violations(x, changed(x, 1, 9), space) == 0
    assert violations(x, changed(x, 0, np.nextafter(x[0], x[0] + 1)), space) == 1
    assert violations(x, x + 1, space) == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_feasible_agrees_with_the_space(seed):
    rng, space, x = random_case(seed)
    wish = array(rng.uniform(-0.5, 1.5, WIDTH))
    x_cf = projected(space, x, wish)
    for point in (x, x_cf):
        assert all(map(bool, check(x, point, space)))
        assert check(x, point, space).all
        assert allowed(space, x, point)
    column = rng.integers(WIDTH)
    # no size is near a whole number of steps: there `allows` is stricter than a thousandth of a step
    x_cf = np.asarray(x_cf)
    sizes = (1e-2, -1e-2, 0.21, -0.3, 1.03, np.nan, np.inf)
    perturbed = [changed(x_cf, column, x_cf[column] + array(size)) for size in sizes]
    switched = [changed(x_cf, slice(4, 7), level) for level in np.eye(3)]  # into a closed level too
    for point in [wish, *perturbed, *switched]:
        assert check(x, point, space).all == allowed(space, x, point)


@pytest.mark.parametrize(
    ("column", "value", "rules"),
    [
        (0, 2.0, {"box"}),
        (0, -1.0, {"box"}),
        (1, 0.25, {"direction"}),
        (1, 2.0, {"box"}),
        (2, 0.6, {"step"}),
        (2, 0.750001, set()),
        (3, 0.5 + 1 / 15, {"direction"}),
        (3, 0.5 - 2 / 15, set()),
        (4, 0.5, {"one_hot"}),
        (5, 1.0, {"one_hot"}),
        (4, 0.0, {"one_hot"}),
        (6, 1.0, {"one_hot", "box"}),
        (7, 0.5000001, {"immutable"}),
        (8, 0.0, {"immutable"}),
        (0, jnp.nan, {"box"}),
        (0, jnp.inf, {"box"}),
    ],
)
def test_feasible_names_the_rule_that_is_broken(column, value, rules):
    upper = [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]
    space = action_space([True] * 7 + [False] * 3, [0] * WIDTH, upper, [0, 1, 0, -1, 0, 0, 0, 0, 0, 0], GROUP, STEP)
    x = row(0.5, 0.5, 0.5, 0.5, 1.0, 0.0, 0.0, 0.5, 1.0)
    kept = check(x, changed(x, column, value), space)
    assert {name for name, value in kept._asdict().items() if not value} == rules
    assert kept.all == (not rules)


def test_feasible_without_any_rule():
    space, x, x_cf = free_space(), row(), row(-1e6, 0.3, 1e6)
    assert check(x, x_cf, space).all
    assert redundant(classifier(0.0, 0.0, 1.0, 1.0), x, x_cf, space) == 3
    assert features(x, x_cf, space) == 3


def test_feasible_from_outside_the_bounds():
    space = free_space(lower=[0] * WIDTH, upper=[1] * WIDTH)
    kept = [bool(check(row(1.5), row(value), space).all) for value in (1.5, 1.2, 0.0, 1.6, -0.1)]
    assert kept == [True, True, True, False, False]


@cache
def measured(dtype):
    keys = jax.random.split(jax.random.key(0), 3)
    x, x_cf, ideal = (jax.random.uniform(key, (6, 3), dtype) for key in keys)
    space = action_space([True, True, False], [0] * 3, [1] * 3)
    recourse = Recourse(x_cf, jnp.arange(6) % 2 == 0)
    logit_fn = Partial(linear, jnp.ones(3, dtype), jnp.array(-1.5, dtype))

    def one(x, recourse, ideal):
        return metrics.measure(logit_fn, x, recourse, space, ideal=ideal, weights=jnp.ones(3, dtype))

    return jax.device_get((jax.jit(jax.vmap(one))(x, recourse, ideal), logit_fn, x, recourse))


@pytest.mark.parametrize("dtype", sorted({"float32", FLOAT}))
def test_measure_of_many_rows(dtype):
    measures, logit_fn, x, recourse = measured(dtype)
    for figure in measures:
        chex.assert_shape(figure, (6,))
        assert figure.dtype == dtype
    chex.assert_tree_all_finite(measures)
    accepted = np.asarray(jax.jit(jax.vmap(partial(metrics.accepted, logit_fn)))(recourse.x))
    np.testing.assert_array_equal(measures.success, recourse.valid)
    np.testing.assert_array_equal(measures.valid, recourse.valid & accepted)
    np.testing.assert_array_equal(measures.violations, np.ones(6))
    np.testing.assert_array_equal(measures.feasible, np.zeros(6))
    np.testing.assert_allclose(measures.l1, np.abs(recourse.x - x).sum(axis=1), rtol=1e-6)
