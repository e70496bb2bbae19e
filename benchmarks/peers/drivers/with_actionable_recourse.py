"""Drives actionable-recourse, which is for linear classifiers. Ordered columns have absolute steps.

The bounds are its default, the 1st and the 99th percentile of the training rows: with those of the space, its costs of
two steps beyond them may be equal, and it asserts that they are not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import protocol


def prepare(problem: protocol.Problem) -> Callable[[np.ndarray], np.ndarray]:
    """Its integer program, one for each factual."""
    import pandas as pd
    import recourse

    names = [f"c{index}" for index in range(problem.x.shape[1])]
    actions = recourse.ActionSet(pd.DataFrame(problem.x_train.astype(float), columns=names))
    for index, name in enumerate(names):
        action = actions[name]
        action.actionable = bool(problem.mutable[index])
        action.step_direction = int(problem.direction[index])
        if problem.step[index] > 0:
            action.step_type, action.step_size = "absolute", float(problem.step[index])
        action.update_grid()
    ((weight, bias),) = problem.layers
    coefficients, intercept = weight[0].astype(float), float(bias[0])

    def solve(x: np.ndarray) -> np.ndarray:
        row = x[0].astype(float)
        builder = recourse.RecourseBuilder(
            action_set=actions, x=row, coefficients=coefficients, intercept=intercept, solver="python-mip"
        )
        found = builder.fit()
        return (row + found["actions"] if found["feasible"] else np.full_like(row, np.nan))[None, None]

    return solve


if __name__ == "__main__":
    protocol.answer(prepare, batched=False)
