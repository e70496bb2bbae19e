"""A space with every kind of relation, rows of it, and an independent count of contradictions in original units.

Columns: card debt <= total debt; dti = total debt / income, derived; savings follow income, in steps, and may be acted
on; the reserve follows savings, and age, which is immutable; education only rises; one job can't follow another; at
most three features change.
"""

import numpy as np
from spaces import array

from hare_jax import formula
from hare_jax.space import ActionSpace, Link, action_space, relate

NUMBERS = ("card", "total", "income", "dti", "savings", "age", "reserve")
OFFSET = np.array([0, 0, 10, 0, 0, 20, 0, *[0] * 6], float)
SCALE = np.array([20, 40, 90, 4, 50, 50, 100, *[1] * 6], float)
STEP = np.array([0, 0, 1 / 90, 0, 1 / 50, 0, 0, *[1] * 6], float)
GROUP = np.array([-1] * 7 + [0] * 3 + [1] * 3)
MUTABLE = np.array([True, True, True, False, True, False, False, *[True] * 6])
EDUCATION, JOB = slice(7, 10), slice(10, 13)
FULL, NONE = 10, 12  # the forbidden transition of the job
WIDTH, MAX_CHANGES = len(GROUP), 3
SAVED, RESERVED = 0.3, 0.5  # per unit of income, and of savings


def parse(text: str) -> tuple:
    return formula.rename(formula.parse(text, NUMBERS), {name: index for index, name in enumerate(NUMBERS)})


def related_space(cost: np.ndarray | None = None, max_changes: int | None = MAX_CHANGES) -> ActionSpace:
    links = [
        Link(6, parse(f"age + {RESERVED} * savings")),
        Link(3, parse("total / income")),
        Link(4, parse(f"{SAVED} * income")),
    ]
    coefficients = np.zeros((1, WIDTH))
    coefficients[0, :2] = SCALE[0], -SCALE[1]
    forbidden = np.zeros((WIDTH, WIDTH), bool)
    forbidden[8, 7] = forbidden[9, 7] = forbidden[9, 8] = forbidden[FULL, NONE] = True
    relations = relate(
        WIDTH,
        links=links,
        offset=OFFSET,
        scale=SCALE,
        coefficients=coefficients,
        limits=[0.0],
        forbidden=forbidden,
        max_changes=max_changes,
    )
    lower, upper = np.zeros(WIDTH), np.ones(WIDTH)
    lower[[3, 6]], upper[[3, 6]] = -1, 3  # of columns that only follow
    return action_space(MUTABLE, lower, upper, group=GROUP, step=STEP, cost=cost, relations=relations)


def related_rows(seed: int, num: int) -> np.ndarray:
    """Encoded rows (num, d); a quarter of them break the inequality already, as factuals may."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(size=(num, WIDTH))
    for column in (2, 4):
        rows[:, column] = np.round(rows[:, column] / STEP[column]) * STEP[column]
    for levels in (EDUCATION, JOB):
        rows[:, levels] = np.eye(3)[rng.integers(3, size=num)]
    original = OFFSET + SCALE * rows
    rows[:, 3] = original[:, 1] / original[:, 2] / SCALE[3]
    return array(rows)


def contradictions(x: np.ndarray, x_cf: np.ndarray, max_changes: int | None = MAX_CHANGES) -> dict[str, np.ndarray]:
    """Which moves (n, d) to (n, d) contradict each relation: bool (n,), computed in float64 without the library."""
    before, after = (OFFSET + SCALE * np.asarray(rows, float) for rows in (x, x_cf))
    change = after - before
    dti = after[:, 1] / after[:, 2] - before[:, 1] / before[:, 2]
    saved = np.floor(SAVED * change[:, 2] + 0.501)  # in whole steps of 1
    reserve = RESERVED * change[:, 4]
    excess = [rows[:, 0] - rows[:, 1] for rows in (before, after)]
    own = np.abs(np.delete(change, [3, 6], axis=1)) > 1e-3
    own[:, 3] &= np.abs(change[:, 4] - saved) > 1e-3
    changed = np.column_stack([own[:, :5], own[:, 5:8].any(axis=1), own[:, 8:].any(axis=1)])
    levels = [rows[:, EDUCATION].argmax(axis=1) for rows in (before, after)]
    grid = (np.asarray(x_cf, float) - np.asarray(x, float))[:, [2, 4]] / STEP[[2, 4]]
    return {
        "derived": np.abs(change[:, 3] - dti) > 1e-4,
        "follows": np.abs(change[:, 6] - reserve) > 1e-3,
        "unmoved child": (np.abs(change[:, 4]) < 1e-2) & (saved != 0),
        "inequality": excess[1] > np.maximum(excess[0], 0) + 1e-6,
        "education": levels[1] < levels[0],
        "forbidden": (before[:, FULL] == 1) & (after[:, NONE] == 1),
        "immutable": change[:, 5] != 0,
        "grid": (np.abs(grid - np.round(grid)) > 1e-3).any(axis=1),
        "bounds": ((x_cf < np.minimum(x, 0) - 1e-5) | (x_cf > np.maximum(x, 1) + 1e-5))[:, [0, 1, 2, 4]].any(axis=1),
        "changes": changed.sum(axis=1) > (max_changes or WIDTH),
    }
