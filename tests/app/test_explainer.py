"""`Explainer` on a small table: what comes back is the model's, in original units, on the index given."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from related import WIDTH, related_space

import hare_jax
from hare_jax import data, models
from hare_jax.app.explainer import plot, saving, search
from hare_jax.recourse.growing_spheres import GrowingSpheres
from tests import loans
from tests.loans import FEATURES, schema

pytestmark = pytest.mark.usefixtures("quick_programs")


def applicants(num, seed):
    """Loans with a column that is no feature."""
    frame = loans.applicants(num, seed)
    frame.insert(0, "name", [f"row {index}" for index in range(num)])
    return frame


@pytest.fixture(scope="module")
def table():
    return data.from_frame(applicants(200, 0), schema(FEATURES), test=applicants(20, 1))


@pytest.fixture(scope="module")
def logit_fn():
    return loans.logit_fn()


@pytest.fixture(scope="module")
def explainer(table, logit_fn):
    return hare_jax.Explainer(logit_fn, table, "growing_spheres")


@pytest.fixture(scope="module")
def rows():
    frame = applicants(30, 2)
    frame.index = [f"p{index % 20}" for index in range(30)]  # labels appear twice
    return frame


@pytest.fixture(scope="module")
def found(explainer, rows):
    return explainer.explain(rows)


def test_rows_columns_and_index_are_kept(found, rows):
    assert found.frame.columns.tolist() == rows.columns.tolist()
    assert found.frame.dtypes.tolist() == rows.dtypes.tolist()
    for part in (found.frame, found.valid, found.cost, found.reason, found.score):
        assert part.index.tolist() == rows.index.tolist()
    for column in ("name", "owner", "paid"):
        assert found.frame[column].tolist() == rows[column].tolist()


def test_the_model_accepts_what_is_valid(explainer, found, table, logit_fn, rows):
    accepted = np.asarray(jax.vmap(logit_fn)(table.encode(found.frame))) >= 0
    assert found.valid.to_numpy().tolist() == accepted.tolist()
    before = np.asarray(jax.vmap(logit_fn)(table.encode(rows))) >= 0
    assert 5 < before.sum() < 25
    assert found.frame[before].equals(rows[before])
    assert set(found.reason[before]) == {search.ACCEPTED}
    assert (found.cost[before] == 0).all()
    assert (found.cost[~before] > 0).all()
    assert set(found.reason[~before]) == {"found"}
    assert (found.frame["debt"] <= rows["debt"]).all()


def test_numbers_have_the_decimals_of_the_training_rows(found):
    assert (found.frame["income"] % 1 == 0).all()


def test_a_row_does_not_depend_on_the_others(explainer, found, rows):
    assert explainer.explain(rows.iloc[[4]], progress=True).frame.equals(found.frame.iloc[[4]])


def test_a_row_without_recourse_is_unchanged_and_the_proof_is_said(table, rows):
    refuses = models.classifier(models.from_layers([([[0.1] * 6], [-5.0])]))
    none = hare_jax.Explainer(refuses, table, "growing_spheres").explain(rows[:3])
    assert none.frame.equals(rows[:3])
    assert not none.valid.any()
    assert none.cost.isna().all()
    assert set(none.reason) == {"no recourse: proved that no allowed point reaches the margin"}


def test_changes_and_sentences(found, rows):
    changes, sentences = found.changes(), found.sentences()
    differ = found.frame[list(FEATURES)].ne(rows[list(FEATURES)]).to_numpy()
    assert len(changes) == differ.sum()
    assert changes.index.tolist() == np.repeat(rows.index, differ.sum(axis=1)).tolist()
    assert not changes["consequence"].any()
    number = changes[changes["feature"] == "debt"]
    assert (number["difference"] == number["after"] - number["before"]).all()
    at = int(np.flatnonzero(differ.any(axis=1))[0])
    parts = []
    for name, spec in FEATURES.items():
        before, after = rows[name].iloc[at], found.frame[name].iloc[at]
        label, unit = spec.get("label", name), f" {spec['unit']}" if "unit" in spec else ""
        if before != after and spec["type"] == "categorical":
            parts.append(f"change {label} from {before} to {after}")
        elif before != after:
            verb = "raise" if after > before else "lower"
            parts.append(f"{verb} {label} from {before:.0f} to {after:.0f}{unit}")
    assert sentences.iloc[at] == "; ".join(parts)
    assert set(sentences[~differ.any(axis=1)]) == {search.ACCEPTED}


def test_html_marks_changes_and_is_escaped(explainer, rows):
    frame = rows.assign(name="<script>alert('&')</script>")
    page = explainer.explain(frame)._repr_html_()
    assert "<script>" not in page
    assert page.count("<b>") == len(explainer.explain(frame).changes())
    assert "30 of 30 rows" in page
    assert "50 of 90 rows" in explainer.explain(pd.concat([frame] * 3))._repr_html_()


def test_alternatives_are_valid_and_different(explainer, found, table, logit_fn):
    several = found.alternatives(3)
    assert several.frame.index.names == [None, "alternative"]
    assert several.valid.all()
    assert (np.asarray(jax.vmap(logit_fn)(table.encode(several.frame))) >= 0).all()
    first = several.frame.index.get_level_values(1) == 1
    assert several.frame[first].droplevel(1).equals(found.frame[found.found])
    owners = np.cumsum(first)
    for owner in np.unique(owners):
        own = several.frame[owners == owner][list(FEATURES)]
        assert len(own.drop_duplicates()) == len(own) > 1
    assert len(several.sentences()) == len(several.frame)
    with pytest.raises(ValueError, match="k: must be a whole number from 1; got 0"):
        found.alternatives(0)


def test_plot_ends_at_the_score_of_the_recourse(found):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    at = int(np.flatnonzero(found.found)[0])
    way = plot.applied(found, found.before.iloc[[at]], found.frame.iloc[[at]])
    assert way.scores[0] == pytest.approx(found.score["before"].iloc[at])
    assert way.scores[-1] == pytest.approx(found.score["after"].iloc[at])
    assert [axes.get_xlabel() for axes in found.plot(at).axes] == [
        "share of the range",
        "score (logit); accepted from 0",
    ]
    with pytest.raises(ValueError, match="row: must be the label of one row; several rows have it; got 'p3'"):
        found.plot("p3")
    with pytest.raises(ValueError, match="row: must be the label or the position of one row; got 99"):
        found.plot(99)
    accepted = int(np.flatnonzero(~found.found)[0])
    with pytest.raises(ValueError, match="row: must have a recourse that changes it; got 'already accepted'"):
        found.plot(accepted)


def test_saved_and_loaded(explainer, found, rows, tmp_path):
    explainer.save(tmp_path / "explainer.npz")
    loaded = hare_jax.Explainer.load(tmp_path / "explainer.npz")
    again = loaded.explain(rows)
    assert again.frame.equals(found.frame)
    assert again.cost.equals(found.cost)
    assert np.array_equal(again.x_cf, found.x_cf)
    assert repr(loaded) == repr(explainer)
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes((tmp_path / "explainer.npz").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"must be an explainer written by Explainer\.save"):
        hare_jax.Explainer.load(damaged)
    np.savez(damaged, format=np.array([print], object), about="{}", x_train=np.zeros(3))
    with pytest.raises(ValueError, match=r"must be an explainer written by Explainer\.save"):
        hare_jax.Explainer.load(damaged)
    np.savez(damaged, format="first", about="[" * 100_000, x_train=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="must have format 1; got 'first'"):
        hare_jax.Explainer.load(damaged)
    np.savez(damaged, format=1, about="[" * 100_000, x_train=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"must be an explainer written by Explainer\.save"):
        hare_jax.Explainer.load(damaged)


def test_hyperparameters_are_saved_with_the_method(table, logit_fn, tmp_path):
    spheres = GrowingSpheres(num_samples=7)
    weights = jnp.arange(6) / 2
    one = hare_jax.Explainer(logit_fn, table, "least_cost", spheres=spheres, weights=weights, seed=3)
    one.save(tmp_path / "one.npz")
    saved = saving.load(tmp_path / "one.npz")
    assert (saved.method, saved.seed, saved.hyperparameters["spheres"]) == ("least_cost", 3, spheres)
    assert np.array_equal(saved.hyperparameters["weights"], weights)


def test_a_space_with_relations_is_saved():
    space = related_space(cost=np.full(WIDTH, 2.0))
    arrays = saving._of_space(space)
    links = saving._tuples(json.loads(json.dumps(saving.to_plain("links", space.relations.links, {}))))
    again = saving._space(links, arrays)
    assert jax.tree.structure(again) == jax.tree.structure(space)
    assert all(map(np.array_equal, jax.tree.leaves(again), jax.tree.leaves(space)))


def test_methods_that_a_model_is_unfit_for(table):
    host = models.black_box(lambda rows: 1 / (1 + np.exp(2 - 4 * rows[:, 0])))
    assert hare_jax.Explainer(host, table).method == "growing_spheres"
    with pytest.raises(ValueError, match=r"method: needs the gradient of .* growing_spheres, .*; got 'dice'"):
        hare_jax.Explainer(host, table, "dice")
    with pytest.raises(ValueError, match=r"method: needs the weights of a models\.Classifier; .*; got 'exact'"):
        hare_jax.Explainer(host, table, "exact")
    with pytest.raises(ValueError, match=r"model: .* is a classifier of encoded rows already takes no threshold"):
        hare_jax.Explainer(host, table, threshold=0.7)


def test_wrong_arguments(explainer, table, rows):
    for wrong, message in (
        ([1, 2], "df: must be a pandas DataFrame; got 'list'"),
        (rows.iloc[0], r"df: must be a pandas DataFrame: of one row df\.loc\[\[label\]\]"),
        (rows.drop(columns="debt"), "column 'debt': must be in df once"),
        (rows.assign(job="astronaut"), "column 'job': must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            explainer.explain(wrong)
    with pytest.raises(ValueError, match="method: must be one of ar, "):
        hare_jax.Explainer(explainer.logit_fn, table, "guess")


def test_alternatives_of_accepted_rows_are_none(explainer, found, rows):
    accepted = found.reason.to_numpy() == search.ACCEPTED
    none = explainer.explain(rows[accepted]).alternatives(2)
    assert len(none.frame) == len(none.sentences()) == len(none.changes()) == 0
    assert none.frame.index.names == [None, "alternative"]
    assert none.frame.columns.tolist() == rows.columns.tolist()
    empty = explainer.explain(rows[:0])
    assert (len(empty.frame), len(empty.alternatives().frame), len(empty.sentences())) == (0, 0, 0)
    assert "0 of 0 rows" in empty._repr_html_()
