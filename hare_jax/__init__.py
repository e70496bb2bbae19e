"""Personal, fast and differentiable algorithmic recourse in JAX."""

from hare_jax import data as data
from hare_jax import elicit as elicit
from hare_jax import evaluate as evaluate
from hare_jax import models as models
from hare_jax import people as people
from hare_jax import recourse as recourse
from hare_jax import solvers as solvers
from hare_jax import space as space
from hare_jax.base import Generate as Generate
from hare_jax.base import LogitFn as LogitFn
from hare_jax.base import Prefers as Prefers
from hare_jax.base import Recourse as Recourse

__version__ = "0.1.0"
