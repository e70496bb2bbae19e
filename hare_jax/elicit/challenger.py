"""Best versus a random challenger: the best recourse so far against random ones on the decision boundary.

HARE's tournament without its optimised candidates: the winner of each comparison stays. The challengers do not depend
on the answers, so one proposal draws them for all questions.
"""

from dataclasses import replace
from typing import Any

import jax
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.elicit import hare, pool
from hare_jax.elicit.base import Elicitor
from hare_jax.hyperparams import Count, NonNegative, Positive, check_fields
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace


@pytree_dataclass
class Challenger:
    """Hyperparameters of the random challengers."""

    num_challengers: Count = 30  # per proposal, each in one question
    reach: Positive = 2.0  # largest L2 distance of their target points from the factual
    margin: NonNegative = MARGIN  # the least logit of a recourse


def elicitor(hp: Challenger | None = None) -> Elicitor:
    """A tournament of the best recourse against `hp.num_challengers` random recourses per proposal.

    Raises:
        ValueError: a hyperparameter is out of its range.
    """
    hp = Challenger() if hp is None else hp
    check_fields(hp, Challenger)
    given = hare.with_directions(hp.num_challengers, {"sample_fn": Partial(_draw, hp), "margin": hp.margin})
    return replace(hare.elicitor(given), differentiable=False)


def for_budget(budget: int, per_round: int, **hyperparameters: Any) -> Elicitor:
    """As `elicitor`, with `budget` challengers in one proposal; the hyperparameters are those of `Challenger`."""
    return elicitor(Challenger(**{"num_challengers": budget, **hyperparameters}))


def _draw(hp: Challenger, key: Array, logit_fn: LogitFn, x: Array, best: Array, space: ActionSpace) -> Array:
    """Accepted points (n, d) for target points at uniform directions and distances from `x` (d,), in random order."""
    key_draw, key_order = jax.random.split(key)
    known = Recourse(best, logit_fn(best) >= hp.margin)
    drawn = pool.draw(key_draw, logit_fn, x, known, space, pool.distances(hp.num_challengers, (hp.reach,)), hp.margin)
    return jax.random.permutation(key_order, drawn.x)
