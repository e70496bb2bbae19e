"""Search in the latent space of an autoencoder, shared by the methods that decode recourses. Not a method itself.

A code is decoded for the factual `x` (d,) and projected onto the action space. The resulting candidates are ordered:
accepted before refused, then by their L1 distance to `x` or by their logit. Training rows that the classifier accepts
are kept at fit, as further starts of a search. Notation: `z` is a code (k,).
"""

from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, pytree_dataclass
from hare_jax.hyperparams import Count, NonNegative, Positive
from hare_jax.models import vae
from hare_jax.space import ActionSpace, distance, project

Starts = Callable[[Array], Array]  # row (d,) -> codes (s, k)
Loss = Callable[[Array, Array], tuple[Array, Array]]  # code (k,), weight of the distance () -> (), relaxed point (d,)


class Decoding(Protocol):
    """Hyperparameters of a method that trains an autoencoder and keeps accepted training rows."""

    @property
    def autoencoder(self) -> vae.Vae: ...  # noqa: D102
    @property
    def num_kept(self) -> int: ...  # noqa: D102


H = TypeVar("H", bound=Decoding)


class Fitted(NamedTuple, Generic[H]):
    """What a method learns from the training rows."""

    hp: H  # the method's hyperparameters
    model: vae.Model
    kept: Array  # (num_kept, d) training rows, accepted ones first


@pytree_dataclass
class LatentDescent:
    """Number, steps and weight of the distance of the attempts of a descent over codes."""

    num_steps: Count = 100  # Adam steps of one attempt
    num_attempts: Count = 4  # the first starts at the factual's code, the others at those of kept rows
    learning_rate: Positive = 0.1  # of Adam, in latent units
    distance_weight: NonNegative = 0.3  # of the L1 distance at the first step; the loss on the logit has weight 1
    distance_decay: Positive = 0.9  # factor of that weight after a refused point; its divisor after an accepted one


class Candidate(NamedTuple):
    """An allowed point and how good it is, or several with an axis in front."""

    x: Array  # (d,)
    accepted: Array  # () bool: the logit reaches the margin
    cost: Array  # () L1 distance to the factual
    shortfall: Array  # () margin less logit; positive where refused


class _Descending(NamedTuple):
    """State of the descent over codes."""

    z: Array  # (k,)
    adam: optax.OptState
    distance_weight: Array  # ()
    best: Candidate


def fit(hp: H, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted[H]:
    """Train the autoencoder `hp.autoencoder` on `rows` (n, d), and keep `hp.num_kept` that the classifier accepts."""
    key_model, key_kept = jax.random.split(key)
    model = vae.fit(hp.autoencoder, key_model, rows, space)
    return Fitted(hp, model, keep_accepted(key_kept, logit_fn, rows, hp.num_kept))


def keep_accepted(key: Array, logit_fn: LogitFn, rows: Array, num_kept: int) -> Array:
    """Draw `num_kept` of the rows (n, d), at most all of them: accepted ones as long as there are any."""
    return _keep_accepted(key, logit_fn, jnp.asarray(rows), min(num_kept, rows.shape[0]))


def _draw_accepted(key: Array, logit_fn: LogitFn, rows: Array, num_kept: int) -> Array:
    accepted = jax.vmap(logit_fn)(rows) >= 0
    priority = accepted + jax.random.uniform(key, accepted.shape)
    return rows[jax.lax.top_k(priority, num_kept)[1]]


_keep_accepted = jax.jit(_draw_accepted, static_argnums=3)


def decode_point(model: vae.Model, x: Array, space: ActionSpace, z: Array) -> Array:
    """The relaxed point (d,) that code `z` (k,) means with the immutable columns of `x` (d,)."""
    return vae.mean_row(vae.decode(model, z, x, space), x, space)


def own_code(model: vae.Model, row: Array) -> Array:
    """The code (1, k) of `row` (d,), as the only start of a descent."""
    return vae.encode(model, row)[0][None, :]


def penalised_loss(
    model: vae.Model, logit_fn: LogitFn, x: Array, space: ActionSpace, z: Array, distance_weight: Array
) -> tuple[Array, Array]:
    """Objective () of the descents over z: the loss on the logit and the weighted L1 distance; and decode(z) (d,)."""
    point = decode_point(model, x, space, z)
    return jax.nn.softplus(-logit_fn(point)) + distance_weight * distance(space, x, point), point


def judge(logit_fn: LogitFn, x: Array, space: ActionSpace, margin: float | Array, allowed: Array) -> Candidate:
    """The candidate at an `allowed` point (d,) for the factual `x` (d,)."""
    logit, cost = logit_fn(allowed), distance(space, x, allowed)
    return Candidate(allowed, logit >= margin, cost, margin - logit)


def sort_key(candidate: Candidate) -> Array:
    """Key () in which the better of two candidates is lower: accepted before refused, whatever the rest.

    Among accepted ones, it rises with the cost, from -1 to 0; among refused ones, it falls with the logit, down to 0.

    >>> accepted, cost = jnp.array([True, True, False, False]), jnp.array([1.0, 9.0, 0.5, 0.0])
    >>> candidates = Candidate(jnp.zeros((4, 1)), accepted, cost, shortfall=jnp.array([-2.0, -3.0, 0.25, 8.0]))
    >>> [round(key, 2) for key in sort_key(candidates).tolist()]
    [-0.5, -0.1, 0.25, 8.0]
    """
    return jnp.where(candidate.accepted, -1 / (1 + candidate.cost), candidate.shortfall)


def better(new: Candidate, old: Candidate) -> Candidate:
    """The better of two candidates by `sort_key`, `old` if neither is."""
    wins = sort_key(new) < sort_key(old)
    return jax.tree.map(lambda a, b: jnp.where(wins, a, b), new, old)


def take(candidates: Candidate, index: Array | int) -> Candidate:
    """The candidate at an `index`, or those at several (n,)."""
    return jax.tree.map(lambda leaf: leaf[index], candidates)


def search(
    hp: LatentDescent,
    logit_fn: LogitFn,
    starts: Starts,
    loss: Loss,
    kept: Array,
    x: Array,
    space: ActionSpace,
    *,
    margin: float | Array,
    held: Array | bool = False,
) -> Array:
    """The best allowed point (d,) on descents in a latent space, by `sort_key`; `x` (d,) itself is one.

    `starts(row)` are the codes (s, k) at which the descents for a row (d,) start; `loss(z, distance_weight)` are the
    objective () for a code (k,) and the relaxed point (d,) that it means. The first row is `x`, and its descents leave
    the `held` (k,) latents unchanged. Until a point is accepted, the next rows are those of the `kept` (n, d) ones that
    are the best candidates themselves.
    """
    judge_point = partial(_judge_relaxed, logit_fn, x, space, margin)
    rows = jnp.concatenate([x[None, :], kept])
    candidates = jax.vmap(judge_point)(rows)
    order = jnp.argsort(sort_key(candidates).at[0].set(-jnp.inf))  # x first

    def attempt(carry: tuple[Array, Candidate]) -> tuple[Array, Candidate]:
        index, best = carry
        best = better(take(candidates, order[index]), best)
        moves = ~(jnp.asarray(held) & (index == 0))
        ends = jax.vmap(partial(_descend, hp, loss, judge_point, moves, best))(starts(rows[order[index]]))
        return index + 1, take(ends, jnp.argmin(sort_key(ends)))

    untried = (jnp.zeros((), jnp.int32), take(candidates, 0)._replace(x=x))
    return jax.lax.while_loop(lambda now: ~now[1].accepted & (now[0] < hp.num_attempts), attempt, untried)[1].x


def _judge_relaxed(logit_fn: LogitFn, x: Array, space: ActionSpace, margin: float | Array, point: Array) -> Candidate:
    return judge(logit_fn, x, space, margin, project(space, x, point))


def _descend(
    hp: LatentDescent,
    loss: Loss,
    judge_point: Callable[[Array], Candidate],
    moves: Array,
    best: Candidate,
    start: Array,
) -> Candidate:
    """The better of `best` and the best point of the descent from code `start` (k,) over the latents `moves` (k,)."""
    optimiser = optax.adam(hp.learning_rate)
    weight = jnp.asarray(hp.distance_weight, start.dtype)
    step = partial(_step, hp, loss, judge_point, moves, optimiser)
    begin = _Descending(start, optimiser.init(start), weight, best)
    return jax.lax.scan(step, begin, length=hp.num_steps)[0].best


def _step(
    hp: LatentDescent,
    loss: Loss,
    judge_point: Callable[[Array], Candidate],
    moves: Array,
    optimiser: optax.GradientTransformation,
    now: _Descending,
    _: None,
) -> tuple[_Descending, None]:
    """One step of Adam over codes; the point before it is a candidate, and decides the next distance weight."""
    slope, point = jax.grad(loss, has_aux=True)(now.z, now.distance_weight)
    updates, adam = optimiser.update(jnp.where(moves, slope, 0), now.adam)
    new = judge_point(point)
    lower, higher = now.distance_weight * hp.distance_decay, now.distance_weight / hp.distance_decay
    weight = jnp.where(new.accepted, higher, lower)
    return _Descending(optax.apply_updates(now.z, updates), adam, weight, better(new, now.best)), None
