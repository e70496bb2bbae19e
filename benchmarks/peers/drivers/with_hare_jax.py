"""Drives this package, in a process of its own as the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import protocol


def prepare(problem: protocol.Problem, many: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """A method of `METHODS` for all factuals: its recourse, or its set of recourses if `many`."""
    import jax
    import jax.numpy as jnp

    from hare_jax import models, recourse
    from hare_jax.space import action_space

    space = action_space(
        mutable=problem.mutable,
        lower=problem.lower,
        upper=problem.upper,
        direction=problem.direction,
        group=problem.group,
        step=problem.step,
    )
    logit_fn = models.classifier(models.from_layers(problem.layers))
    key_fit, key_each = jax.random.split(jax.random.key(problem.seed))
    bound = recourse.bind(problem.method, key_fit, logit_fn, jnp.asarray(problem.x_train), space)
    method = recourse.METHODS[problem.method]
    generate: Any = partial(method.many, bound.args[0].args[0]) if many and method.many else bound
    each = jax.jit(jax.vmap(generate, in_axes=(0, None, 0, None)))

    def solve(x: np.ndarray) -> np.ndarray:
        found = each(jax.random.split(key_each, len(x)), logit_fn, jnp.asarray(x), space)
        points = np.where(np.asarray(found.valid)[..., None], np.asarray(found.x), np.nan)
        return points if points.ndim > 2 else points[:, None, :]

    return solve


if __name__ == "__main__":
    is_set = protocol.Problem(protocol.Path(protocol.sys.argv[1]) / "problem.npz").method == "dice"
    protocol.answer(prepare, batched=True, sets=partial(prepare, many=True) if is_set else None)
