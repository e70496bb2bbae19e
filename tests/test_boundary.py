from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import WIDTH, array, jit, random_problems, widen

from hare_jax import metrics, models
from hare_jax.boundary import MARGIN, boundary
from hare_jax.space import action_space, project

NUM, NUM_WISHES = 400, 16


def linear(weights, x):
    return jnp.sum(weights[:-1] * x) + weights[-1]


def search_row(space, x, params, wish):
    logit_fn = models.classifier(params)
    x_cf = project(space, x, wish)
    return x_cf, logit_fn(x), logit_fn(x_cf), boundary(logit_fn, x, x_cf, space)


@jax.jit
def search(problems, wishes):
    """Searches from each of a person's wishes: (n, m)."""
    one_person = jax.vmap(search_row, in_axes=(None, None, None, 0))
    return jax.vmap(one_person)(*problems, wishes)


@jax.jit
def ask_again(params, points):
    return jax.lax.map(lambda args: jax.vmap(partial(models.logit, args[0]))(args[1]), (params, points))


@jax.jit
def search_linear(weights, x, x_cf, space, margin):
    def one(weights, x, x_cf):
        return boundary(partial(linear, weights), x, x_cf, space, margin=margin)

    return jax.vmap(one)(weights, x, x_cf)


def problems_and_wishes(num=NUM):
    """Half of the wishes keep what is not continuous."""
    problems = random_problems(0, num)
    wishes = array(np.random.default_rng(1).uniform(-0.3, 1.3, (num, NUM_WISHES, WIDTH)))
    wishes[:, ::2, 3:9] = problems.x[:, None, 3:9]
    return problems, wishes


@pytest.fixture(scope="module")
def searched():
    problems, wishes = problems_and_wishes()
    return problems, *jax.device_get(search(problems, wishes))


def test_valid_is_whether_the_recourse_was_accepted(searched):
    *_, end, found = searched
    np.testing.assert_array_equal(found.valid, end >= MARGIN)
    assert 0.2 < found.valid.mean() < 0.8


def test_the_point_is_accepted_when_asked_again(searched):
    problems, *_, found = searched
    logits = ask_again(problems.params, found.x)
    assert found.valid.sum() > 2000
    assert np.all(logits >= 0, where=found.valid)


def test_an_invalid_recourse_comes_back_as_it_was(searched):
    _, x_cf, _, _, found = searched
    assert (~found.valid).sum() > 1000
    assert found.x[~found.valid].tobytes() == x_cf[~found.valid].tobytes()


def test_the_point_is_allowed_and_on_the_way(searched):
    problems, x_cf, _, _, found = searched
    kept = jit(jax.vmap(jax.vmap(metrics.feasible, in_axes=(None, 0, None))))(problems.x, found.x, problems.space)
    for name, rule in kept._asdict().items():
        assert np.all(rule), name
    x = problems.x[:, None]
    assert np.all((np.minimum(x, x_cf) <= found.x) & (found.x <= np.maximum(x, x_cf)))


def test_the_point_is_no_further_than_it_must_be(searched):
    """Where the way is continuous the margin is met almost exactly; a step or a category is a jump over it."""
    problems, x_cf, start, _, found = searched
    crossing = found.valid & (start < 0)
    smooth = crossing & (np.arange(NUM_WISHES) % 2 == 0)
    logits = np.asarray(ask_again(problems.params, found.x))
    assert smooth.sum() > 80
    assert np.all(np.abs(logits[smooth] - MARGIN) < 5e-4)
    left = np.abs(found.x - x_cf).sum(axis=2)[crossing & ~smooth]
    assert np.mean(left > 0) > 0.5


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_closed_form_on_a_linear_model(margin):
    rng = np.random.default_rng(2)
    space = action_space([True] * WIDTH, [-np.inf] * WIDTH, [np.inf] * WIDTH)
    weights, x, x_cf = (array(rng.normal(size=(2000, width))) for width in (WIDTH + 1, WIDTH, WIDTH))
    start, end = ((weights[:, :-1] * point).sum(axis=1) + weights[:, -1] for point in (x, x_cf))

    found = search_linear(weights, x, x_cf, space, margin)
    crossing = (start < margin - 0.01) & (end > margin + 0.01)
    assert crossing.sum() > 300
    fraction = (margin - start[crossing]) / (end - start)[crossing]
    expected = x[crossing] + fraction[:, None] * (x_cf - x)[crossing]
    length = np.linalg.norm((x_cf - x)[crossing], axis=1, keepdims=True)
    slope = np.abs(end - start)[crossing, None] / length
    # 2^-20 of the way, and the rounding of a logit
    assert np.all(np.abs(found.x[crossing] - expected) <= length * 2**-20 + 1e-5 / slope)
    assert found.valid[crossing].all()
    accepted = (start > margin) & (end > margin)
    assert accepted.sum() > 300
    np.testing.assert_allclose(found.x[accepted], x[accepted], rtol=0, atol=2e-5)


def test_fewer_steps_stay_on_the_accepted_side():
    space = action_space([True], [0.0], [1.0])
    x, x_cf = array([0.0]), array([1.0])
    points = [float(boundary(lambda x: x[0] - 0.3, x, x_cf, space, margin=0.0, num_steps=n).x[0]) for n in (0, 1, 3)]
    assert points == [1.0, 0.5, 0.375]


def test_under_x64():
    problems, wishes = problems_and_wishes(50)
    with jax.enable_x64(True):
        mixed = problems._replace(space=widen(problems.space))
        assert jax.eval_shape(search, mixed, wishes)[-1].x.dtype == wishes.dtype
        wide = widen(problems)
        found = jax.device_get(search(wide, widen(wishes))[-1])
        assert found.x.dtype == "float64"
        assert found.valid.sum() > 200
        assert np.all(ask_again(wide.params, found.x) >= 0, where=found.valid)
