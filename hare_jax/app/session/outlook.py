"""How sure a recommendation is, where the ideal lies, and whether to stop: by draws from the posterior of `bayes`.

Draws are from the Gaussians of each kind of person, moved into its support. A recommendation is as sure as the share of
draws whose loss is not lower, by more than the width of ties, for any recourse that was compared and is still
allowed, or for the base, times the probability that the answers are not coin tosses. `Bayes.most_harm` asks for half of
that width only: to be sure takes more than to be recommended.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.app.explainer import wording
from hare_jax.app.explainer.cells import blocks, outward
from hare_jax.app.session import programs
from hare_jax.app.session.showing import Person
from hare_jax.app.session.texts import percent
from hare_jax.app.session.turns import Turn
from hare_jax.base import Recourse
from hare_jax.data.schema import Feature
from hare_jax.elicit.answers import in_ranges
from hare_jax.elicit.bayesian import posterior
from hare_jax.elicit.bayesian.belief import by_coins, weight
from hare_jax.people import PERSONS, in_space
from hare_jax.space import allows, is_follower, project

_NUM_DRAWS = 512  # of each kind of person
_SEED = 0
_SURE = 0.95
_FEW = 5  # answers, before which little has been shown that could be preferred
_STILL = 5  # answers without a new recommendation
_LEVEL = 0.9  # of the region
_TIE = 1e-6  # relative to the s.d. of the loss


class Outlook(NamedTuple):
    """What the posterior says."""

    sure: Array  # ()
    ideals: Array  # (n, d) draws; the factual where no kind has an ideal


def outlook(state: Any) -> Outlook:
    """The outlook of a state of the Bayesian elicitor."""
    belief, x, space = state.belief, state.x, state.space
    names = tuple(dict.fromkeys(belief.kinds.names))
    normal = jax.random.normal(jax.random.key(_SEED), (len(names), _NUM_DRAWS, len(x)), x.dtype)
    theta = posterior.draw_hidden(belief, space.mutable, dict(zip(names, normal, strict=True)))
    theta = {kind: posterior.clip_kind(kind, draws) for kind, draws in theta.items()}
    share = (1 - by_coins(belief)) * weight(belief)
    known = _known(state)
    likely = {kind: jnp.sum(share[belief.kinds.span(kind)]) for kind in names}
    sure = sum(likely[kind] * _sure(state, kind, draws, known) for kind, draws in theta.items())
    targets = [jax.vmap(target)(theta[kind]) for kind in names if (target := PERSONS[kind].target) is not None]
    points = jnp.concatenate(targets) if targets else x[None]
    return Outlook(jnp.asarray(sure), jax.vmap(partial(project, space, x))(points))


def of(person: Person, turn: Turn) -> tuple[float, tuple[str, ...]]:
    """How sure the recommendation is, and the region of the ideal in words, if there is one."""
    found = jax.tree.map(np.asarray, programs.call(outlook, turn.state))
    has_ideal = any(PERSONS[kind].target is not None for kind in turn.state.belief.kinds.names)
    mutable = np.asarray(turn.state.space.mutable)
    return float(found.sure), region(person, mutable, found.ideals) if has_ideal else ()


def _known(state: Any) -> Recourse:
    """The base and the points compared (m, d), other than the recommendation; valid where they are recourses now."""
    x, space = state.x, state.space
    told = jnp.repeat(jnp.arange(len(state.belief.pair)) < state.belief.num_told, 2)
    points = jnp.concatenate([state.belief.pair.reshape(-1, len(x)), state.pool.base.x[None]])
    counts = jnp.concatenate([told, state.pool.base.valid[None]])

    def usable(z: Array) -> Array:
        inside = allows(space, x, z) & in_ranges(state.ranges, x, z)
        return inside & (state.logit_fn(z) >= 0) & jnp.any(z != state.best.x)

    return Recourse(points, counts & jax.vmap(usable)(points))


def _sure(state: Any, kind: str, theta: Array, known: Recourse) -> Array:
    """The share () of the draws `theta` (n, d) of a kind that prefer no `known` recourse (m, d)."""
    belief, span, person = state.belief, state.belief.kinds.span(kind), PERSONS[kind]
    width = jnp.sum(jax.nn.softmax(belief.log_weight[span]) * belief.manner.width[span])
    loss = in_space(person, person.loss, state.space)

    def losses(z: Array) -> Array:
        return jax.vmap(lambda hidden: loss(hidden, state.x, z))(theta)

    others, own = jax.vmap(losses)(known.x), losses(state.best.x)
    others = jnp.where(known.valid[:, None], others, jnp.inf)
    return jnp.mean(own <= jnp.min(others, axis=0) + width + _TIE * jnp.std(own))


def region(person: Person, mutable: np.ndarray, ideals: np.ndarray) -> tuple[str, ...]:
    """Where the draws of the ideal (n, d) lie with 90 % probability, for each feature that can move."""
    table, texts = person.explainer.table, []
    frame = table.decode(ideals)
    followers = is_follower(table.space)
    for feature, columns in blocks(table.features):
        if mutable[columns].any() or followers[columns].any():
            values = frame[feature.name].to_numpy()
            texts.append(_levels(feature, values) if feature.type == "categorical" else _span(person, feature, values))
    return tuple(texts)


def _span(person: Person, feature: Feature, values: np.ndarray) -> str:
    """The shortest text of the middle 90 % of numbers."""
    tail, digits, unit = (1 - _LEVEL) / 2, person.explainer.digits, f" {feature.unit}" if feature.unit else ""
    middle = np.full(1, float(np.median(values)))
    ends = np.quantile(values.astype(float), [tail, 1 - tail], method="nearest")
    if feature.type == "continuous":
        ends = np.array([outward(feature, digits[feature.name], middle, ends[at : at + 1])[0] for at in (0, 1)])
    low, high = (wording.text(feature, digits, end) for end in ends)
    return f"{feature.label}: {low}{unit}" if low == high else f"{feature.label}: {low} to {high}{unit}"


def _levels(feature: Feature, values: np.ndarray) -> str:
    """The most probable categories, as few as have 90 % together."""
    levels, counts = np.unique([wording.text(feature, {}, value) for value in values], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    num = int(np.searchsorted(np.cumsum(counts[order]), _LEVEL * counts.sum())) + 1
    return f"{feature.label}: {' or '.join(levels[order[:num]])}"


def advice(sure: float | None, turn: Turn, *, valid: bool, ended: bool) -> tuple[bool, str]:
    """Whether to stop, and why."""
    if ended:
        return True, "the recommendation was accepted"
    if not valid:
        return True, "no valid recourse is known that keeps all vetoes and ranges"
    if not turn.question.asked:
        return True, "no question is left"
    if sure is not None and sure >= _SURE and turn.num_answers >= _FEW:
        return True, f"with {percent(sure)}% probability nothing that was shown is preferred to the recommendation"
    if turn.still >= _STILL:
        return True, f"the last {turn.still} answers have not changed the recommendation"
    return False, "further answers can improve the recommendation"
