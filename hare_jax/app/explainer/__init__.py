"""Recourse for the refused rows of a DataFrame, as a DataFrame: `Explainer`, one idea a file."""

from hare_jax.app.explainer.explainer import Explainer as Explainer
from hare_jax.app.explainer.explanation import Explanation as Explanation
