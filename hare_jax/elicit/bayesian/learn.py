"""What each type of answer does to a session: comparisons update the posterior, vetoes and ranges the action space."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import Recourse, is_known, require
from hare_jax.elicit import answers, pool
from hare_jax.elicit.answers import Answer, Choice, Range, Rated, Rating, Veto, in_ranges
from hare_jax.elicit.base import CANNOT_TELL, PREFERS_A, Question
from hare_jax.elicit.bayesian import posterior
from hare_jax.elicit.bayesian.belief import features
from hare_jax.elicit.bayesian.state import Bayes, State
from hare_jax.space import causes, project, same_feature

_LEAST_VARIANCE = 1e-12


def learn(hp: Bayes, state: State, answer: Answer) -> State:
    """Update the session by an `answer`.

    Raises:
        ValueError: see `answers.check` and `answers.check_units`; or the session holds `max_questions` answers.
    """
    answers.check(answer, len(state.x))
    if isinstance(answer, Range):
        answers.check_units(answer, state.ranges, state.x, state.space)
    _check_room(state, answer)
    return _LEARN.get(type(answer), _learn_comparison)(hp, state, answer)


def compared_with(rated: Rated, value: Array) -> Array:
    """Whether a rating of this `value` () is compared with the worst, and with the best, `rated` before: (2,) bool."""
    return rated.any & jnp.stack([value > rated.worst.value, value < rated.best.value])


def _check_room(state: State, answer: Answer) -> None:
    """Raise a `ValueError` if the state is known and has no room left for the comparisons of an `answer`."""
    if isinstance(answer, Veto | Range) or not is_known(state, answer):
        return
    room = state.belief.tied.shape[0] - int(state.belief.num_told)
    needed = _num_comparisons(state, answer)
    rule = f"must fit: the session holds at most {state.belief.tied.shape[0]} comparisons (max_questions)"
    require(needed <= room, "answer", rule, f"one of {needed} with room for {max(room, 0)}")


def _num_comparisons(state: State, answer: Answer) -> int:
    """How many comparisons an `answer` consists of: none where nothing was asked."""
    if isinstance(answer, Choice):
        return int(np.sum(answer.options.valid)) - 1
    told = compared_with(state.rated, answer.value) if isinstance(answer, Rating) else state.question.asked
    return int(jnp.sum(told))


def _learn_comparison(hp: Bayes, state: State, answer: Array) -> State:
    """The answer to the question shown, which is then no longer asked."""
    shown, first = state.question, answer == PREFERS_A
    a, b = jnp.where(first, shown.a, shown.b), jnp.where(first, shown.b, shown.a)
    state = _compare(hp, state, a, b, shown.asked, answer == CANNOT_TELL)
    return state._replace(question=shown._replace(asked=jnp.zeros_like(shown.asked)))


def _learn_choice(hp: Bayes, state: State, answer: Choice) -> State:
    (options, valid), chosen = jax.tree.map(jnp.asarray, answer)
    told = valid & (jnp.arange(len(options)) != chosen)
    return _compare_all(hp, state, jnp.broadcast_to(options[chosen], options.shape), options, told)


def _learn_rating(hp: Bayes, state: State, answer: Rating) -> State:
    """Two comparisons: with the worst and with the best recourse rated before, if there is one and ratings differ."""
    new = jax.tree.map(lambda leaf: jnp.asarray(leaf, state.x.dtype), answer)
    rated = state.rated
    a, b = jnp.stack([new.x, rated.best.x]), jnp.stack([rated.worst.x, new.x])
    state = _compare_all(hp, state, a, b, compared_with(rated, new.value))
    worst = _select(rated.any & (new.value >= rated.worst.value), rated.worst, new)
    best = _select(rated.any & (new.value <= rated.best.value), rated.best, new)
    return state._replace(rated=Rated(jnp.ones_like(rated.any), worst, best))


def _learn_veto(hp: Bayes, state: State, answer: Veto) -> State:
    """Fix the columns, and the causes of those that could only follow before the first veto of them."""
    columns = answer.columns
    if state.vetoed is not None:
        only_follow = columns & ~state.vetoed & ~state.space.mutable
        columns |= jnp.any(causes(state.space) & only_follow[:, None], axis=0)
        state = state._replace(vetoed=state.vetoed | answer.columns)
    fixed = jnp.any(same_feature(state.space) & columns[None, :], axis=1)
    return _restrict(hp, state._replace(space=state.space._replace(mutable=state.space.mutable & ~fixed)))


def _learn_range(hp: Bayes, state: State, answer: Range) -> State:
    """Intersect the ranges; the bounds of the space follow, except those of a category's levels."""
    space = state.space
    ranges = Range(jnp.maximum(state.ranges.lower, answer.lower), jnp.minimum(state.ranges.upper, answer.upper))
    lower = jnp.where(space.group >= 0, space.lower, jnp.clip(ranges.lower, space.lower, space.upper))
    upper = jnp.where(space.group >= 0, space.upper, jnp.clip(ranges.upper, lower, space.upper))
    return _restrict(hp, state._replace(ranges=ranges, space=space._replace(lower=lower, upper=upper)))


_LEARN: dict[type, Callable[[Bayes, State, Any], State]] = {
    Choice: _learn_choice,
    Rating: _learn_rating,
    Veto: _learn_veto,
    Range: _learn_range,
}


def _compare_all(hp: Bayes, state: State, a: Array, b: Array, told: Array) -> State:
    """Learn, for each pair that was `told` (n,), that `a` (n, d) is preferred to `b` (n, d)."""
    return jax.lax.scan(lambda state, pair: (_compare(hp, state, *pair), None), state, (a, b, told))[0]


def _compare(hp: Bayes, state: State, a: Array, b: Array, told: Array, tied: Array | bool = False) -> State:
    """Learn, if it was `told`, that `a` (d,) is preferred to `b` (d,), or that they are `tied`."""
    noise = hp.noise * _prior_sd(state, a, b)
    belief = posterior.update(state.belief, state.x, a, b, noise, hp.num_sweeps, tied, state.space)
    return state._replace(belief=_select(told, belief, state.belief))


def _prior_sd(state: State, a: Array, b: Array) -> Array:
    """Prior s.d. (h,) of the difference of the utilities of `a` (d,) and `b` (d,)."""
    kinds = state.belief.kinds
    phi_a, phi_b = (features(kinds, state.x, z, state.space)[0] for z in (a, b))
    change = phi_a - phi_b
    variance = jnp.einsum("hd,hde,he->h", change, state.belief.prior.cov, change)
    return jnp.sqrt(jnp.maximum(variance, _LEAST_VARIANCE))


def _restrict(hp: Bayes, state: State) -> State:
    """Project the pool onto a smaller action space and evaluate it again; the question shown is withdrawn."""

    def move(point: Array) -> Recourse:
        inside = project(state.space, state.x, point)
        valid = (state.logit_fn(inside) >= hp.margin) & in_ranges(state.ranges, state.x, inside)
        return Recourse(inside, valid)

    moved = pool.with_members(state.pool, jax.vmap(move)(pool.members(state.pool).x))
    nothing = Question(moved.best.x, moved.best.x, jnp.array(False))
    return state._replace(pool=moved, question=nothing)


def _select(which: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda new, old: jnp.where(which, new, old), new, old)
