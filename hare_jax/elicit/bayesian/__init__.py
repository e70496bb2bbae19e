"""Bayesian elicitation: a posterior over the hidden parameters of a person, and the questions chosen by it."""

from hare_jax.elicit.bayesian.bayes import elicitor as elicitor
from hare_jax.elicit.bayesian.bayes import for_budget as for_budget
from hare_jax.elicit.bayesian.state import Bayes as Bayes
