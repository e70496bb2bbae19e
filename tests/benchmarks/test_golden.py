"""Agreement with figures recorded from the original code, on the same weights, factuals and random numbers."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from benchmarks.original import paper
from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.elicit import PREFERS_A, PREFERS_B, Hare, hare, run
from hare_jax.elicit.candidates import PAPER, Sampling, directions
from hare_jax.people import prefers_nearer
from hare_jax.solvers.boundary import boundary


@pytest.fixture(scope="module", params=["adult_ann", "compas_ann"])
def golden(request):
    with np.load(Path(__file__).parent / "golden" / f"{request.param}.npz") as file:
        arrays = {name: file[name] for name in file.files if file[name].dtype.kind in "fiub"}
    return {name: a.astype("float32") if a.dtype.kind == "f" else a for name, a in arrays.items()}


@pytest.fixture(scope="module")
def logit_fn(golden):
    layers = [(golden[f"w{i}"].T, golden[f"b{i}"]) for i in range(4)]
    weight, bias = layers[-1]
    layers[-1] = weight[1:] - weight[:1], bias[1:] - bias[:1]  # two softmax outputs as one logit
    return models.classifier(models.from_layers(layers))


@pytest.fixture(scope="module")
def free(golden):
    return jax.jit(paper.free_space)(np.ones_like(golden["movable"], dtype=bool))


def answer(elicitor, ideal, state):
    shown = elicitor.ask(state)
    nearer = prefers_nearer(ideal, jax.random.key(0), shown.a, shown.a, shown.b)
    return elicitor.tell(state, jnp.where(nearer, PREFERS_A, PREFERS_B))


def test_boundary_points_agree_to_2e_6(golden, logit_fn, free):
    centred = np.concatenate([golden["growing_spheres"][:, None], golden["candidates"]], axis=1)
    search = jax.vmap(lambda x, x_cf: boundary(logit_fn, x, x_cf, free, margin=0.0, num_steps=24), in_axes=(None, 0))
    found = jax.device_get(jax.jit(jax.vmap(search))(golden["factual"], centred))
    recorded = ~np.isnan(golden["boundary"][:, :, 0])
    assert np.mean(found.valid == recorded) >= 0.99
    both = found.valid & recorded
    assert np.max(np.abs(found.x - golden["boundary"])[both]) <= 2e-6


def test_every_winner_is_the_same(golden, logit_fn, free):
    hp = Hare(sampling=Sampling(num_directions=30), margin=0.0)

    def one_round(pool, x, base, ideal):
        elicitor = hare.elicitor(replace(hp, sample_fn=Partial(lambda pool, *_: pool, pool)))
        prefers, key, base = Partial(prefers_nearer, ideal), jax.random.key(0), Recourse(base, jnp.array(True))
        return run(elicitor, prefers, key, logit_fn, x, base, free, num_proposals=1)[0]

    args = golden["candidates"], golden["factual"], golden["growing_spheres"], golden["ideal"]
    best = jax.jit(jax.vmap(one_round))(*args)
    winner = golden["boundary"][np.arange(8), golden["winner"]]
    np.testing.assert_allclose(best.x, winner, atol=2e-6)
    np.testing.assert_allclose(best.x, golden["single"], atol=2e-6)


def test_prototypes_and_validity_agree(golden, logit_fn, free):
    hp = replace(PAPER, num_directions=30)
    optimise = jax.jit(jax.vmap(lambda noise, x, centre: directions(hp, noise, logit_fn, x, centre, free)))
    unit = np.asarray(optimise(golden["start_noise"], golden["factual"], golden["growing_spheres"]))

    def largest_cosine(unit):
        cosine = unit @ np.swapaxes(unit, 1, 2) - 2 * np.eye(30)[None]
        return np.mean(np.max(cosine, axis=1))

    assert abs(largest_cosine(unit) - largest_cosine(golden["prototypes"])) <= 0.01
    # 100 steps through a maximum are chaotic in the last digits: about 0.01 in the median
    assert np.median(np.abs(unit - golden["prototypes"])) <= 0.02

    movable = golden["movable"].astype(bool)
    candidates = golden["growing_spheres"][:, None] + np.where(movable[None, None], unit, 0)
    valid = np.asarray(jax.jit(jax.vmap(jax.vmap(logit_fn)))(candidates)) >= 0
    assert np.mean(valid == golden["candidate_valid"].astype(bool)) >= 0.95


def test_many_rounds_end_as_near_to_the_ideal(golden, logit_fn, free):
    hp = Hare(sampling=replace(PAPER, num_directions=5), margin=0.0)
    movable = golden["movable"].astype(bool)

    def many_rounds(noise, x, base, ideal):
        def one_round(state, noise):
            sample_fn = Partial(paper.from_noise, hp.sampling, movable, noise)
            elicitor = hare.elicitor(replace(hp, sample_fn=sample_fn))
            state = elicitor.propose(state, jax.random.key(0))
            return jax.lax.scan(lambda state, _: (answer(elicitor, ideal, state), None), state, length=5)

        state = hare.elicitor(hp).start(jax.random.key(0), logit_fn, x, Recourse(base, jnp.array(True)), free)
        return jax.lax.scan(one_round, state, noise)[0].best.x

    args = golden["multi_noise"], golden["factual"], golden["growing_spheres"], golden["ideal"]
    best = np.asarray(jax.jit(jax.vmap(many_rounds))(*args))
    distance = np.linalg.norm(best - golden["ideal"], axis=1)
    recorded = np.linalg.norm(golden["multi"] - golden["ideal"], axis=1)
    assert abs(np.mean(distance - recorded)) <= 0.03
