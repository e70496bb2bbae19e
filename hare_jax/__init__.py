"""Personal, fast and differentiable algorithmic recourse in JAX."""

from hare_jax import belief as belief
from hare_jax import blackbox as blackbox
from hare_jax import boundary as boundary
from hare_jax import candidates as candidates
from hare_jax import data as data
from hare_jax import elicit as elicit
from hare_jax import implicit as implicit
from hare_jax import metrics as metrics
from hare_jax import models as models
from hare_jax import preference as preference
from hare_jax import recourse as recourse
from hare_jax import recourse_cost as recourse_cost
from hare_jax import refine as refine
from hare_jax import region as region
from hare_jax import schema as schema
from hare_jax import sharding as sharding
from hare_jax import space as space
from hare_jax import summary as summary
from hare_jax import users as users
from hare_jax.base import Generate as Generate
from hare_jax.base import LogitFn as LogitFn
from hare_jax.base import Prefers as Prefers
from hare_jax.base import Recourse as Recourse

__version__ = "0.1.0"
