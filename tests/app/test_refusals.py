import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax.tree_util import Partial

from hare_jax import data, models, recourse
from hare_jax.app.auditing import refusals
from hare_jax.evaluate.audit import audit
from hare_jax.recourse.price import price, stricter
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import action_space

WEIGHT = 4.0
NUM_TRAINED = 4000  # rows of a data set, at most
X = jnp.array([[0.1, 0.3], [0.3, 0.9], [0.9, 0.2], [0.2, 0.0]])
SPACE = action_space(mutable=[True, False], lower=[0.0, 0.0], upper=[0.8, 1.0])


@pytest.fixture(scope="module")
def logit_fn():
    """It accepts where `4 x_0 + x_1` is at least 3.2, which the last row can't reach."""
    return models.classifier(models.from_layers([([[WEIGHT, 1.0]], [-3.2])]))


def bound(name, logit_fn, **hyperparameters):
    return recourse.bind(name, jax.random.key(0), logit_fn, X, SPACE, **hyperparameters)


@pytest.mark.parametrize("name", ["exact", pytest.param("growing_spheres", marks=pytest.mark.slow)])
def test_results_of_a_linear_classifier(logit_fn, name):
    found = refusals.results(bound(name, logit_fn), jax.random.key(1), logit_fn, X, SPACE)
    assert found.refused.tolist() == [True, True, False, True]
    assert found.found.tolist() == [True, True, False, False]
    assert found.proved_none.tolist() == [False, False, False, True]
    costs = (3.2 + MARGIN - X[:2, 1]) / WEIGHT - X[:2, 0]
    np.testing.assert_allclose(found.cost[:2], costs, atol=1e-4)
    np.testing.assert_allclose(found.price[:2], 1 / WEIGHT, rtol=1e-4)
    assert np.isnan(found.cost[2:]).all()
    assert np.isnan(found.price[2:]).all()


@pytest.mark.slow
def test_of_a_black_box_nothing_is_proved_and_the_price_is_a_difference(logit_fn):
    def accepts(rows):
        return 1 / (1 + np.exp(3.2 - WEIGHT * rows[:, 0] - rows[:, 1]))

    host_fn = models.black_box(accepts)
    found = refusals.results(bound("growing_spheres", host_fn), jax.random.key(1), host_fn, X, SPACE)
    assert found.proved_none is None
    np.testing.assert_allclose(found.price[:2], 1 / WEIGHT, rtol=1e-2)
    assert found.found.tolist() == [True, True, False, False]


def test_where_nobody_is_refused_nothing_is_computed():
    def never(*args):
        raise AssertionError

    logit_fn = Partial(lambda x: x[0] + 1)
    found = refusals.results(never, jax.random.key(0), logit_fn, X, SPACE, prices=False)
    assert (found.proved_none, found.price) == (None, None)
    assert not found.refused.any()


def test_stricter_takes_logits_away_and_keeps_a_classifier(logit_fn):
    for one in (logit_fn, Partial(logit_fn)):
        np.testing.assert_allclose(stricter(one, jnp.asarray(0.5))(X[0]), logit_fn(X[0]) - 0.5, rtol=1e-6)
    assert isinstance(stricter(logit_fn, jnp.asarray(0.5)), models.Classifier)


@pytest.mark.slow
def test_a_recourse_by_a_category_has_no_slope(logit_fn):
    space = action_space([True, False], [0.0, 0.0], [1.0, 1.0], step=[1.0, 0.0])
    found = price(bound("growing_spheres", logit_fn), jax.random.key(0), logit_fn, jnp.array([0.0, 0.3]), space)
    assert found.recourse.x.tolist() == pytest.approx([1.0, 0.3])
    assert (float(found.price), bool(found.known)) == (0, True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"key": 1}, "key: "), ({"x": X[0]}, "x: "), ({"generate": "wachter"}, "generate: must be a method")],
)
def test_wrong_uses(logit_fn, changed, message):
    given = {"generate": bound("growing_spheres", logit_fn), "key": jax.random.key(0), "x": X} | changed
    with pytest.raises(ValueError, match=message):
        refusals.results(given["generate"], given["key"], logit_fn, given["x"], SPACE)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "by", "num"), [("mortgage", ["sex", "race"], 497), ("adult", ["sex", "race"], 300)])
def test_the_figures_of_a_data_set_are_those_of_pandas(name, by, num):
    try:
        table, test = data.load(name), data.read(name)[1].head(num)
    except (ImportError, OSError) as error:
        pytest.skip(f"{name}: {error}")
    key, x = jax.random.key(1), table.encode(test)
    x_train, y_train = table.x_train[:NUM_TRAINED], table.y_train[:NUM_TRAINED]
    params = models.fit(models.balanced(y_train, models.PAPER), key, x_train, y_train)
    logit_fn = models.classifier(params)
    generate = recourse.bind("nnce", key, logit_fn, table.x_train, table.space)  # it compiles fast
    results = refusals.results(generate, key, logit_fn, x, table.space, prices=False)
    test = test[by].fillna("missing").astype(str).reset_index(drop=True)
    rows = {(row.figure, row.group): row for row in audit({one: test[one] for one in by}, results)}
    frame = test.assign(
        logit=np.asarray(jax.vmap(logit_fn)(x), float), found=results.found, cost=results.cost.astype(float)
    )
    refused = frame[frame.logit < 0]
    for names in (by[:1], by[1:], by):
        by_hand = pd.DataFrame(
            {
                "refused": frame.groupby(names).logit.agg(lambda logit: (logit < 0).to_numpy(float).mean()),
                "no_recourse": 1 - refused.groupby(names).found.mean(),
                "mean_cost": refused[refused.found].groupby(names).cost.mean(),
                "median_cost": refused[refused.found].groupby(names).cost.median(),
            }
        )
        for values, figures in by_hand.iterrows():
            values = values if isinstance(values, tuple) else (values,)
            group = ", ".join(f"{one}={value}" for one, value in zip(names, values, strict=True))
            for figure, expected in figures.items():
                np.testing.assert_allclose(
                    rows[figure, group].estimate, expected, rtol=1e-9, err_msg=f"{figure} {group}"
                )
    assert results.found[results.refused].mean() > 0.9
