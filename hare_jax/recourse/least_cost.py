"""The recourse of least weighted L1, with each user's own cost weights."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, holds, pytree_dataclass, require
from hare_jax.hyperparams import Natural
from hare_jax.recourse import cheapest_path, cheapest_switch, cheapest_vertex, growing_spheres
from hare_jax.recourse.derivative import on_boundary
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import ActionSpace, costs, weighted_cost


@pytree_dataclass
class LeastCost:
    """The user's cost weights, and the compute budget of the search."""

    weights: Array | None = None  # (d,) cost of a unit of change of each column; None is that of the space
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
    weights = costs(space, x) if hp.weights is None else hp.weights
    require(jnp.shape(weights) == x.shape, "weights", f"must have shape {x.shape}, as x has", jnp.shape(weights))
    require(holds(lambda weights: weights >= 0, weights), "weights", "must not be negative", weights)
    key_base, key_search = jax.random.split(key)
    base = growing_spheres.search(hp.spheres, key_base, logit_fn, x, x, space)
    found = local_search(hp.search, key_search, partial(weighted_cost, space, weights, x), logit_fn, x, base, space)
    problem = cheapest_path.bounded(logit_fn, x, space, weights, hp.margin)
    one_round, after_switch = (None, None) if space.relations is None else cheapest_vertex.ROUNDS
    switched = cheapest_switch.switch(problem, found, hp.num_switches, after_switch)
    return cheapest_path.descend(problem, switched, hp.num_rounds, one_round)
