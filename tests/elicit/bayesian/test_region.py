import jax
import numpy as np
import pytest
from spaces import array, jit

from hare_jax.elicit.bayesian import region
from hare_jax.solvers import linalg

COV = array([[0.3, 0.1], [0.1, 0.2]])


def held_by(points, mutable, level, others):
    """The region that holds a share of the points, and which of the others (n, d) are in it."""
    ellipsoid = region.credible_region(points, mutable, level)
    return ellipsoid, jax.vmap(lambda point: region.inside(ellipsoid, point))(others)


share_inside = jit(held_by)


def test_the_region_holds_its_share():
    points = array(np.random.default_rng(3).multivariate_normal([1, 2], COV, 2000))
    ellipsoid, held = share_inside(points, np.array([True, True]), 0.9, points)
    assert np.mean(held) == pytest.approx(0.9, abs=0.005)
    assert float(ellipsoid.radius) == pytest.approx(4.61, abs=0.4)  # the 90 % quantile of a chi-squared law


def test_the_region_of_a_few_draws_holds_its_share_of_others():
    """Measured by the mean and the covariance of all, draws would be nearer than others are."""
    few, many = np.random.default_rng(4).normal(size=(2, 20, 128, 20)).astype(COV.dtype)
    held = jit(jax.vmap(lambda points, others: held_by(points, np.ones(20, bool), 0.9, others)[1]))(few, many)
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_a_level_in_percent_is_an_error():
    with pytest.raises(ValueError, match="level: must be above 0 and below 1; got 90"):
        region.credible_region(np.zeros((4, 2)), np.ones(2, bool), 90)


def test_one_draw_has_no_region():
    with pytest.raises(ValueError, match="draws: must be at least two; got 1"):
        region.credible_region(np.zeros((1, 2)), np.ones(2, bool), 0.9)


def test_what_cannot_change_is_left_out_of_the_region():
    points = array(np.random.default_rng(3).multivariate_normal([1, 2], COV, 2000))
    others = np.resize(array([[1.0, 77.0], [1 + 2 * np.sqrt(0.3), 2.0]]), points.shape)
    _, held = share_inside(points, np.array([True, False]), 0.9, others)
    assert held[:2].tolist() == [True, False]


def test_whitening():
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(5, 5))
    cov, mutable = array(raw @ raw.T), np.array([True, False, True, True, True])
    whiten = jit(linalg.whitening)(cov, mutable)
    part = np.where(np.asarray(mutable)[:, None] & np.asarray(mutable)[None, :], cov, 0)
    np.testing.assert_allclose(whiten @ part @ whiten.T, np.diag(np.asarray(mutable, float)), atol=1e-4)
