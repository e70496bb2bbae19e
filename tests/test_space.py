from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import WIDTH, array, jit, random_rows, random_spaces, row

from hare_jax.evaluate import metrics
from hare_jax.space import action_space, allows, along, bounds, is_category, is_held, project, relax, snap

NUM, NUM_WISHES = 300, 8
FRACTIONS = np.linspace(0, 1, 21)


@pytest.fixture(scope="module")
def spaces():
    return random_spaces(0, NUM)


@pytest.fixture(scope="module")
def rows():
    return random_rows(1, NUM)


@pytest.fixture(scope="module")
def wishes():
    """Wishes inside and far outside the bounds, some equal to each other, some NaN: (NUM, NUM_WISHES, d)."""
    rng = np.random.default_rng(2)
    wishes = rng.uniform(-0.5, 1.5, (NUM, NUM_WISHES, WIDTH))
    wishes[:, 1] = np.round(wishes[:, 1])  # ties in the group
    wishes[:, 2] *= 100
    wishes[:, 3][rng.random((NUM, WIDTH)) < 0.3] = np.nan
    return array(wishes)


def answers_row(space, x, wishes):
    """Everything that is said of the wishes of one person."""

    def one(wish):
        point = project(space, x, wish)
        path = jax.vmap(partial(along, space, x, point))(jnp.asarray(FRACTIONS, x.dtype))
        return {
            "point": point,
            "again": project(space, x, point),
            "allowed": allows(space, x, point),
            "kept": metrics.feasible(x, point, space),
            "relaxed": relax(space, x, wish),
            "snapped": snap(space, x, wish),
            "path": path,
            "path_allowed": jax.vmap(partial(allows, space, x))(path),
            "path_kept": jax.vmap(lambda step: metrics.feasible(x, step, space).all)(path),
        }

    return jax.vmap(one)(wishes), allows(space, x, x), bounds(space, x)


@pytest.fixture(scope="module")
def answers(spaces, rows, wishes):
    return jax.device_get(jax.jit(jax.vmap(answers_row))(spaces, rows, wishes))


def test_project_is_allowed(answers):
    wished, *_ = answers
    assert wished["allowed"].all()
    for name, rule in wished["kept"]._asdict().items():
        assert rule.all(), name


def test_project_is_idempotent(answers):
    wished, *_ = answers
    np.testing.assert_allclose(wished["again"], wished["point"], rtol=0, atol=1e-6)


def test_the_factual_is_always_allowed(answers):
    _, allowed, (lower, upper) = answers
    assert allowed.all()
    assert np.all(lower <= upper)


def test_immutables_are_equal_to_the_last_bit(answers, spaces, rows):
    wished, *_ = answers
    fixed = ~spaces.mutable
    for name in ("point", "snapped", "relaxed"):
        for wish in range(NUM_WISHES):
            assert wished[name][:, wish][fixed].tobytes() == rows[fixed].tobytes()
    assert np.all(wished["path"] == rows[:, None, None], where=fixed[:, None, None])


def test_nan_is_no_wish(answers, rows, wishes):
    wished, *_ = answers
    ungrouped = np.isnan(wishes[:, 3]) & (np.arange(WIDTH) < 6)
    assert ungrouped.sum() > 100
    np.testing.assert_array_equal(wished["point"][:, 3][ungrouped], rows[ungrouped])
    assert not np.isnan(wished["relaxed"]).any()


def test_snap_is_project(answers):
    wished, *_ = answers
    # the difference of two numbers is added back to the smaller: exact to their own rounding
    scale = np.maximum(1, np.abs(wished["relaxed"]))
    assert np.all(np.abs(wished["snapped"] - wished["point"]) <= 1e-6 * scale)


def test_along_is_allowed_all_the_way(answers):
    wished, *_ = answers
    assert wished["path_allowed"].all()
    assert wished["path_kept"].all()


def test_along_starts_at_the_factual_and_ends_at_the_recourse(answers, rows):
    wished, *_ = answers
    np.testing.assert_array_equal(wished["path"][:, :, 0], np.broadcast_to(rows[:, None], wished["point"].shape))
    np.testing.assert_array_equal(wished["path"][:, :, -1], wished["point"])


def test_along_never_turns_back(answers, rows):
    wished, *_ = answers
    way = np.abs(wished["path"] - rows[:, None, None])
    assert np.all(np.diff(way, axis=2) >= 0)
    half = FRACTIONS.tolist().index(0.5)
    np.testing.assert_allclose(
        wished["path"][:, :, half, :3], (rows[:, None, :3] + wished["point"][:, :, :3]) / 2, rtol=1e-6, atol=1e-6
    )


def test_the_derivative_of_along_in_the_fraction_is_the_change_of_the_continuous_columns(spaces, rows, wishes):
    """At 1 too, where the value is the recourse itself; ordered columns and categories have none."""

    def one(space, x, wish):
        x_cf = project(space, x, wish)
        slope = jax.jacfwd(partial(along, space, x, x_cf))
        ends = jax.jacrev(lambda x, x_cf: along(space, x, x_cf, jnp.ones((), x.dtype)), argnums=(0, 1))(x, x_cf)
        at_one = along(space, x, x_cf, jnp.ones((), x.dtype))
        return x_cf, at_one, jax.vmap(slope)(jnp.array([0.3, 1.0], x.dtype)), ends

    x_cf, at_one, slopes, (by_x, by_x_cf) = jax.device_get(jit(jax.vmap(one))(spaces, rows, wishes[:, 0]))
    assert at_one.tobytes() == x_cf.tobytes()
    expected = np.where(spaces.step == 0, x_cf - rows, 0)
    np.testing.assert_allclose(slopes, np.stack([expected] * 2, axis=1), rtol=1e-5, atol=1e-6)
    assert not by_x.any()
    np.testing.assert_array_equal(by_x_cf, np.broadcast_to(np.eye(WIDTH), by_x_cf.shape))


def test_is_held_where_a_category_changes_or_a_column_reaches_its_bound():
    cases = [  # lower, upper, direction, step, x, x_cf, whether it is held
        (0, 1, 0, 0, 0.2, 0.7, False),
        (0, 1, 0, 0, 0.2, 1, True),
        (0, 1, 0, 0, 0.2, np.nextafter(np.float32(1), np.float32(0)), True),  # rounding
        (0, 1, 0, 0, 0.2, 0.999, False),
        (0, 1, 0, 0, 0.2, 0, True),
        (0, 1, 0, 0, 1, 1, False),  # at the bound, but unchanged
        (0, 1, 0, 0, 1.5, 1.2, False),  # a factual outside of the bounds
        (0, 1, -1, 0, 1.5, 0, True),
        (0, np.inf, 1, 0, 0.5, 9, False),
        (0, 1, 0, 0.25, 0.25, 0.5, False),
        (0, 1, 0, 0.25, 0.25, 1, True),
        (0, 1, 0, 1, 0, 1, True),
        (0, 1, 0, 1, 1, 1, False),
    ]
    lower, upper, direction, step, x, x_cf, expected = (list(values) for values in zip(*cases, strict=True))
    space = action_space([True] * len(cases), lower, upper, direction, step=step)
    assert jit(is_held)(space, array(x), array(x_cf)).tolist() == expected


def test_is_held_for_the_levels_that_change():
    space = action_space([True] * 4, [0] * 4, [1] * 4, group=[0, 0, 0, -1])
    held = jit(is_held)(space, array([1.0, 0, 0, 0.5]), array([0.0, 0, 1, 0.5]))
    assert held.tolist() == [True, False, True, False]


def test_is_held_only_in_columns_that_change(spaces, rows, answers):
    points = answers[0]["point"]
    held = jit(jax.vmap(jax.vmap(is_held, in_axes=(None, None, 0))))(spaces, rows, points)
    changed, category = points != rows[:, None], jax.device_get(jax.vmap(is_category)(spaces))[:, None]
    assert not np.any(held & ~changed)
    assert np.all(held | ~(changed & category))
    assert 0.1 < np.mean(np.asarray(held)[changed & ~category]) < 0.9


def test_project_is_the_nearest_of_a_grid():
    """Against every allowed point of a grid over a continuous, an ordered and a binary column and a group of three."""
    rng = np.random.default_rng(3)
    num, grid = 40, np.linspace(-0.5, 1.5, 17)
    steps = 0.3 * np.arange(-6, 7)
    nearest = jit(nearest_row)
    distances = []
    for _ in range(num):
        space = action_space(
            mutable=[True, rng.random() < 0.8, True, True, True, True],
            lower=[rng.uniform(0, 0.4), rng.uniform(0, 0.4), 0, 0, 0, 0],
            upper=[rng.uniform(0.6, 1), rng.uniform(0.6, 1), 1, *rng.integers(2, size=3)],
            direction=[*rng.integers(-1, 2, size=3), 0, 0, 0],
            group=[-1, -1, -1, 0, 0, 0],
            step=[0, 0.3, 1, 1, 1, 1],
        )
        x = np.array([*rng.uniform(-0.2, 1.2, 2), rng.integers(2), *np.eye(3)[rng.integers(3)]])
        ends = [space.lower[0], space.upper[0], x[0]]
        levels = [[*grid, *ends], x[1] + steps, [0, 1], np.eye(3)]
        points = np.array([np.hstack(point) for point in product(*levels)])
        distances.append(nearest(space, array(x), array(rng.uniform(-0.5, 1.5, (5, 6))), array(points)))
    ours, best = np.array(distances).transpose(1, 0, 2).reshape(2, -1)
    assert np.isfinite(best).all()
    assert np.all(ours <= best + 1e-5)
    assert np.all(ours >= best - 0.125)  # half of the grid's width: the grid is not far off either


def nearest_row(space, x, wishes, points):
    kept = jax.vmap(lambda point: metrics.feasible(x, point, space).all)(points)

    def one(wish):
        distance = jnp.linalg.norm(points - wish[None, :], axis=1)
        return jnp.linalg.norm(project(space, x, wish) - wish), jnp.min(jnp.where(kept, distance, jnp.inf))

    return jax.vmap(one)(wishes)


def test_snap_has_the_gradient_of_relax(spaces, rows, wishes):
    pull = array(np.random.default_rng(4).normal(size=(NUM, WIDTH)))

    def slopes(space, x, wish, pull):
        def slope(fn):
            return jax.grad(lambda x, wish: jnp.sum(pull * fn(space, x, wish)), argnums=(0, 1))(x, wish)

        return slope(snap), slope(relax)

    snapped, relaxed = jit(jax.vmap(slopes))(spaces, rows, wishes[:, 0], pull)
    np.testing.assert_allclose(snapped, relaxed, rtol=1e-6, atol=1e-6)
    inside = (np.asarray(relaxed[1]) != 0) & (np.arange(WIDTH) >= 3)
    assert inside.sum() > 300  # columns that project rounds, and whose own gradient would be 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_under_x64(dtype):
    with jax.enable_x64(True):
        space = row(random_spaces(5, 1), 0)
        assert space.lower.dtype == "float64"
        rng = np.random.default_rng(6)
        x, wishes = random_rows(6, 1)[0].astype(dtype), rng.uniform(-0.5, 1.5, (NUM_WISHES, WIDTH)).astype(dtype)
        wished, allowed, ends = jax.device_get(jit(answers_row)(space, x, wishes))
        for name in ("point", "again", "relaxed", "snapped", "path"):
            assert wished[name].dtype == dtype, name
        assert ends[0].dtype == ends[1].dtype == dtype
        assert allowed.all()
        assert wished["allowed"].all()
        assert wished["path_allowed"].all()
        assert wished["path_kept"].all()
        assert wished["kept"].all.all()


def test_action_space_fills_in():
    space = action_space(mutable=[True, True, True], lower=[0, 0, -np.inf], upper=[1, 1, np.inf], group=[4, 4, -1])
    assert space.mutable.dtype == bool
    assert space.lower.dtype == space.upper.dtype == space.step.dtype == jnp.zeros(0).dtype
    assert (space.direction.dtype, space.group.dtype) == ("int8", "int32")
    assert (space.direction.tolist(), space.group.tolist(), space.step.tolist()) == ([0] * 3, [4, 4, -1], [1, 1, 0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"mutable": True}, r"mutable: must have shape \(d,\); got \(\)"),
        ({"mutable": [[True] * 3]}, r"mutable: must have shape \(d,\); got \(1, 3\)"),
        ({"mutable": [1, 0, 1]}, r"mutable: must be boolean; got 'int64'"),
        ({"lower": [0, 0]}, r"lower: must have shape \(3,\), as mutable has; got \(2,\)"),
        ({"upper": 1}, r"upper: must have shape \(3,\), as mutable has; got \(\)"),
        ({"direction": [0] * 4}, r"direction: must have shape \(3,\), as mutable has; got \(4,\)"),
        ({"group": [[-1] * 3]}, r"group: must have shape \(3,\), as mutable has; got \(1, 3\)"),
        ({"step": []}, r"step: must have shape \(3,\), as mutable has; got \(0,\)"),
        ({"lower": [0, np.nan, 0]}, r"lower: must not be NaN; got \[0.0, nan, 0.0\]"),
        ({"upper": [1, 1, np.nan]}, r"upper: must not be NaN"),
        ({"step": [np.nan, 0, 0]}, r"step: must not be NaN"),
        ({"lower": [0, 0, 2]}, r"lower: must not exceed upper; got \(\[0.0, 0.0, 2.0\], \[1.0, 1.0, 1.0\]\)"),
        ({"direction": [0, 2, 0]}, r"direction: must be -1, 0 or \+1; got \[0.0, 2.0, 0.0\]"),
        ({"direction": [0.5, 0, 0]}, r"direction: must be -1, 0 or \+1"),
        ({"step": [0, -0.1, 0]}, r"step: must be finite and not negative; got \[0.0, -0.1, 0.0\]"),
        ({"step": [0, np.inf, 0]}, r"step: must be finite and not negative"),
        ({"group": [0.5, -1, -1]}, r"group: must hold whole numbers; got \[0.5, -1.0, -1.0\]"),
        ({"group": [2, -1, -1]}, r"group 2: must have at least two columns .*; got 1"),
        (
            {"group": [7, 7, 7], "mutable": [True, False, True]},
            r"group 7: must be mutable in all its columns or in none",
        ),
        ({"group": [0, 0, -1], "direction": [0, 1, 0]}, r"group 0: must have direction 0"),
        ({"group": [0, 0, -1], "lower": [0, 0.5, 0]}, r"group 0: must have lower bounds of 0"),
        ({"group": [0, 0, -1], "upper": [0.5, 1, 1]}, r"group 0: must have upper bounds of 0 or 1"),
    ],
)
def test_action_space_errors(columns, message):
    with pytest.raises(ValueError, match=message):
        action_space(**{"mutable": [True] * 3, "lower": [0] * 3, "upper": [1] * 3, **columns})
