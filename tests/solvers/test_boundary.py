from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from spaces import WIDTH, array, jit, random_problems, row, tanh_logit, widen

from hare_jax import models
from hare_jax.evaluate import metrics
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import action_space, project

NUM, NUM_WISHES = 400, 25


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

    found = jax.device_get(search_linear(weights, x, x_cf, space, margin))
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
    search = jit(lambda n: boundary(lambda x: x[0] - 0.3, x, x_cf, space, margin=0.0, num_steps=n).x, static_argnums=0)
    assert [float(search(n)[0]) for n in (0, 1, 3)] == [1.0, 0.5, 0.375]


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


@pytest.mark.slow
def test_derivatives_to_second_order():
    """In weights, margin, and the continuous columns of both ends; half of the ways cross steps and categories."""
    problems, wishes = problems_and_wishes()
    with jax.enable_x64(True):
        wishes = np.where(np.arange(NUM)[:, None] % 2 == 0, wishes[:, 0], wishes[:, 1])
        problems, wishes = jax.tree.map(jnp.asarray, widen((problems, wishes)))
        x_cf = jit(jax.vmap(project))(problems.space, problems.x, wishes)
        logits = jit(jax.vmap(tanh_logit))
        crossing = (logits(problems.params, problems.x) < -0.05) & (logits(problems.params, x_cf) > 0.05)
        (space, x, params), x_cf = row((problems, x_cf), np.flatnonzero(crossing)[:12])
        assert len(x) == 12
        stepped = (space.step > 0) & (x != x_cf)
        assert 3 <= int(jnp.any(stepped, axis=1).sum()) <= 9

        def moved(params, start, end, margin):
            start, end = (jnp.where(space.step == 0, change, 0) for change in (start, end))
            search = partial(boundary, num_steps=45)
            each = jax.vmap(lambda params, *args: search(partial(tanh_logit, params), *args[:3], margin=args[3]).x)
            return each(params, x + start, x_cf + end, space, margin)

        args = (params, jnp.zeros_like(x), jnp.zeros_like(x), jnp.full(12, 0.001))
        check_grads(jax.jit(moved), args, order=2, modes=["fwd", "rev"], eps=1e-6)


@jit
def slopes(problems, x_cf):
    """Gradients of a random combination of the point's columns, for each row in everything it depends on."""
    mixture = jnp.sin(jnp.arange(1.0, WIDTH + 1))

    def mixed(params, x, x_cf, margin, space):
        found = boundary(models.classifier(params), x, x_cf, space, margin=margin)
        return jnp.sum(mixture * found.x), found.valid

    def one(space, x, params, x_cf):
        slope = jax.grad(mixed, argnums=(0, 1, 2, 3), has_aux=True)
        return slope(params, x, x_cf, jnp.asarray(MARGIN, x.dtype), space)

    return jax.vmap(one)(*problems, x_cf)


def test_gradients_are_finite_in_every_row():
    """Invalid rows, rows that are accepted where they stand, and recourses that are the factual itself."""
    problems, wishes = problems_and_wishes()
    x_cf = np.array(jit(jax.vmap(jax.vmap(project, in_axes=(None, None, 0))))(problems.space, problems.x, wishes))
    x_cf[:, 0] = problems.x
    many = jax.tree.map(lambda leaf: np.repeat(leaf, NUM_WISHES, axis=0), problems)
    grads, valid = jax.device_get(slopes(many, x_cf.reshape(-1, WIDTH)))
    assert 0.2 < valid.mean() < 0.8
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    moving = np.any(models.to_layers(grads[0])[0].weight != 0, axis=(1, 2))
    assert moving.sum() > 100
    assert not moving[~valid].any()
    assert not moving.reshape(NUM, NUM_WISHES)[:, 0].any()


def test_the_derivative_is_the_closed_form_on_a_linear_model():
    """`t = (margin - l(x)) / (l(x_cf) - l(x))`, differentiated where the point lies within the way."""
    rng = np.random.default_rng(4)
    space = action_space([True] * WIDTH, [-np.inf] * WIDTH, [np.inf] * WIDTH)

    def closed(weights, x, x_cf, margin):
        start, end = linear(weights, x), linear(weights, x_cf)
        return x + (margin - start) / (end - start) * (x_cf - x)

    def ours(weights, x, x_cf, margin):
        return boundary(partial(linear, weights), x, x_cf, space, margin=margin, num_steps=50).x

    with jax.enable_x64(True):
        weights, x, x_cf = (rng.normal(size=(100, width)) for width in (WIDTH + 1, WIDTH, WIDTH))
        start, end = ((weights[:, :-1] * point).sum(axis=1) + weights[:, -1] for point in (x, x_cf))
        kept = np.flatnonzero((start < -0.1) & (end > 0.1))
        args = (*(jnp.asarray(value[kept]) for value in (weights, x, x_cf)), jnp.full(len(kept), 0.05))
        found, expected = (jit(jax.vmap(jax.jacrev(fn, argnums=(0, 1, 2, 3))))(*args) for fn in (ours, closed))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)


def test_more_steps_than_the_dtype_can_hold_leave_the_derivative():
    space = action_space([True], [0.0], [1.0])

    def moved(threshold):
        return boundary(lambda x: x[0] - threshold, jnp.zeros(1), jnp.ones(1), space, num_steps=40).x[0]

    np.testing.assert_allclose(jit(jax.grad(moved))(jnp.asarray(0.3)), 1, rtol=1e-5)
