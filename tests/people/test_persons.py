"""What every row of `PERSONS` has to keep: utility, loss, features, prior and simulated draws agree."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_relations
from spaces import array, counting, jit, random_problems, row, split, widen

from hare_jax import models
from hare_jax.people import PERSONS, Population, draw, in_space, loss, prefers, utility
from hare_jax.recourse.growing_spheres import GrowingSpheres
from hare_jax.space import is_follower, project, weighted_l1

NUM, NUM_POINTS, REACH = 24, 32, 2.0
POPULATION = Population(spheres=GrowingSpheres(num_samples=16, num_attempts=2))
LINEAR = [kind for kind, person in PERSONS.items() if person.features is not None]
LEAST_INSIDE = 0.9  # of hidden parameters within `MOST_SD` prior s.d.s, column by column
MOST_SD = 3.0
ROUNDING = 1e-6  # relative: utilities and answers are computed by different parts of a program
LEAST_DIFFERENT = 0.7  # of pairs; where few features may change, many points are equal


draw_all = partial(draw, kinds=tuple(PERSONS))


def draw_users(hp, keys, problems):
    """All kinds in one program."""

    def one(key, problem):
        return draw_all(hp, key, models.classifier(problem.params), problem.x, problem.space)

    return jax.vmap(one)(keys, problems)


DRAW, TRACES = counting(draw_users)


@jit
def evaluate(users, problems, points):
    """Of each kind, for each user: utility, loss, phi . hidden + c (n, m), answers (n, m - 1), and the prior."""

    def one(users, problem, points):
        space, x = problem.space, problem.x
        key = jax.random.key(0)
        points = jax.vmap(lambda z: project(space, x, z))(points)
        found = {}
        for kind, person in PERSONS.items():
            hidden = users[kind].hidden
            each = judge(kind, hidden, x, space, points)
            answers = jax.vmap(lambda a, b, kind=kind, hidden=hidden: prefers(kind, hidden, space)(key, x, a, b))
            found[kind] = {"utility": each[0], "loss": each[1], "a rather than b": answers(points[1:], points[:-1])}
            if person.features is not None:
                phi, c = jax.vmap(lambda z, person=person: in_space(person, person.features, space)(x, z))(points)
                prior = person.prior(None, x, space, jnp.asarray(REACH, x.dtype))
                found[kind] |= {"linear": phi @ hidden + c, **prior._asdict()}
        return found

    return jax.vmap(one, in_axes=(0, 0, None))(users, problems, points)


def judge(kind, hidden, x, space, points):
    """Utility and loss of the points (n, d)."""
    return [jax.vmap(lambda z, of=of: of(kind, hidden, space)(x, z))(points) for of in (utility, loss)]


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if np.issubdtype(leaf.dtype, np.floating)]


@pytest.fixture(scope="module", params=["free", pytest.param("related", marks=pytest.mark.slow)])
def problems(request):
    return random_problems(0, NUM) if request.param == "free" else random_relations.random_problems(0, NUM)


@pytest.fixture(scope="module")
def users(problems):
    return jax.device_get(DRAW(POPULATION, split(1, NUM), problems))


@pytest.fixture(scope="module")
def found(users, problems):
    points = array(np.random.default_rng(2).uniform(-0.2, 1.2, (NUM_POINTS, problems.x.shape[1])))
    return jax.device_get(evaluate(users, problems, points))


@pytest.mark.parametrize("kind", PERSONS)
def test_draws_are_finite_and_some_succeed(kind, users):
    for leaf in jax.tree.leaves(users[kind].hidden):
        assert np.isfinite(leaf).all()
    assert users[kind].valid.dtype == bool
    assert users[kind].valid.mean() > 0.2


def test_the_same_key_gives_the_same_draw_in_one_program(users, problems):
    before = len(TRACES)
    again = jax.device_get(DRAW(POPULATION, split(1, NUM), problems))
    others = jax.device_get(DRAW(POPULATION, split(2, NUM), problems))
    assert len(TRACES) == before
    jax.tree.map(np.testing.assert_array_equal, again, users)
    for kind in PERSONS:
        pairs = zip(jax.tree.leaves(others[kind].hidden), jax.tree.leaves(users[kind].hidden), strict=True)
        assert any(np.any(other != first) for other, first in pairs), kind


@pytest.mark.parametrize("kind", [kind for kind, person in PERSONS.items() if person.of_ideal])
def test_kinds_with_an_ideal_share_that_of_the_kind_ideal(kind, users):
    np.testing.assert_array_equal(jax.vmap(PERSONS[kind].target)(users[kind].hidden), users["ideal"].hidden)
    np.testing.assert_array_equal(users[kind].valid, users["ideal"].valid)


def test_a_kind_with_an_ideal_draws_one_of_its_own_unless_it_is_given():
    space, x, params = row(random_problems(0, 1), 0)
    args = POPULATION, jax.random.key(0), models.classifier(params), x, space
    shared = jax.eval_shape(draw_all, *args)
    for kind, person in PERSONS.items():
        if person.of_ideal:
            assert jax.eval_shape(person.draw, *args) == shared[kind], kind


def test_ideals_contradict_no_relation(users, problems):
    if problems.space.relations is not None:
        broken = random_relations.broken_rules(problems, users["ideal"].hidden)
        assert not any(rule.any() for rule in broken.values()), broken


@pytest.mark.parametrize("kind", PERSONS)
def test_the_recourse_of_higher_utility_is_preferred(kind, found):
    utility = found[kind]["utility"]
    assert np.isfinite(utility).all()
    higher = np.diff(utility, axis=1)
    differs = np.abs(higher) > ROUNDING * (1 + np.abs(utility[:, 1:]))
    np.testing.assert_array_equal(found[kind]["a rather than b"][differs], higher[differs] > 0)
    assert differs.mean() > LEAST_DIFFERENT


@pytest.mark.parametrize("kind", PERSONS)
def test_the_loss_is_not_negative_and_falls_as_the_utility_rises(kind, found):
    utility, loss = found[kind]["utility"], found[kind]["loss"]
    assert np.isfinite(loss).all()
    assert np.all(loss >= 0)
    order = np.argsort(utility, axis=1)
    assert np.all(np.diff(np.take_along_axis(loss, order, axis=1), axis=1) <= 1e-5)


@pytest.mark.parametrize("kind", LINEAR)
def test_the_features_give_the_utility_up_to_one_constant(kind, found):
    rest = found[kind]["utility"] - found[kind]["linear"]
    scale = 1 + np.abs(found[kind]["utility"]).max()
    assert np.ptp(rest, axis=1).max() <= 1e-5 * scale


@pytest.mark.parametrize("kind", LINEAR)
def test_the_prior_covers_the_draws(kind, found, users, problems):
    mean, cov, (hidden, valid) = found[kind]["mean"], found[kind]["cov"], users[kind]
    assert mean.shape == problems.x.shape
    assert cov.shape == (*mean.shape, mean.shape[1])
    np.testing.assert_allclose(cov, np.swapaxes(cov, 1, 2), atol=1e-6)
    assert np.linalg.eigvalsh(cov.astype(float)).min() >= -1e-6
    variance = np.diagonal(cov, axis1=1, axis2=2)
    away = np.abs(hidden - mean) <= MOST_SD * np.sqrt(variance) + 1e-5
    varies = valid[:, None] & problems.space.mutable
    assert away[varies].mean() > LEAST_INSIDE
    if PERSONS[kind].target is not None:  # a target point shares the immutable columns of the factual
        fixed = ~problems.space.mutable & ~is_follower(row(problems.space, 0))
        np.testing.assert_allclose(variance[fixed], 0, atol=1e-10)
        np.testing.assert_allclose(mean[fixed], problems.x[fixed], atol=1e-6)
        assert not found[kind]["varies"][~problems.space.mutable].any()


@pytest.mark.parametrize("kind", LINEAR)
def test_clipped_draws_are_draws(kind, users):
    """The support that `clip` moves into holds all simulated persons."""
    clip = PERSONS[kind].clip
    if clip is not None:
        np.testing.assert_array_equal(clip(users[kind].hidden), users[kind].hidden)


@pytest.mark.parametrize("kind", [kind for kind, person in PERSONS.items() if person.target is not None])
def test_the_target_has_the_highest_utility(kind, users, found, problems):
    person, hidden = PERSONS[kind], users[kind].hidden
    at_target = jax.vmap(lambda hidden, x: person.utility(hidden, x, person.target(hidden)))(hidden, problems.x)
    assert np.all(np.asarray(at_target)[:, None] >= found[kind]["utility"])


@pytest.mark.parametrize("kind", [kind for kind, person in PERSONS.items() if person.l1_weights is not None])
def test_the_weights_of_an_l1_cost_are_those_of_the_columns(kind, users, problems):
    weights = jax.vmap(PERSONS[kind].l1_weights)(users[kind].hidden)
    assert weights.shape == problems.x.shape
    assert np.min(weights) > 0


def test_every_weighted_l1_cost_has_its_weights():
    kinds = [kind for kind, person in PERSONS.items() if person.loss is weighted_l1]
    assert kinds == ["weights", "dont_touch", "lexicographic"]
    assert all(PERSONS[kind].l1_weights is not None for kind in kinds)


def test_float32_is_kept_under_x64(problems):
    """Beside a space of float64."""
    space, x, params = row(problems, 0)
    with jax.enable_x64(True):
        users = jax.eval_shape(draw_all, Population(), jax.random.key(0), models.classifier(params), x, widen(space))
        points = np.stack([x, x])
        for kind, person in PERSONS.items():
            hidden = users[kind].hidden
            kept = [floats(hidden), jax.eval_shape(partial(judge, kind), hidden, x, widen(space), points)]
            if person.features is not None:
                kept.append(jax.eval_shape(person.features, x, x))
                kept.append(floats(jax.eval_shape(person.prior, None, x, widen(space), REACH)))
            assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {x.dtype}, kind


FACTORISATIONS = ("qr", "svd", "cholesky", "eigh", "lu", "triangular_solve")  # by XLA: batches of them wait for threads


@pytest.mark.parametrize("kind", PERSONS)
def test_draws_factorise_no_matrix(kind, problems):
    """On several CPU devices they would wait forever: see `evaluate.sharding.map_users`."""
    args = models.classifier(row(problems.params, 0)), row(problems.x, 0), row(problems.space, 0)
    text = str(jax.make_jaxpr(lambda key: PERSONS[kind].draw(POPULATION, key, *args))(jax.random.key(0)))
    assert not [name for name in FACTORISATIONS if f" {name}[" in text]
