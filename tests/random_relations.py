"""Random spaces with relations, on the columns of `related`, and the moves that contradict them, without the library.

The links are those of `related`, because they are static: one program serves all draws. What is random are the units of
the formulas, the inequalities, the forbidden levels, the number of changes, the costs, the bounds and the mutability.
"""

import jax
import jax.numpy as jnp
import numpy as np
from related import GROUP, MUTABLE, OFFSET, RESERVED, SAVED, SCALE, STEP, WIDTH, related_rows, related_space
from spaces import Problems, array, stack

from hare_jax import models
from hare_jax.space import ActionSpace, action_space, relate

CARD, TOTAL, INCOME, DTI, SAVINGS, AGE, RESERVE = range(7)
NUM_INEQUALITIES, NUM_UNITS = 2, 8
ROUNDING = 1e-4
REFUSED = -0.5  # logit of each factual


def random_space(rng: np.random.Generator) -> ActionSpace:
    """The ratio and the reserve only follow, and so do the savings where they are immutable."""
    coefficients = np.where(rng.random((NUM_INEQUALITIES, WIDTH)) < 0.4, rng.normal(size=(NUM_INEQUALITIES, WIDTH)), 0)
    coefficients[:, [AGE, *range(7, WIDTH)]] = 0
    in_group = (GROUP[:, None] == GROUP[None, :]) & (GROUP >= 0) & ~np.eye(WIDTH, dtype=bool)
    relations = relate(
        WIDTH,
        links=related_space().relations.links,
        offset=OFFSET * rng.uniform(0.8, 1.5, WIDTH),
        scale=np.where(GROUP < 0, SCALE * rng.uniform(0.7, 1.5, WIDTH), 1),
        coefficients=coefficients,
        limits=rng.normal(size=NUM_INEQUALITIES),
        forbidden=in_group & (rng.random((WIDTH, WIDTH)) < 0.2),
        max_changes=int(rng.choice([1, 2, 3, WIDTH])),
    )
    mutable = MUTABLE & ((rng.random(WIDTH) < 0.85) | (GROUP >= 0))
    lower, upper = np.zeros(WIDTH), np.where(GROUP < 0, rng.uniform(0.8, 1.2, WIDTH), 1)
    lower[[DTI, RESERVE]], upper[[DTI, RESERVE]] = -1, 3
    direction = np.where(GROUP < 0, rng.choice([-1, 0, 0, 0, 1], WIDTH), 0)
    direction[[DTI, SAVINGS, RESERVE]] = 0
    return action_space(mutable, lower, upper, direction, GROUP, STEP, rng.uniform(0.5, 2, WIDTH), relations)


def random_classifier(rng: np.random.Generator, x: np.ndarray) -> models.Params:
    """A perceptron that refuses `x` (d,)."""
    first, bias, last = rng.normal(size=(NUM_UNITS, WIDTH)), rng.normal(size=NUM_UNITS), rng.normal(size=NUM_UNITS)
    shift = REFUSED - last @ np.maximum(first @ x + bias, 0)
    return models.from_layers([(array(first), array(bias)), (array(last[None]), array([shift]))])


def random_problems(seed: int, num: int) -> Problems:
    rng, rows = np.random.default_rng(seed), related_rows(seed, num)
    spaces, classifiers = zip(*[(random_space(rng), random_classifier(rng, x)) for x in rows], strict=True)
    return Problems(stack(list(spaces)), rows, stack(list(classifiers)))


def after_own_change(space: ActionSpace, x: jax.Array, change: jax.Array) -> jax.Array:
    """The point (d,) after an own `change` (d,) from `x` (d,), by the formulas of `related`."""
    offset, scale = space.relations.offset, space.relations.scale
    point = x + change
    start, end = offset + scale * x, offset + scale * point
    saved = SAVED * (end - start)[INCOME] / scale[SAVINGS] / space.step[SAVINGS]
    savings = jax.lax.stop_gradient(jnp.floor(saved + 0.501)) * space.step[SAVINGS]
    ratio = (end[TOTAL] / end[INCOME] - start[TOTAL] / start[INCOME]) / scale[DTI]
    reserve = RESERVED * scale[SAVINGS] * (change[SAVINGS] + savings) / scale[RESERVE]
    return point + jnp.zeros_like(x).at[jnp.array([SAVINGS, DTI, RESERVE])].set(jnp.stack([savings, ratio, reserve]))


def broken_rules(problems: Problems, x_cf: np.ndarray) -> dict[str, np.ndarray]:
    """Which moves to `x_cf` (n, d) break each rule: bool (n,), in float64."""
    space, x, after = problems.space, np.asarray(problems.x, float), np.asarray(x_cf, float)
    relations, change = space.relations, after - x
    scale, step = (np.asarray(leaf, float) for leaf in (relations.scale, space.step))
    start, end = (np.asarray(relations.offset, float) + scale * rows for rows in (x, after))
    ratio = (end[:, TOTAL] / end[:, INCOME] - start[:, TOTAL] / start[:, INCOME]) / scale[:, DTI]
    saved = SAVED * (end - start)[:, INCOME] / scale[:, SAVINGS] / step[:, SAVINGS]
    saved = np.floor(saved + 0.501) * step[:, SAVINGS]
    reserve = RESERVED * (end - start)[:, SAVINGS] / scale[:, RESERVE]
    value = np.einsum("nmd,nd->nm", relations.coefficients, after)
    limit = np.maximum(relations.limits, np.einsum("nmd,nd->nm", relations.coefficients, x))
    own = np.where(np.isin(np.arange(WIDTH), [DTI, RESERVE]), 0, change)
    own[:, SAVINGS] -= saved
    follows = ~space.mutable[:, SAVINGS] | (np.abs(change[:, SAVINGS]) <= 1e-6)
    fixed = ~space.mutable & ~np.isin(np.arange(WIDTH), [DTI, SAVINGS, RESERVE])
    steps = (change / np.where(step > 0, step, 1))[:, [INCOME, SAVINGS]]
    lower, upper = np.minimum(space.lower, x), np.maximum(space.upper, x)
    switched = np.einsum("ni,nij,nj->n", x == 1, relations.forbidden, after == 1)
    return {
        "ratio": np.abs(change[:, DTI] - ratio) > ROUNDING,
        "savings": follows & (np.abs(change[:, SAVINGS] - saved) > ROUNDING),
        "reserve": np.abs(change[:, RESERVE] - reserve) > ROUNDING,
        "inequalities": (value > limit + ROUNDING).any(axis=1),
        "forbidden": switched > 0,
        "changes": num_changed(own) > relations.max_changes,
        "immutable": (fixed & (change != 0)).any(axis=1),
        "direction": (own * space.direction < -ROUNDING).any(axis=1),
        "grid": (np.abs(steps - np.round(steps)) > 1e-2).any(axis=1),
        "bounds": ((after < lower - ROUNDING) | (after > upper + ROUNDING)).any(axis=1),
        "one-hot": sum((np.sort(after[:, g == GROUP]) != [0, 0, 1]).any(axis=1).astype(int) for g in (0, 1)) > 0,
    }


def num_changed(own: np.ndarray) -> np.ndarray:
    """The number (n,) of features with an own change (n, d)."""
    changed = np.abs(own) > ROUNDING
    return changed[:, GROUP < 0].sum(axis=1) + sum(changed[:, g == GROUP].any(axis=1).astype(int) for g in (0, 1))
