"""PEAR: particles of hidden cost weights, and questions of greatest expected utility of selection."""

from hare_jax.elicit.pear.pear import elicitor as elicitor
from hare_jax.elicit.pear.pear import for_budget as for_budget
from hare_jax.elicit.pear.pear import offer as offer
from hare_jax.elicit.pear.state import POPULATION as POPULATION
from hare_jax.elicit.pear.state import Pear as Pear
