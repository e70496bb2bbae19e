"""Public functions of one row name the argument of a wrong shape: a batch of rows, or a row of another width."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from hare_jax import models, people
from hare_jax.base import Recourse
from hare_jax.elicit import candidates
from hare_jax.evaluate import metrics, summary
from hare_jax.models import vae
from hare_jax.people import choice, objective
from hare_jax.recourse import cost
from hare_jax.solvers import argmin, boundary, local_search
from hare_jax.space import action_space, allows, along, bounds, project, relax, settle, snap

WIDTH, NUM, NUM_LATENTS = 3, 5, 2
KEY, SPACE = jax.random.key(0), action_space([True] * WIDTH, [0] * WIDTH, [1] * WIDTH)
ROW, ROWS, SCALAR = jnp.zeros(WIDTH), jnp.zeros((NUM, WIDTH)), jnp.zeros(())
HP = vae.Vae(num_latents=NUM_LATENTS)
MODEL = jax.eval_shape(partial(vae.init, HP), KEY, ROWS)


def logit_fn(x):
    return jnp.sum(x)


def recourse(x):
    return Recourse(x, jnp.array(True))


def search(x, recourse_x):
    args = x, recourse(recourse_x), SPACE
    return local_search.local_search(local_search.LocalSearch(), KEY, jnp.sum, logit_fn, *args)


def mean_cost(x):
    return cost.recourse_cost(lambda key, fn, x, space: recourse(x), KEY, logit_fn, x, SPACE)


def measure(x, recourse_x, ideal, weights):
    return metrics.measure(logit_fn, x, recourse(recourse_x), SPACE, ideal=ideal, weights=weights)


# name -> function, valid arguments by name
FUNCTIONS = {
    "boundary": (lambda x, x_cf: boundary.boundary(logit_fn, x, x_cf, SPACE), {"x": ROW, "x_cf": ROW}),
    "argmin": (partial(argmin.argmin, jnp.sum), {"start": ROW, "lower": ROW, "upper": ROW}),
    "local_search": (search, {"x": ROW, "recourse_x": ROW}),
    "recourse_cost": (mean_cost, {"x": ROWS}),
    "cheapest_move": (lambda x, weights: cost.cheapest_move(logit_fn, x, SPACE, weights), {"x": ROW, "weights": ROW}),
    "linear_cost": (
        lambda x, weights: cost.linear_cost(jax.tree_util.Partial(logit_fn), x, SPACE, weights),
        {"x": ROW, "weights": ROW},
    ),
    "beats_matrix": (choice.beats_matrix, {"cost": ROW, "sharpness": SCALAR, "valid": ROW > 0}),
    "expected_choice": (choice.expected_choice, {"beats": jnp.zeros((NUM, NUM))}),
    "expected_recourse": (choice.expected_recourse, {"chosen": jnp.zeros(NUM), "points": ROWS}),
    "expected_regret": (choice.expected_regret, {"chosen": ROW, "cost": ROW}),
    "sampled_choice": (partial(choice.sampled_choice, KEY), {"chosen": ROW}),
    "quantile_knots": (objective.quantile_knots, {"rows": ROWS}),
    "column_costs": (partial(objective.column_costs, objective.Objective()), {"x": ROW, "x_cf": ROW}),
    "objective": (
        lambda x, x_cf, weights: objective.objective(objective.Objective(), weights, SCALAR, logit_fn, x, x_cf),
        {"x": ROW, "x_cf": ROW, "weights": ROW},
    ),
    "people.draw": (lambda x: people.draw(people.Population(), KEY, logit_fn, x, SPACE), {"x": ROW}),
    "sample": (
        lambda x, centre: candidates.sample(candidates.Sampling(), KEY, logit_fn, x, centre, SPACE),
        {"x": ROW, "centre": ROW},
    ),
    "directions": (
        lambda noise, x, centre: candidates.directions(candidates.Sampling(), noise, logit_fn, x, centre, SPACE),
        {"noise": ROWS, "x": ROW, "centre": ROW},
    ),
    "encode": (lambda x: vae.encode(zeros(MODEL), x), {"x": ROW}),
    "decode": (lambda z, x: vae.decode(zeros(MODEL), z, x, SPACE), {"z": jnp.zeros(NUM_LATENTS), "x": ROW}),
    "mean_row": (lambda raw, x: vae.mean_row(raw, x, SPACE), {"raw": ROW, "x": ROW}),
    "log_likelihood": (lambda raw, x: vae.log_likelihood(zeros(MODEL), raw, x, SPACE), {"raw": ROW, "x": ROW}),
    "logit": (lambda x: models.logit(models.from_layers([(jnp.ones((1, WIDTH)), jnp.ones(1))]), x), {"x": ROW}),
    "l0": (metrics.l0, {"x": ROW, "x_cf": ROW}),
    "l1": (metrics.l1, {"x": ROW, "x_cf": ROW}),
    "l2": (metrics.l2, {"x": ROW, "x_cf": ROW}),
    "linf": (metrics.linf, {"x": ROW, "x_cf": ROW}),
    "weighted_cost": (metrics.weighted_cost, {"weights": ROW, "x": ROW, "x_cf": ROW}),
    "ideal_l2": (metrics.ideal_l2, {"ideal": ROW, "x_cf": ROW}),
    "ideal_cosine": (metrics.ideal_cosine, {"ideal": ROW, "x": ROW, "x_cf": ROW}),
    "accepted": (partial(metrics.accepted, logit_fn), {"x_cf": ROW}),
    "redundancy": (lambda x, x_cf: metrics.redundancy(logit_fn, x, x_cf, SPACE), {"x": ROW, "x_cf": ROW}),
    "violations": (partial(metrics.violations, space=SPACE), {"x": ROW, "x_cf": ROW}),
    "feasible": (partial(metrics.feasible, space=SPACE), {"x": ROW, "x_cf": ROW}),
    "measure": (measure, {"x": ROW, "recourse_x": ROW, "ideal": ROW, "weights": ROW}),
    "masked_mean": (summary.masked_mean, {"values": ROW, "mask": ROW > 0}),
    "bootstrap_interval": (partial(summary.bootstrap_interval, KEY), {"values": ROW, "mask": ROW > 0}),
    **{fn.__name__: (partial(fn, SPACE), {"x": ROW, "x_cf": ROW}) for fn in (relax, project, settle, snap, allows)},
    "along": (lambda x, x_cf: along(SPACE, x, x_cf, SCALAR), {"x": ROW, "x_cf": ROW}),
    "bounds": (partial(bounds, SPACE), {"x": ROW}),
}


def zeros(shapes):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_batch_in_place_of_an_argument_is_named(name):
    fn, given = FUNCTIONS[name]
    for argument, value in given.items():
        batch = jnp.broadcast_to(value, (7, *value.shape))
        with pytest.raises(ValueError, match=rf"^{argument}: must have shape .*; got \(7,.*a batch: map over"):
            jax.eval_shape(lambda **arguments: fn(**arguments), **given | {argument: batch})


@pytest.mark.parametrize("name", [name for name, (_, given) in FUNCTIONS.items() if "x_cf" in given])
def test_a_row_of_another_width_is_named(name):
    fn, given = FUNCTIONS[name]
    narrow = given | {"x_cf": jnp.zeros(WIDTH - 1)}
    if len(given) > 1:
        with pytest.raises(ValueError, match=rf"^x_cf: must have shape \({WIDTH},\); got \({WIDTH - 1},\)"):
            jax.eval_shape(lambda **arguments: fn(**arguments), **narrow)
