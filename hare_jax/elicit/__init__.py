"""Elicitors, one file each: ask a person a few questions, recommend the recourse that suits them."""

from hare_jax.elicit import bayesian as bayesian
from hare_jax.elicit import hare as hare
from hare_jax.elicit import random as random
from hare_jax.elicit.base import CANNOT_TELL as CANNOT_TELL
from hare_jax.elicit.base import PREFERS_A as PREFERS_A
from hare_jax.elicit.base import PREFERS_B as PREFERS_B
from hare_jax.elicit.base import Elicitor as Elicitor
from hare_jax.elicit.base import Question as Question
from hare_jax.elicit.base import Trace as Trace
from hare_jax.elicit.base import run as run
from hare_jax.elicit.base import session as session
from hare_jax.elicit.base import session_keys as session_keys
from hare_jax.elicit.bayesian.bayes import Bayes as Bayes
from hare_jax.elicit.bayesian.bayes import Choice as Choice
from hare_jax.elicit.bayesian.bayes import Range as Range
from hare_jax.elicit.bayesian.bayes import Rating as Rating
from hare_jax.elicit.bayesian.bayes import Veto as Veto
from hare_jax.elicit.bayesian.bayes import expected_distance as expected_distance
from hare_jax.elicit.bayesian.bayes import ideal_region as ideal_region
from hare_jax.elicit.bayesian.bayes import ideals as ideals
from hare_jax.elicit.bayesian.bayes import offer as offer
from hare_jax.elicit.hare import Hare as Hare
