"""FACE's graph against a brute-force search, its paths, and what keeps an edge out of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import array, jit

from hare_jax.recourse import METHODS, face, face_graph
from hare_jax.space import action_space, allows

# columns: 0 free, 1 may only rise, 2 an immutable number, 3 an immutable category, 4 a mutable one
NUM, WIDTH = 90, 5
SPACE = action_space(
    mutable=[True, True, False, False, True],
    lower=np.zeros(WIDTH),
    upper=np.ones(WIDTH),
    direction=[0, 1, 0, 0, 0],
    step=[0, 0, 0, 1, 1],
)
PLAIN = {"num_neighbours": 8, "num_switches": 2, "num_entries": 16, "num_tiers": 1, "immutable_tolerance": 0.5}


def score(weight, x):
    return jnp.dot(weight, x) - 1.2


LOGIT = Partial(score, array([1.0, 1.0, 0.2, 0.0, 0.3]))


def random_rows(seed, num=NUM):
    rng = np.random.default_rng(seed)
    rows = rng.random((num, WIDTH))
    rows[:, 3:] = rng.integers(2, size=(num, 2))
    return array(rows)


def fit(rows=None, space=SPACE, logit_fn=LOGIT, **hyperparameters):
    rows = random_rows(0) if rows is None else rows
    return face.fit(face.Face(**PLAIN | hyperparameters), jax.random.key(0), logit_fn, rows, space)


@jit
def solve(fitted, logit_fn, x, space):
    """Recourse, path, and whether each move of it is allowed from the factual and from the point before."""

    def one(x):
        key = jax.random.key(0)
        found, path = (fn(fitted, key, logit_fn, x, space) for fn in (face.generate, face.path))
        before = jnp.concatenate([x[None, :], path.x[:-1]])
        return (
            found,
            path,
            jax.vmap(partial(allows, space, x))(path.x),
            jax.vmap(partial(allows, space))(before, path.x),
        )

    return jax.vmap(one)(x)


def may_move(row, other, tolerance):
    """The rules of an edge, written out for `SPACE`."""
    return other[1] >= row[1] and abs(other[2] - row[2]) <= tolerance and other[3] == row[3]


def reference(fitted):
    """Costs (m,) and whether an edge is there (m, m), by the definition: all pairs, and Bellman and Ford."""
    hp, rows = fitted.hp, np.asarray(fitted.rows, float)
    num = len(rows)
    length = np.linalg.norm(rows[:, None] - rows[None, :], axis=2)
    joined = np.zeros((num, num), bool)
    for i in range(num):
        kind = np.flatnonzero((rows[:, 3] == rows[i, 3]) & (np.arange(num) != i))
        joined[i, kind[np.argsort(length[i, kind])[: hp.num_neighbours]]] = True
        other = kind[rows[kind, 4] != rows[i, 4]]
        joined[i, other[np.argsort(length[i, other])[: hp.num_switches]]] = True
    if hp.graph == "epsilon":
        near = (length <= hp.epsilon) & (rows[:, None, 3] == rows[None, :, 3])
        nearest = np.zeros_like(joined)
        for i in range(num):
            other = np.flatnonzero((rows[:, 3] == rows[i, 3]) & (rows[:, 4] != rows[i, 4]))
            nearest[i, other[np.argsort(length[i, other])[: hp.num_switches]]] = True
        joined = near | nearest
    joined |= joined.T
    np.fill_diagonal(joined, False)
    dense = np.quantile(length[np.triu(joined)], 0.1)
    edge = joined & [[may_move(a, b, hp.immutable_tolerance) for b in rows] for a in rows]
    sparsity = WIDTH * np.log(np.maximum(length / dense, 1))
    weight = np.where(edge, length * (1 + hp.density_weight * sparsity), np.inf)
    target = np.unique(np.asarray(fitted.target)[np.isfinite(fitted.cost)])
    cost = np.full(num, np.inf)
    cost[target] = 0
    for _ in range(num):
        cost = np.minimum(cost, np.min(weight + cost[None, :], axis=1))
    return cost, edge, weight


@pytest.mark.parametrize("hyperparameters", [{}, {"density_weight": 0.0}, {"graph": "epsilon", "epsilon": 0.35}])
def test_costs_are_those_of_a_brute_force_search(hyperparameters):
    fitted = fit(max_path=NUM, density_quantile=0.0, **hyperparameters)
    cost, edge, weight = reference(fitted)
    np.testing.assert_allclose(fitted.cost, cost, rtol=1e-4, atol=1e-5)
    assert 0 < np.sum(np.isfinite(cost) & (cost > 0)) < NUM
    following = np.asarray(fitted.following)
    on_the_way = np.flatnonzero(np.isfinite(cost) & (cost > 0))
    assert edge[on_the_way, following[on_the_way]].all()
    step = weight[on_the_way, following[on_the_way]] + cost[following[on_the_way]]
    np.testing.assert_allclose(step, cost[on_the_way], rtol=1e-4)


def test_targets_are_accepted_and_dense():
    everyone, dense = fit(density_quantile=0.0), fit(density_quantile=0.5)
    accepted = np.asarray(everyone.nearest.accepted)
    own = np.arange(NUM)

    def targets(fitted):
        return np.flatnonzero((np.asarray(fitted.target) == own) & (np.asarray(fitted.cost) == 0))

    np.testing.assert_array_equal(targets(everyone), np.flatnonzero(accepted))
    kept = targets(dense)
    rows = np.asarray(dense.rows)
    for kind in (0, 1):
        inside = np.flatnonzero(rows[:, 3] == kind)
        distance = np.linalg.norm(rows[inside][:, None] - rows[inside][None, :], axis=2)
        radius = dict(zip(inside.tolist(), np.sort(distance, axis=1)[:, PLAIN["num_neighbours"]], strict=True))
        mine = [i for i in inside if accepted[i]]
        left = [radius[i] for i in mine if i not in kept]
        assert len(left) == len(mine) // 2
        assert max(radius[i] for i in mine if i in kept) <= min(left)


def test_paths_lead_to_the_recourse():
    fitted = fit(num_tiers=3)
    x = random_rows(1, 60)
    found, path, allowed, next_allowed = jax.device_get(solve(fitted, LOGIT, x, SPACE))
    refused = np.asarray(x @ LOGIT.args[0]) < 1.2
    assert path.x.shape == (60, fitted.hp.max_path, WIDTH)
    assert allowed.all()
    assert next_allowed.all()
    np.testing.assert_array_equal(path.x[..., 2:4], np.broadcast_to(x[:, None, 2:4], path.x[..., 2:4].shape))
    assert np.all(path.length[found.valid & refused] >= 1)
    assert np.any(path.length > 2)
    np.testing.assert_array_equal(path.length[~refused], 0)
    for points, length, end in zip(path.x, path.length, found.x, strict=True):
        np.testing.assert_array_equal(
            points[max(length - 1, 0) :], np.broadcast_to(end, points[max(length - 1, 0) :].shape)
        )
    np.testing.assert_array_equal(path.valid, found.valid)


def test_path_points_are_rows_but_for_the_immutables():
    fitted = fit()
    x = random_rows(2, 60)
    _, path, *_ = jax.device_get(solve(fitted, LOGIT, x, SPACE))
    rows = np.asarray(fitted.rows)
    for person, points, length in zip(x, path.x, path.length, strict=True):
        for point in points[:length]:
            rises = np.maximum(rows[:, 1], person[1])  # what a person has already, they keep
            same = (rows[:, 0] == point[0]) & (rises == point[1]) & (rows[:, 4] == point[4])
            assert same.any()


def test_an_accepted_factual_stays():
    x = array(np.tile([1.0, 1.0, 0.5, 1.0, 1.0], (60, 1)))
    found, path, *_ = jax.device_get(solve(fit(), LOGIT, x, SPACE))
    np.testing.assert_array_equal(found.x, x)
    assert found.valid.all()
    np.testing.assert_array_equal(path.length, 0)


def test_the_path_goes_where_people_are():
    """A ring of rows around an empty middle: the way along the ring is longer, and through dense places."""
    angle = np.linspace(0, np.pi, 60)
    ring = 0.5 + 0.4 * np.stack([-np.cos(angle), np.sin(angle)], axis=1)
    middle = np.array([[0.3, 0.5], [0.5, 0.5], [0.7, 0.5]])
    rows, space = array(np.concatenate([ring, middle])), action_space([True, True], [0, 0], [1, 1])
    logit_fn = Partial(lambda weight, x: jnp.dot(weight, x) - 0.88, array([1.0, 0.0]))
    highest = {}
    for weight in (0.0, 1.0):
        hp = {"graph": "epsilon", "epsilon": 0.25, "num_entries": 1, "density_quantile": 0.0, "max_path": 60}
        fitted = fit(rows, space, logit_fn, density_weight=weight, **hp)
        _, path, *_ = solve(fitted, logit_fn, rows[:1] * 0 + array([[0.1, 0.5]]), space)
        highest[weight] = float(path.x[0, :, 1].max())
    assert highest[0.0] < 0.6
    assert highest[1.0] > 0.85


def test_last_resort_is_a_single_move():
    """Everybody accepted is of another kind, so that there is no way to them."""
    rows = np.array(random_rows(3))
    rows[:, 3] = (np.asarray(rows @ LOGIT.args[0]) >= 1.2).astype(rows.dtype)
    x = np.array(random_rows(4, 60))
    x[:, 3] = 0
    found, path, allowed, _ = jax.device_get(solve(fit(array(rows)), LOGIT, array(x), SPACE))
    refused = np.asarray(x @ np.asarray(LOGIT.args[0])) < 1.2
    assert found.valid.all()
    assert allowed.all()
    np.testing.assert_array_equal(path.length[refused], 1)


def test_a_way_has_at_most_max_path_moves():
    short, long = fit(max_path=2), fit(max_path=NUM)
    assert np.sum(np.isfinite(short.cost)) < np.sum(np.isfinite(long.cost))
    following = np.asarray(short.following)
    near = np.isfinite(short.cost)
    np.testing.assert_array_equal(following[near], np.asarray(short.target)[near])


def test_tighter_immutables_leave_fewer_edges():
    reached = [np.sum(np.isfinite(fit(immutable_tolerance=tolerance).cost)) for tolerance in (0.0, 0.05, 0.5)]
    assert reached[0] < reached[1] < reached[2]


def test_the_key_draws_the_rows():
    rows = random_rows(0)
    fitted = fit(rows, num_rows=30)
    assert fitted.rows.shape == (30, WIDTH)
    assert {row.tobytes() for row in np.asarray(fitted.rows)} < {row.tobytes() for row in rows}
    other = face.fit(fitted.hp, jax.random.key(1), LOGIT, rows, SPACE)
    assert not np.array_equal(fitted.rows, other.rows)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("graph", "kde"),
        ("num_rows", 0),
        ("num_neighbours", 0),
        ("num_tiers", 0),
        ("num_entries", 0),
        ("max_path", 0),
        ("num_switches", -1),
        ("density_weight", -0.1),
        ("immutable_tolerance", float("nan")),
        ("epsilon", 0.0),
        ("density_quantile", 1.0),
    ],
)
def test_bad_hyperparameters(argument, value):
    with pytest.raises(ValueError, match=f"{argument}: must be .*got {value!r}"):
        fit(**{argument: value})


def test_an_epsilon_that_joins_everybody(monkeypatch):
    monkeypatch.setattr(face_graph, "_MAX_PAIRS", 100)
    with pytest.raises(ValueError, match=r"epsilon: must join no more than 100 pairs of rows; got 2\.0"):
        fit(graph="epsilon", epsilon=2.0)


def test_it_is_registered_with_its_path():
    assert METHODS["face"].path is face.path
    assert not METHODS["face"].uses_gradients
