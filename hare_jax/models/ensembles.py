"""Ensembles: the least logit of several classifiers as one classifier, and the training of many at once.

A recourse that is valid for an ensemble is accepted by each of its members. Members that are perceptrons of equal
widths are stacked: one `Classifier` whose leaves have an axis of members in front. Notation: k members.
"""

import warnings
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import Bound, LogitFn, as_partial, check_key, choose, is_known, require
from hare_jax.hyperparams import Count, Natural, NonNegative, check_fields, check_values
from hare_jax.models.network import Params, scaling, standardise, to_layers
from hare_jax.models.perceptron import Classifier, check_labelled, fit, logit
from hare_jax.models.recipe import Training

_FARTHEST = 2.0  # s.d.: rows that lie farther along the direction of a shift are weighted as if they were so far


@jax.tree_util.register_pytree_node_class
class Ensemble(Bound):
    """A `Partial` of `least_logit` and groups of members: `Ensemble(11 x Classifier(13-10-5-10-1))`."""

    def __repr__(self) -> str:
        return f"Ensemble({', '.join(map(_described, self.args))})"


def ensemble(*members: LogitFn) -> Ensemble:
    """A classifier that accepts what each of the `members` accepts: its logit is the least of theirs.

    A member is any classifier; a `Classifier` of stacked parameters, such as `classifier(fit_many(...))`, stands for k.
    New weights do not recompile. The derivative is that of the member with the least logit.

    Raises:
        ValueError: there is no member, or one is not a function.

    >>> from hare_jax.models import classifier, from_layers
    >>> rises, falls = (classifier(from_layers([([[slope]], [1.0])])) for slope in (2.0, -1.0))
    >>> both = ensemble(rises, falls)
    >>> both, float(both(jnp.array([0.5])))
    (Ensemble(2 x Classifier(1-1)), 0.5)
    """
    require(len(members) > 0, "members", "must hold at least one classifier", members)
    for index, member in enumerate(members):
        require(callable(member), f"members[{index}]", "must be a function of one row", member)
    networks: dict[Any, list[Classifier]] = {}
    for member in members:
        if isinstance(member, Classifier):
            stacked = _stacked(member)
            networks.setdefault(_widths(stacked), []).append(stacked)
    others = (as_partial(member) for member in members if not isinstance(member, Classifier))
    return Ensemble(least_logit, *chain(map(_joined, networks.values()), others))


def least_logit(*args: Any) -> Array:
    """The least logit () of the row `x` (d,), the last argument, under the groups of members before it."""
    return jnp.min(_each(args[:-1], args[-1]))


def member_logits(members: Ensemble, x: Array) -> Array:
    """The logits (k,) of the members for one row `x` (d,): networks first, in the order given, then other classifiers.

    Raises:
        ValueError: `members` is no `Ensemble`.
    """
    require(isinstance(members, Ensemble), "members", "must be an Ensemble of models.ensemble", type(members).__name__)
    return _each(members.args, x)


def fit_many(
    hp: Training,
    key: Array,
    x: Array,
    y: Array,
    *,
    num: int,
    change: str = "seeds",
    tilt: float = 1.0,
    num_spare: int = 2,
) -> Params:
    """Parameters of `num` classifiers as stacked leaves (num, ...), trained at once on rows `x` (n, d) with `y` (n,).

    Each has its own initial weights and its own order of the rows. With the `change`

    - `seeds`, nothing else differs: retraining (Black et al. 2022, https://arxiv.org/abs/2110.03109);
    - `bootstrap`, each is trained on n rows drawn with replacement: new rows of the same population (Efron 1979);
    - `shift`, the n rows are drawn with probabilities proportional to `exp(tilt * t)`, where t is the row's coordinate
      along a random direction of the standardised columns, in s.d. and clipped to [-2, 2]. Each has its own direction:
      covariate shifts by exponential tilting (Tibshirani et al. 2019, https://arxiv.org/abs/1904.06019). For normal
      columns the mean moves by about `tilt` s.d.

    A classifier that accepts every row of `x`, or none, is replaced by one of `num_spare` others that are trained with
    them: it would not be deployed, and an ensemble with a member that accepts nothing accepts nothing.

    As in `fit`, values are checked outside of `jit` alone, and `hp` may hold new floats without recompiling.

    Raises:
        ValueError: those of `fit`, no such change, or `num`, `tilt` or `num_spare` out of its range.

    Warns:
        UserWarning: more classifiers than the spare ones accept every row, or none.

    >>> x, y = jnp.array([[0.0], [1.0]] * 4), jnp.array([0, 1] * 4)
    >>> params = fit_many(Training(hidden=(), min_steps=100), jax.random.key(0), x, y, num=3)
    >>> params["layer_0"]["weight"].shape
    (3, 1, 1)
    """
    check_fields(hp, Training)
    check_key(key)
    check_labelled(x, y)
    check_values(num=(num, Count), tilt=(tilt, NonNegative), num_spare=(num_spare, Natural))
    choose("change", change, CHANGES)
    total = num + num_spare
    params, constant = _fit_all(hp, key, jnp.asarray(x), jnp.asarray(y), tilt, total=total, change=change)
    best = jnp.argsort(constant)[:num]  # stable: the spare ones are the last
    if is_known(constant) and int(constant.sum()) > num_spare:
        found = f"{int(constant.sum()) - num_spare} of {num} classifiers accept every training row, or none"
        warnings.warn(f"fit_many: {found}; num_spare is {num_spare}", UserWarning, stacklevel=2)
    return jax.tree.map(lambda leaf: leaf[best], params)


@partial(jax.jit, static_argnames=("total", "change"), inline=True)
def _fit_all(
    hp: Training, key: Array, x: Array, y: Array, tilt: Array | float, *, total: int, change: str
) -> tuple[Params, Array]:
    """The parameters (total, ...), and which (total,) of the classifiers accept every row or none."""
    draw = CHANGES[change]

    def one(key: Array) -> tuple[Params, Array]:
        if draw is None:
            params = fit(hp, key, x, y)
        else:
            key_rows, key_fit = jax.random.split(key)
            rows = draw(key_rows, x, tilt)
            params = fit(hp, key_fit, x[rows], y[rows])
        accepted = jax.vmap(partial(logit, params))(x) >= 0
        return params, jnp.all(accepted == accepted[0])

    return jax.vmap(one)(jax.random.split(key, total))


def _bootstrap(key: Array, x: Array, tilt: Array | float) -> Array:
    """Indices (n,) of rows drawn with replacement."""
    return jax.random.randint(key, x.shape[:1], 0, x.shape[0])


def _shifted(key: Array, x: Array, tilt: Array | float) -> Array:
    """Indices (n,) of rows drawn with replacement, tilted along a random direction."""
    key_direction, key_rows = jax.random.split(key)
    direction = jax.random.normal(key_direction, x.shape[1:], x.dtype)
    scaled = jax.vmap(partial(standardise, scaling(x)))(x)
    along = jnp.dot(scaled, direction / jnp.linalg.norm(direction), precision="highest")
    chance = jax.nn.softmax(tilt * jnp.clip(along, -_FARTHEST, _FARTHEST))
    return jax.random.choice(key_rows, x.shape[0], x.shape[:1], p=chance)


CHANGES: dict[str, Callable | None] = {
    "seeds": None,
    "bootstrap": _bootstrap,
    "shift": _shifted,
}  # name -> how the rows of a member are drawn: key, x (n, d), tilt -> indices (n,); None: the rows as they are


def _each(groups: tuple, x: Array) -> Array:
    """The logits (k,) of all members: a `Classifier` among the groups is a stack, any other function is one member."""
    return jnp.concatenate([_logits(group, x) for group in groups])


def _logits(group: LogitFn, x: Array) -> Array:
    return jax.vmap(lambda member: member(x))(group) if isinstance(group, Classifier) else group(x)[None]


def _stacked(member: Classifier) -> Classifier:
    """The classifier with an axis of members in front, which a single one does not have."""
    single = np.ndim(to_layers(member.args[0])[0].weight) == 2
    return jax.tree.map(lambda leaf: leaf[None], member) if single else member


def _widths(member: Classifier) -> tuple:
    return tuple(np.shape(layer.weight)[1:] for layer in to_layers(member.args[0]))


def _joined(stacks: list[Classifier]) -> Classifier:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *stacks)


def _described(group: Any) -> str:
    leaves = jax.tree.leaves(group)
    return f"{np.shape(leaves[0])[0]} x {group}" if isinstance(group, Classifier) and np.ndim(leaves[0]) else str(group)
