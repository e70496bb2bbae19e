import math
from dataclasses import asdict, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax.tree_util import Partial

from benchmarks import compact, noise
from benchmarks.commands import main
from benchmarks.experiments import answering, arms, cases, groups, observer, rate, sessions
from benchmarks.original import paper
from benchmarks.pages import questions as page
from benchmarks.pages import questions_tables
from benchmarks.store import Store
from hare_jax import elicit, people
from hare_jax.base import Recourse
from hare_jax.evaluate import simulate

CHOICE = cases.Choice(cases.PEOPLE, cases.IDEALS, None, ("multi", "bayes_set3", arms.OBSERVER), (1,), 4)
D, USERS = 3, 4


def keys_of(specs):
    return [(spec.person, spec.ideal, spec.noise, spec.arm) for spec in specs]


def test_the_default_cases():
    found = dict.fromkeys(key[:3] for key in keys_of(cases.specs("adult", CHOICE)))
    assert tuple(found) == questions_tables.MAIN


def test_an_ideal_is_varied_only_for_people_drawn_from_one():
    found = keys_of(cases.specs("adult", CHOICE._replace(ideal=("near", "far"), noise=("0.2",), arms=("multi",))))
    assert found == [
        ("ideal", "near", "0.2", "multi"),
        ("ideal", "far", "0.2", "multi"),
        ("weights", "far", "0.2", "multi"),
    ]


def test_all_stands_for_every_kind_of_person():
    found = keys_of(cases.specs("adult", CHOICE._replace(people=("all",), noise=("0",), arms=("multi",))))
    assert [key[0] for key in found] == list(people.PERSONS)


def test_arms_are_left_out_where_they_have_no_meaning():
    found = {key[3] for key in keys_of(cases.specs("adult", CHOICE._replace(noise=("logistic",))))}
    assert found == {"multi"}
    found = {key[3] for key in keys_of(cases.specs("adult", CHOICE._replace(people=("weights",), noise=("0",))))}
    assert found == {"multi", "bayes_set3"}
    with pytest.raises(ValueError, match="arms: must hold one that applies"):
        cases.specs("adult", CHOICE._replace(people=("weights",), arms=(arms.OBSERVER,)))


def test_names_of_noise(monkeypatch):
    assert noise.parse("0.25").flip == 0.25
    assert noise.parse("logistic").logistic
    assert [noise.label(name) for name in ("0", "0.05", "logistic", "tie:0.3")] == [
        "",
        "5 % flipped",
        "logistic",
        "tie:0.3",
    ]
    assert sorted(["tie:0.3", "0.2", "logistic", "0"], key=noise.order) == ["0", "0.2", "logistic", "tie:0.3"]
    monkeypatch.setitem(noise._FIELDS, "bt", "no_such_field")
    with pytest.raises(ValueError, match=r"noise: bt: needs the field 'no_such_field' of people.Noise"):
        noise.parse("bt:0.5")
    with pytest.raises(ValueError, match="noise: must be above 0 after tie:"):
        noise.parse("tie:0")


def test_the_observer_finds_the_ideal_and_stays_at_the_truth_on_average():
    num, steps = 64, 12
    x = jax.random.uniform(jax.random.key(0), (USERS, num, D))
    given = observer.Candidates(x, jnp.ones((USERS, num), bool), jnp.arange(USERS))
    found = observer.elicit_all(given, jax.random.key(1), 0.0, num=steps)
    true = jnp.take_along_axis(x, jnp.arange(USERS)[:, None, None], axis=1)
    distance = jnp.linalg.norm(found.recourse.x - true, axis=2)
    assert found.recourse.valid.all()
    assert jnp.all(distance[:, -1] == 0)
    assert jnp.mean(distance[:, 0]) > 0.1
    coin = observer.elicit_all(given, jax.random.key(1), 0.5, num=steps)
    assert len({tuple(user) for user in np.asarray(coin.recourse.x.reshape(USERS, -1))}) == USERS
    assert jnp.all(coin.recourse.x == coin.recourse.x[:, :1])  # coin answers change nothing


def test_the_rate_bound_of_two_points_is_the_binary_one():
    """Hamming distortion of a fair bit: R(D) = 1 - H(D)."""
    found = rate.tangents(np.array([[0.0, 1.0], [1.0, 0.0]]))
    for distance in (0.05, 0.1, 0.25):
        bits = np.array([rate.bits_per_answer(distance)])
        assert rate.least_distance(found, bits)[0] == pytest.approx(distance, abs=2e-3)


def test_the_rate_bound_falls_to_zero_at_the_entropy_of_the_prior():
    points = np.random.default_rng(0).normal(size=(64, 3))
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    bound = rate.least_distance(rate.tangents(distance), np.arange(8.0))
    assert np.all(np.diff(bound) <= 0)
    assert bound[0] <= distance.mean(axis=1).min() + 1e-5
    assert bound[5] > 0.01
    assert bound[6:] == pytest.approx(0, abs=1e-3)
    np.testing.assert_allclose(observer.distances(jnp.asarray(points, jnp.float32)), distance, atol=2e-3)


def test_losses_by_group():
    members = {f"{groups.PREFIX}sex={name}": np.array([name == "F", name != "F", True]) for name in ("F", "M")}
    row = groups.means(members, jnp.array([1.0, 2.0, 4.0]), jnp.array([True, False, True]))
    assert row == {
        "loss in sex=F": 2.5,
        "loss in sex=F_sd": pytest.approx(1.5 * math.sqrt(2)),
        "loss in sex=F_n": 2,
        "loss in sex=M": 4.0,
        "loss in sex=M_sd": None,
        "loss in sex=M_n": 1,
    }


def problem():
    logit_fn, space = Partial(jnp.dot, jnp.ones(D)), paper.box_space(jnp.ones(D, bool))
    x = jnp.tile(jnp.array([-0.5, -0.2, 0.1]), (USERS, 1))
    users = simulate.draw_all(people.Population(distance=1.0), jax.random.key(0), logit_fn, x, space)
    base = Recourse(x + 0.4, jnp.ones(USERS, bool))
    return logit_fn, x, users, base, space


@pytest.mark.slow
@pytest.mark.parametrize("person", ["ideal", "weights"])
def test_a_session_is_that_of_the_elicitor_for_every_kind(person):
    logit_fn, x, users, base, space = problem()
    hidden = {kind: user.hidden for kind, user in users.items()}
    keys = jax.random.split(jax.random.key(2), (USERS, 2))
    arm, elicitor, flips = arms.table()["multi"], elicit.bind("multi", budget=6, per_round=3), people.Noise(flip=0.2)
    found = sessions.elicit_all(
        elicitor, answering.position(person, hidden), flips, keys, logit_fn, x, hidden, base, space, arm=arm, num=6
    )
    read = lambda elicitor, key, state, trace, user: trace  # noqa: E731
    trace = simulate.elicit_all(elicitor, person, flips, keys[:, 0], logit_fn, x, users, base, space, read=read)
    np.testing.assert_allclose(found.recourse.x, trace.x, atol=1e-6)
    np.testing.assert_array_equal(found.asked, trace.asked)


def test_elicitors_with_fewer_seeds_than_others_are_named():
    case = {"dataset": "adult", "person": "ideal", "ideal": "far", "noise": "0"}
    rows = [case | {"arm": arm, "seed": seed} for arm, num in (("bayes", 3), ("pear", 2)) for seed in range(num)]
    rows += [case | {"dataset": "heloc", "arm": "pear", "seed": seed} for seed in range(9)]
    frame = pd.DataFrame(rows).astype({"ideal": "category"})
    assert "fewer seeds: pear 2 of 3." in page._seeds(frame)[0]
    assert page._seeds(frame[3:]) == []


@pytest.mark.slow
def test_questions_that_are_not_asked_do_not_count():
    asked = jnp.array([False, True, False, True, True])
    trace = elicit.Trace(jnp.arange(5.0)[:, None], jnp.ones(5, bool), asked)
    found = sessions._counted(arms.table()["multi_answered"], trace, Recourse(jnp.zeros(1), jnp.array(True)), 4, None)
    assert found.recourse.x[:, 0].tolist() == [1, 3, 4, 4]
    assert found.asked.tolist() == [True, True, True, False]


@pytest.mark.slow
def test_beliefs_are_those_of_the_elicitor():
    logit_fn, x, users, base, space = (jax.tree.map(lambda leaf: leaf, part) for part in problem())
    elicitor = elicit.bind("bayes", budget=5)
    prefers = people.prefers("ideal", users["ideal"].hidden[0])
    row = Recourse(base.x[0], base.valid[0])
    state, _ = elicit.session(elicitor, prefers, jax.random.key(3), logit_fn, x[0], row, space)
    found = sessions._believed(state, jax.random.key(4), users["ideal"].hidden[0])
    expected = elicit.expected_distance(state, jax.random.key(4))
    region = elicit.ideal_region(state, jax.random.key(4))
    assert found.expected_distance == pytest.approx(float(expected), rel=1e-5)
    assert bool(found.in_region) == bool(elicit.bayesian.region.inside(region, users["ideal"].hidden[0]))


def test_the_page_has_a_table_for_each_question(tmp_path):
    spec = replace(cases.specs("adult", CHOICE)[0], users=4)
    kept = Store(tmp_path)
    base = {"loss_sd": 0.1, "loss_n": 4, "l2": 1.0, "l2_sd": 0.1, "l2_n": 4, "digest": "x", "base_regret": 0.5}
    base |= {"in_region": 0.75, "expected_distance": 0.3, "true_distance": 0.2, "best_known": 0.0}
    base |= {"loss in sex=Female": 0.2, "loss in sex=Female_sd": 0.1, "loss in sex=Female_n": 4, "harmed": 0.25}
    for arm in ("multi", "bayes", arms.OBSERVER):
        for budget in (10, 20, 30):
            figures = {"loss": 1 / budget, "regret": 1 / budget, "questions": budget, "rate_bound": 0.01}
            kept.append(asdict(replace(spec, arm=arm, budget=budget)) | base | figures)
    others = {"in_region": 0.25, "true_distance": 0.6}  # of another rate, and of coin tosses, which count for nothing
    for flips, figures in (("0.1", base | others), ("0.5", base | {"in_region": 0.0})):
        kept.append(asdict(replace(spec, arm="bayes", budget=10, noise=flips)) | figures | {"loss": 1.0, "regret": 1.0})
    text = page.write(tmp_path, 4).read_text()
    lines = text.splitlines()
    assert "| adult | ideal | observer |  |  |  |  | 0.100 | 0.050 | 0.033 | 30.0 |" in lines
    assert "| adult | ideal | rate bound |  |  |  |  | 0.010 | 0.010 | 0.010 |  |" in lines
    assert "| ideal | adult | 0.20 0.10 0.07 | 0.20 0.10 0.07 | 0.20 0.10 0.07 |" in lines
    assert "| ideal | adult | 25 25 | 25 25 | 25 25 |" in lines
    for name in ("adult", "all"):
        assert f"| {name} | bayes | 2 | - 50 75 75 | - 0.75 1.50 1.50 |" in lines
    assert "| adult | bayes | 10 | 0.200 +- 0.159 (4) |" in lines
    assert "k bits" not in text


def test_the_committed_rows_can_be_shown(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.pages.questions_plot.pyplot", lambda: None)
    results = Path(page.__file__).parent.parent / "results" / "questions.csv"
    committed = [row for row in compact.read(results) if row["dataset"] == "adult" and row["seed"] == 201]
    kept = Store(tmp_path)
    for row in committed[:60]:
        kept.append(row)
    assert "## Regret left" in page.write(tmp_path, 100).read_text()


def test_a_failed_case_is_one_line_and_status_1(monkeypatch, tmp_path, capsys):
    def failing(missing, kinds):
        return ((spec, "ValueError: out of luck") for spec in missing)

    monkeypatch.setattr("benchmarks.experiments.questions._outcomes", failing)
    narrow = ["--datasets", "mortgage", "--arms", "multi", "--people", "weights", "--seeds", "1", "--users", "4"]
    assert main(["questions", *narrow, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "failed: {'table': 'questions'" in error
    assert "out of luck" in error
    assert "Traceback" not in error
