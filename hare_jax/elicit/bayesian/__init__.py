"""Bayesian elicitation: a posterior over what the person wants, and the questions that it asks for."""

from hare_jax.elicit.bayesian.bayes import Bayes as Bayes
from hare_jax.elicit.bayesian.bayes import elicitor as elicitor
from hare_jax.elicit.bayesian.bayes import for_budget as for_budget
