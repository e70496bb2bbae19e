"""Distribution over the outcomes of a noisy tournament between recourses, exactly.

Of two recourses `a` is preferred with probability `sigmoid(sharpness (cost(b) - cost(a)))` (Bradley and Terry 1952).
An array of another shape is a `ValueError` that names it.
"""

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import check_shapes, exact_products


def beats_matrix(cost: Array, sharpness: Array, valid: Array | None = None) -> Array:
    """Probability (n, n) that recourse i is preferred to j, given the `cost` (n,) of each (Bradley and Terry).

    A recourse that is not `valid` (n,) loses against every valid one with probability 1.
    """
    check_shapes(cost=(cost, (None,)), sharpness=(sharpness, ()))
    odds = jax.nn.sigmoid(sharpness * (cost[None, :] - cost[:, None]))
    if valid is None:
        return odds
    check_shapes(valid=(valid, cost.shape))
    return jnp.where(valid[:, None], jnp.where(valid[None, :], odds, 1), 0)


def expected_choice(beats: Array) -> Array:
    """Probability (n,) that each recourse wins the tournament, exactly.

    Recourse 0 is the first best, and 1 to n - 1 challenge the best in turn: challenger k replaces i with probability
    `beats[k, i]`, of `beats` (n, n). One scan: after k, `p_i <- p_i (1 - beats[k, i])` for i < k, and
    `p_k = sum_i p_i beats[k, i]`. It is the expectation over the answers of HARE's one round (TMLR 2025, algorithm 3).

    >>> expected_choice(jnp.array([[0.5, 0.75], [0.25, 0.5]])).tolist()
    [0.75, 0.25]
    """

    def challenge(chosen: Array, challenger: tuple[Array, Array]) -> tuple[Array, None]:
        index, wins = challenger
        lost = chosen * wins
        return (chosen - lost).at[index].set(jnp.sum(lost)), None

    num = beats.shape[-1]
    check_shapes(beats=(beats, (num, num)))
    first = jnp.zeros(num, beats.dtype).at[0].set(1)
    return jax.lax.scan(challenge, first, (jnp.arange(1, num), beats[1:]))[0]


@exact_products
def expected_recourse(chosen: Array, points: Array) -> Array:
    """Mean (d,) of the `points` (n, d) under the probabilities `chosen` (n,); it need not be a recourse itself."""
    check_shapes(chosen=(chosen, (None,)), points=(points, (len(chosen), None)))
    return chosen @ points


@exact_products
def expected_regret(chosen: Array, cost: Array, valid: Array | None = None) -> Array:
    """Expected cost of the chosen recourse minus that of the cheapest `valid` (n,) one: ()."""
    check_shapes(chosen=(chosen, (None,)), cost=(cost, chosen.shape))
    offered = cost if valid is None else jnp.where(valid, cost, jnp.inf)
    least = jnp.min(offered)
    return chosen @ cost - jnp.where(jnp.isfinite(least), least, jnp.min(cost))


def sampled_choice(key: Array, chosen: Array) -> Array:
    """A one-hot draw (n,) with the probabilities `chosen` (n,), with their gradient (straight-through)."""
    check_shapes(chosen=(chosen, (None,)))
    index = jax.random.categorical(key, jnp.log(jax.lax.stop_gradient(chosen)))
    one_hot = jax.nn.one_hot(index, chosen.shape[0], dtype=chosen.dtype)
    return chosen + jax.lax.stop_gradient(one_hot - chosen)
