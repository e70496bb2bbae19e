"""The recourse of least weighted L1, with each user's own cost weights."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, holds, pytree_dataclass, require
from hare_jax.hyperparams import Natural
from hare_jax.recourse import cheapest_path, cheapest_switch, growing_spheres
from hare_jax.recourse.derivative import on_boundary
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import ActionSpace, weighted_l1


@pytree_dataclass
class LeastCost:
    """The user's cost weights, and the compute budget of the search."""

    weights: Array | None = None  # (d,) cost of a unit of change of each column; None is 1 for all
    spheres: growing_spheres.GrowingSpheres = growing_spheres.GrowingSpheres()  # finds the start of the search
    search: LocalSearch = LocalSearch(num_first=64, num_starts=8)
    num_switches: Natural = 3  # of categories, after the search
    num_rounds: Natural = 16  # of sequential linear programming, at the end
    num_boundary_steps: Natural = 20  # bisections back towards the factual, from the end of the search

    @property
    def margin(self) -> float:
        """The least logit of a recourse: that of the search."""
        return self.search.margin


@on_boundary
def generate(hp: LeastCost, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). HARE (TMLR 2025), table 7; De Toni et al. (2024), https://arxiv.org/abs/2205.13743.

    Minimises the weighted cost `sum_j w_j |x'_j - x_j|` of these papers on the decision boundary: by random rays from
    growing spheres (`local_search`), then by single switches of categories (`cheapest_switch`), and then over all other
    columns by sequential linear programming (`cheapest_path`). Every incumbent is valid, unlike in a penalty method,
    and categories are switched too.

    The recourse is constant in the weights, which only select it; that of `argmin` of `people.objective` is not. The
    derivative of the *cost* in the weights and in the classifier is that of the minimum (envelope theorem).

    Raises:
        ValueError: weights of another shape, or negative ones.
    """
    weights = jnp.ones_like(x) if hp.weights is None else hp.weights
    require(jnp.shape(weights) == x.shape, "weights", f"must have shape {x.shape}, as x has", jnp.shape(weights))
    require(holds(lambda weights: weights >= 0, weights), "weights", "must not be negative", weights)
    key_base, key_search = jax.random.split(key)
    base = growing_spheres.search(hp.spheres, key_base, logit_fn, x, x, space)
    found = local_search(hp.search, key_search, partial(weighted_l1, weights, x), logit_fn, x, base, space)
    problem = cheapest_path.bounded(logit_fn, x, space, weights, hp.margin)
    return cheapest_path.descend(problem, cheapest_switch.switch(problem, found, hp.num_switches), hp.num_rounds)
