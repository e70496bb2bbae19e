"""Gaussian priors without sites of columns or categories, and grids of the manner of answering, for tests."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from spaces import array

from hare_jax.elicit.bayesian.manner import Axis, Grid
from hare_jax.people import levels
from hare_jax.people.base import Prior
from hare_jax.people.marginals import clipped_normal


def gaussian(mean: Any, cov: Any) -> Prior:
    """The prior of hypotheses, with a mean (h, d) and covariance (h, d, d)."""
    mean, cov = array(mean), array(cov)
    sd, infinite = np.sqrt(np.diagonal(cov, axis1=1, axis2=2)), np.full_like(mean, np.inf)
    return Prior(
        mean,
        cov,
        clipped_normal(mean, sd, -infinite, infinite),
        np.zeros(mean.shape, bool),
        jax.vmap(levels.none)(mean),
    )


def grid(lapses: Any = (0.01,), widths: Any = (0.0,), memories: Any = (1.0,)) -> Grid:
    """Equally probable values of each."""
    axes = (Axis(array(values), jnp.full(len(values), -np.log(len(values)))) for values in (lapses, widths, memories))
    return Grid(*axes)
