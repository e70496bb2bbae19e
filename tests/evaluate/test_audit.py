import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hare_jax.evaluate.audit import FIGURES, Results, audit, groups
from hare_jax.evaluate.intervals import difference, mean_of, median_of, p_value

NUM = 400


@pytest.fixture(scope="module")
def made():
    """Attributes and results, and both as a DataFrame."""
    rng = np.random.default_rng(0)
    attributes = {"sex": rng.choice(["f", "m"], NUM), "race": rng.choice(["a", "b", "c"], NUM, p=[0.6, 0.38, 0.02])}
    refused = rng.random(NUM) < 0.3 + 0.3 * (attributes["sex"] == "f")
    found = rng.random(NUM) < 0.9
    cost = np.where(refused & found, rng.gamma(2, size=NUM), np.nan)
    price = np.where(rng.random(NUM) < 0.95, rng.exponential(size=NUM), np.nan)
    results = Results(refused, found, cost, refused & ~found & (rng.random(NUM) < 0.5), price)
    return attributes, results, pd.DataFrame({**attributes, **results._asdict()})


def masks(frame):
    """The groups of the made rows by name, from the DataFrame."""
    found = {"all": np.ones(NUM, bool)}
    for names in (["sex"], ["race"], ["sex", "race"]):
        for values, rows in frame.groupby(names):
            found[", ".join(f"{n}={v}" for n, v in zip(names, values, strict=True))] = frame.index.isin(rows.index)
    return found


def test_figures_are_those_of_pandas(made):
    attributes, results, frame = made
    rows = {(row.figure, row.group): row for row in audit(attributes, results)}
    refused = frame[frame.refused]
    costs = refused[refused.found]
    by_hand = {
        "refused": frame.refused,
        "no_recourse": ~refused.found,
        "proved_none": refused.proved_none,
        "mean_cost": costs.cost,
        "median_cost": costs.cost,
        "mean_price": costs.price.dropna(),
    }
    assert set(by_hand) == set(FIGURES)
    for group, mask in masks(frame).items():
        for name, column in by_hand.items():
            inside, outside = column[mask[column.index]], column[~mask[column.index]]
            row, estimate = rows[name, group], (lambda one, name=name: one.median() if "median" in name else one.mean())
            assert (row.n, row.num_rest) == (len(inside), len(outside))
            np.testing.assert_allclose(row.estimate, estimate(inside), rtol=1e-12)
            np.testing.assert_allclose(row.rest, estimate(outside), rtol=1e-12)
            np.testing.assert_allclose(row.difference, estimate(inside) - estimate(outside), atol=1e-12)
            if name in ("refused", "no_recourse", "proved_none") and len(inside):
                interval = stats.binomtest(int(inside.sum()), len(inside)).proportion_ci(method="wilson")
                np.testing.assert_allclose((row.low, row.high), interval, atol=1e-12)


def test_intervals_and_tests_are_those_of_the_samples(made):
    attributes, results, frame = made
    rows = {(row.figure, row.group): row for row in audit(attributes, results)}
    costs = frame[frame.refused & frame.found]
    women, men = (costs.cost[costs.sex == sex].to_numpy() for sex in ("f", "m"))
    for name, sample in (("mean_cost", mean_of), ("median_cost", median_of)):
        row, one, other = rows[name, "sex=f"], sample(women), sample(men)
        assert (row.low, row.high) == one.interval(0.95)
        assert (row.difference_low, row.difference_high) == difference(one, other, 0.95)
        assert row.p_value >= p_value(one, other)
        assert row.p_value == rows[name, "sex=m"].p_value


def test_p_values_are_adjusted_over_the_distinct_splits_of_a_figure():
    rng = np.random.default_rng(1)
    refused = rng.random(200) < 0.4
    results = Results(refused, refused, np.ones(200))
    sex, job = rng.choice(["f", "m"], 200), rng.choice(["x", "y"], 200)
    alone = {row.group: row for row in audit({"sex": sex}, results) if row.figure == "refused"}
    both = {row.group: row for row in audit({"sex": sex, "copy": sex}, results) if row.figure == "refused"}
    assert both["sex=f"].p_value == alone["sex=f"].p_value  # the same split twice is one test
    more = {row.group: row for row in audit({"sex": sex, "job": job}, results) if row.figure == "refused"}
    assert more["sex=f"].p_value >= alone["sex=f"].p_value
    assert len(more) == 1 + 2 + 2 + 4


def test_small_groups_are_shown_and_not_tested(made):
    attributes, results, _ = made
    rows = {(row.figure, row.group): row for row in audit(attributes, results)}
    few = rows["mean_cost", "race=c"]
    assert 0 < few.n < 10
    assert few.too_small
    assert np.isfinite(few.estimate)
    assert np.isnan([few.low, few.difference_low, few.p_value]).all()
    share = rows["no_recourse", "race=c"]
    assert share.too_small
    assert 0 <= share.low <= share.high <= 1
    assert np.isnan(share.p_value)
    assert not rows["refused", "all"].too_small


def test_what_is_not_known_is_left_out_and_nobody_refused_is_no_error():
    results = Results(np.zeros(30, bool), np.zeros(30, bool), np.full(30, np.nan))
    rows = audit({"sex": ["f", "m"] * 15}, results)
    assert [name for name in FIGURES if name not in {row.figure for row in rows}] == ["proved_none", "mean_price"]
    assert all(row.n == 0 and np.isnan(row.estimate) for row in rows if row.figure != "refused")


def test_groups_of_equal_costs_do_not_differ():
    everyone = np.ones(46, bool)
    results = Results(everyone, everyone, np.full(46, 0.3), price=np.full(46, 0.1, np.float32))
    for row in audit({"sex": ["f"] * 10 + ["m"] * 36}, results):
        assert row.group == "all" or (row.difference, row.p_value) == (0, 1)


def test_groups_hold_each_row_once_an_attribute():
    found = groups({"a": [1, 2, 2], "b": ["x", "x", "y"]})
    assert [group.name for group in found] == ["a=1", "a=2", "b=x", "b=y", "a=1, b=x", "a=2, b=x", "a=2, b=y"]
    assert np.sum([group.mask for group in found[-3:]], axis=0).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"attributes": {}}, "attributes: must name one or more"),
        ({"attributes": {"sex": ["f"]}}, r"sex: must have one value for each of the 400 rows; got \(1,\)"),
        ({"results": None}, "results: must be Results"),
        ({"level": 1.0}, "level: must be above 0 and below 1"),
        ({"smallest": 2}, "smallest: must be at least 3"),
    ],
)
def test_wrong_uses(made, changed, message):
    given = {"attributes": made[0], "results": made[1]} | changed
    with pytest.raises(ValueError, match=message):
        audit(given.pop("attributes"), given.pop("results"), **given)


def test_results_are_checked(made):
    attributes, results, _ = made
    with pytest.raises(ValueError, match="refused: must be boolean"):
        audit(attributes, results._replace(refused=results.refused.astype(float)))
    with pytest.raises(ValueError, match="cost: must be finite where there is a recourse"):
        audit(attributes, results._replace(cost=np.full(NUM, np.nan)))
