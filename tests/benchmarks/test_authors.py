from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from benchmarks import digest, store
from benchmarks.authors import command, descent, rounding, stream
from benchmarks.authors.switches import ALL, NAMES, NONE, SWITCHES, bundle, of_sessions
from benchmarks.original import paper
from benchmarks.pages import authors as page
from benchmarks.pages import figures
from hare_jax import data, models

_FAR = 1.5
_COARSE = {"adult_ann": 3, "compas_ann": 1}  # mutable categorical columns


@pytest.fixture(scope="module", params=list(_COARSE))
def golden(request):
    with np.load(Path(__file__).parent / "golden" / f"{request.param}.npz") as file:
        return request.param, {name: file[name] for name in file.files}


def logits_of(golden):
    def logits(rows):
        hidden = rows.astype(np.float32)
        for layer in range(4):
            hidden = hidden @ golden[f"w{layer}"] + golden[f"b{layer}"]
            hidden = np.maximum(hidden, 0) if layer < 3 else hidden
        return hidden[:, 1] - hidden[:, 0]

    return logits


def test_ideals_weights_and_growing_spheres_are_the_originals_to_the_last_draw(golden):
    name, arrays = golden
    logits = logits_of(arrays)
    for row in range(8):
        x = arrays["factual"][row]
        drawn = stream.person(1, logits, x, arrays["movable"], _COARSE[name], _FAR)
        assert drawn.valid
        np.testing.assert_allclose(drawn.ideal, arrays["ideal"][row], atol=1e-12)
        np.testing.assert_allclose(drawn.weights, arrays["weights_pref"][row], atol=1e-12)
        found = stream.spheres(1, logits, x, arrays["movable"])
        np.testing.assert_allclose(found, arrays["growing_spheres"][row], atol=1e-12)


def test_a_classifier_that_refuses_nothing_has_no_person():
    x = np.full(2, 0.5)
    drawn = stream.person(1, lambda rows: np.ones(len(rows)), x, np.array([True, True]), 0, _FAR)
    assert not drawn.valid
    assert drawn.ideal is x


@pytest.mark.parametrize(
    ("bias", "rounded", "count"),
    [(-0.4, [0, 0, 0], 1), (-0.4, [0, 0, 1], 2), (-0.4, [1, 1, 1], 2), (-0.5, [1, 1, 1], 0)],
)
def test_rounded_columns_count_as_redundant_unless_both_classes_are_even(bias, rounded, count):
    logit_fn = models.classifier(models.from_layers([([[1.0, 1.0, 0.0]], [bias])]))  # x0 alone is needed
    x, x_cf = jnp.zeros((1, 3)), jnp.array([[0.5, 1e-8, 0.0]])
    assert rounding.redundancy(logit_fn, x, x_cf, jnp.array([rounded], bool)).tolist() == [count]


def test_the_loop_moves_all_columns_alike_until_the_point_is_accepted():
    logit_fn = models.classifier(models.from_layers([([[1.0, 0.5, 4.0, 2.0]], [-0.5])]))
    movable = jnp.array([True, True, False, True])
    found = jax.jit(descent.wachter)(jax.random.key(0), logit_fn, jnp.zeros(4), paper.box_space(movable))
    assert found.valid
    assert 0 <= logit_fn(found.x) < 0.01 * 3.5
    np.testing.assert_allclose(found.x[jnp.array([0, 1, 3])], found.x[0], rtol=0.05)
    assert found.x[2] == 0


@pytest.fixture(scope="module")
def table():
    return data.load("mortgage", bounds_from="all")


def test_float32_holds_halves_but_not_thirds(table):
    x = jnp.asarray(table.x_test[:20])
    found, exact = np.asarray(rounding.inexact(table, x)), np.asarray(x, np.float64)
    categorical = np.asarray(paper.is_categorical(table))
    assert not found[:, categorical].any()
    assert not found[(exact == 0) | (exact == 1) | (exact == 0.5)].any()
    assert found[:, ~categorical].mean() > 0.5
    assert not rounding.of_result("face", "base", table, x).any()
    assert (np.asarray(rounding.of_result("face", "single", table, x)) == found).all()
    assert (np.asarray(rounding.of_result("wachter", "base", table, x)) == found).all()


def test_bundles_are_none_each_and_all():
    assert bundle(NONE) == frozenset()
    assert bundle(ALL) == frozenset(SWITCHES)
    assert [bundle(name) for name in SWITCHES] == [{name} for name in SWITCHES]
    assert of_sessions(bundle(ALL)) == {"shared", "stream", "loop"}
    with pytest.raises(ValueError, match=r"switches: must be one of none, .*; got 'each'"):
        command.cells(("each",), 1)


def test_every_cell_of_the_authors_has_each_bundle_and_its_metrics():
    found = command.cells(NAMES, 100)
    saved = figures.original().query("source == 'authors'")
    assert len(found) == len(set(found)) == len(NAMES) * len(saved[figures.CELL].drop_duplicates())
    first = {replace(spec, mode=NONE) for spec in found}
    assert sum(len(page.saved_metrics(spec)) for spec in first) == len(saved)


SAVED = {"dataset": "mortgage", "model": "linear", "method": "growing_spheres", "arm": "base", "person": "ideal"}
SAVED |= {
    "ideal": "near",
    "budget": 30,
    "per_round": 5,
    "noise": "0",
    "boundary": "all",
    "source": "authors",
    "seeds": 4,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The command for one cell with three metrics: its folder, and the authors' results."""
    means = {"ideal_l2": 0.25, "success": 1.0, "redundancy": 50.0}
    saved = pd.DataFrame([{**SAVED, "metric": name, "mean": mean, "sd": 0.0} for name, mean in means.items()])
    out = tmp_path_factory.mktemp("authors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "original", lambda: saved)
        assert command.authors(datasets=("mortgage",), users=4, out=out, cache=False) == 0
        yield out, page.beside(out)


def test_the_switches_change_what_they_say(run):
    out, _ = run
    rows = {row["mode"]: row for row in store.read_latest(out, "authors")}
    assert set(rows) == set(NAMES)
    assert {row["digest"] for row in rows.values()} == {digest.code("authors", elicitor="")}
    assert digest.code("authors") not in (digest.code(), digest.code(mode="paper"))
    none = rows[NONE]
    assert rows["rounding"]["redundancy"] >= none["redundancy"]
    assert rows["loop"]["ideal_l2"] == none["ideal_l2"]  # of Wachter's method alone
    assert len({rows[name]["ideal_l2"] for name in (NONE, "shared", "stream")}) == 3
    assert rows["rounding"]["ideal_l2"] == none["ideal_l2"]


def test_the_page_counts_cells_by_bundle(run):
    out, found = run
    assert page.within(found, NONE).tolist() == [False, True, False]
    text = (out / "authors_switches.md").read_text()
    assert "| none | 1 of 3 | 33.3 % |" in text
    assert "| redundancy | 1 | 0 | 0 | 0 | 0 | 0 | 0 |" in text
    assert "2 results are not within one s.d. with all switches" in text
    assert "| mortgage | 1 |" in text
    assert "| redundancy | 1 | 0 | 0 | 0 | 0 | 0 | 1 |" in text
    assert sorted(page.enough(found).values()) == ["no", "no", NONE]


def test_without_rows_there_is_a_page_without_figures(tmp_path):
    assert "of 0" not in page.write(tmp_path).read_text()
