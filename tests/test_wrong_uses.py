"""Wrong uses of every room: each is an error at once, in one line that names the argument, the rule and the value."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import specs as benchmark_specs
from benchmarks import store, tables
from hare_jax import elicit, models, people, recourse
from hare_jax.app import demo
from hare_jax.base import Recourse
from hare_jax.elicit import Bayes, Choice, Hare, Range, Rating, Sampling, Veto, candidates
from hare_jax.elicit.answers import Rated
from hare_jax.evaluate import expected, metrics, sharding, simulate, summary
from hare_jax.hyperparams import check_fields, typed_fields
from hare_jax.models import vae
from hare_jax.models.blackbox import black_box
from hare_jax.people import Noise, Population, Response, WeightsPrior, objective
from hare_jax.people import fit as preferences
from hare_jax.recourse import METHODS, cost
from hare_jax.recourse.descent import Descent
from hare_jax.space import action_space

WIDTH, NUM, NAN = 3, 8, float("nan")
KEY, RAW_KEY = jax.random.key(0), jax.random.PRNGKey(0)
SPACE = action_space([True] * WIDTH, [0.0] * WIDTH, [1.0] * WIDTH)
X, ROWS, WIDER = jnp.full(WIDTH, 0.25), jnp.full((NUM, WIDTH), 0.25), jnp.zeros(WIDTH + 1)
Y = jnp.arange(NUM) % 2.0
BASE, BASES = Recourse(X, jnp.array(True)), Recourse(ROWS, jnp.ones(NUM, bool))
COMPARED = preferences.Comparisons(ROWS, ROWS, jnp.full(NUM, 2.0))


def logit_fn(x):
    return jnp.sum(x) - 1


FN = jax.tree_util.Partial(logit_fn)


def bind(name="wachter", key=KEY, logit_fn=logit_fn, rows=ROWS, space=SPACE, **hyperparameters):
    return recourse.bind(name, key, logit_fn, rows, space, **hyperparameters)


def generate(key=KEY, logit_fn=logit_fn, x=X, space=SPACE):
    return bind()(key, logit_fn, x, space)


def start(name="multi", key=KEY, logit_fn=logit_fn, x=X, base=BASE, space=SPACE):
    return elicit.bind(name).start(key, logit_fn, x, base, space)


def sample(**hyperparameters):
    return candidates.sample(Sampling(**hyperparameters), KEY, logit_fn, X, X, SPACE)


def session(**options):
    return elicit.session(elicit.bind("multi"), lambda *_: True, KEY, logit_fn, X, BASE, SPACE, **options)


@cache
def opened(name):
    """An elicitor and a state of it, of zeros but for the row and its space."""
    elicitor = elicit.bind(name, budget=4, per_round=2)
    shapes = jax.eval_shape(elicitor.start, KEY, FN, X, BASE, SPACE)
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return elicitor, state._replace(x=X, space=SPACE)


def tell(answer, name="bayes"):
    elicitor, state = opened(name)
    if name == "bayes":
        state = state._replace(ranges=Range(jnp.full(WIDTH, -jnp.inf), jnp.full(WIDTH, jnp.inf)))
    return elicitor.tell(state, answer)


def tell_with_room_for(num, answer):
    """Two recourses have been rated, 1 and 3, and a question is shown; four comparisons fit."""
    elicitor, state = opened("bayes")
    rated = Rated(jnp.array(True), Rating(X, jnp.array(1.0)), Rating(X, jnp.array(3.0)))
    question = state.question._replace(asked=jnp.array(True))
    belief = state.belief._replace(num_told=jnp.array(4 - num))
    return elicitor.tell(state._replace(belief=belief, rated=rated, question=question), answer)


def fit(x=ROWS, y=Y, key=KEY, **hyperparameters):
    return models.fit(models.Training(**hyperparameters), key, x, y)


def users(num=NUM, kinds=("ideal", "weights")):
    return {kind: people.User(jnp.zeros((num, WIDTH)), jnp.ones(num, bool)) for kind in kinds}


def elicit_all(noise=Noise(), key=KEY, users=users(), base=BASES):  # noqa: B008
    return simulate.elicit_all(elicit.bind("multi"), "ideal", noise, key, logit_fn, ROWS, users, base, SPACE)


def over_answers(response=Response(), **options):  # noqa: B008
    args = KEY, logit_fn, X, X, BASE, SPACE
    return expected.over_answers(elicit.bind("multi"), "ideal", response, *args, **options)


def measures(num):
    fields = dict.fromkeys(metrics.Measures._fields, jnp.zeros(NUM))
    return metrics.Measures(**fields | {"l0": jnp.zeros(num)})


def options(n=NUM):
    return Recourse(jnp.zeros((n, WIDTH)), jnp.ones(n, bool))


# name -> call, and the message: argument, rule, value
WRONG = {
    # methods
    "no such method": (lambda: bind("wachtr"), "method", "must be one of ar, .*", "'wachtr'"),
    "no such hyperparameter": (lambda: bind(num_step=3), "wachter hyperparameter", "must be one of .*", "'num_step'"),
    "negative rate": (
        lambda: bind(descent=Descent(learning_rate=-1.0)),
        "descent.learning_rate",
        ".*above 0.*",
        "-1.0",
    ),
    "no steps": (lambda: bind(descent=Descent(num_steps=0)), "descent.num_steps", "must be at least 1", "0"),
    "NaN": (lambda: bind(margin=NAN), "margin", "must be a number", "nan"),
    "text for a float": (lambda: bind(cost_weight="much"), "cost_weight", "must be a number", "'much'"),
    "a float for a count": (lambda: bind(num_boundary_steps=2.0), "num_boundary_steps", "must be an int", "2.0"),
    "a bool for a count": (lambda: bind(num_boundary_steps=True), "num_boundary_steps", "must be an int", "True"),
    "an int for a bool": (lambda: bind("growing_spheres", sparse=1), "sparse", "must be a bool", "1"),
    "no object of hyperparameters": (lambda: bind(descent=3), "descent", "must be a Descent", "3"),
    "no growth": (lambda: bind("growing_spheres", growth=1.0), "growth", "must be above 1.*", "1.0"),
    "infinite radius": (lambda: bind("cchvae", first_radius=np.inf), "first_radius", ".*finite", "inf"),
    "empty blocks": (lambda: bind("nnce", block_size=0), "block_size", "must be at least 1", "0"),
    "no such norm": (lambda: bind("roar", norm="l3"), "norm", "must be one of .*", "'l3'"),
    "no such graph": (lambda: bind("face", graph="tree"), "graph", "must be one of .*", "'tree'"),
    "a share above 1": (lambda: bind("face", density_quantile=2.0), "density_quantile", "must be from 0 to 1", "2.0"),
    "an empty layer": (lambda: vae.fit(vae.Vae(hidden=(0,)), KEY, ROWS, SPACE), "hidden", ".*at least 1", r"\(0,\)"),
    "a layer of 8.5": (lambda: fit(hidden=(8.5,)), r"hidden\[0\]", "must be an int", "8.5"),
    "a list of layers": (lambda: vae.fit(vae.Vae(hidden=[8]), KEY, ROWS, SPACE), "hidden", ".*a tuple", r"\[8\]"),
    "no kept rows": (lambda: bind("revise", num_kept=0), "num_kept", "must be at least 1", "0"),
    "NaN rows": (lambda: bind("nnce", rows=ROWS.at[1, 1].set(NAN)), "rows", "must be finite", "'1 values.*'"),
    "rows of a list": (lambda: bind(rows=[[0.25] * WIDTH]), "rows", "must be an array.*", "'list'"),
    "no rows": (lambda: bind("face", rows=ROWS[:0]), "rows", "must hold at least one row", r"\(0, 3\)"),
    "integer rows": (lambda: bind(rows=jnp.ones((NUM, WIDTH), int)), "rows", "must hold floats", "'int.*'"),
    "wider rows": (lambda: bind(rows=jnp.ones((NUM, 4))), "rows", r"must have shape \(n, 3\)", r"\(8, 4\)"),
    "a raw key": (lambda: bind(key=RAW_KEY), "key", "must be a single key of jax.random.key", "'.*'"),
    "a number for a key": (lambda: bind(key=7), "key", "must be a single key of jax.random.key", "7"),
    "rows and space swapped": (lambda: bind(rows=SPACE, space=ROWS), "space", "must be an ActionSpace", "'.*'"),
    "no space": (lambda: bind(space=None), "space", "must be an ActionSpace", "'NoneType'"),
    "a logit of shape (1,)": (lambda: bind(logit_fn=lambda x: x[:1]), "logit_fn", r"must give a float.*\(\).*", ".*"),
    "a decision for a logit": (
        lambda: bind(logit_fn=lambda x: x[0] > 0),
        "logit_fn",
        "must give a float.*",
        ".*bool.*",
    ),
    "a class for a logit": (
        lambda: bind(logit_fn=lambda x: jnp.argmax(x)),
        "logit_fn",
        "must give a float.*",
        ".*int.*",
    ),
    "no classifier": (lambda: bind(logit_fn=0.5), "logit_fn", "must be a function of one row", "0.5"),
    "an integer factual": (lambda: generate(x=jnp.zeros(WIDTH, int)), "x", "must hold floats", "'int.*'"),
    "a NaN factual": (lambda: generate(x=X.at[0].set(NAN)), "x", "must be finite", r"Array\(\[.*nan.*"),
    "a wider factual": (lambda: generate(x=WIDER), "x", r"must have shape \(3,\)", r"\(4,\)"),
    "a batch": (lambda: generate(x=ROWS), "x", r"must have shape \(3,\)", r"\(8, 3\), a batch.*"),
    "factual and space swapped": (lambda: generate(x=SPACE, space=X), "space", "must be an ActionSpace", "'.*'"),
    "many keys": (lambda: generate(key=jax.random.split(KEY, 2)), "key", "must be a single key.*", r".*\(2,\)'"),
    "another classifier": (lambda: generate(logit_fn=lambda x: x), "logit_fn", "must give a float.*", ".*"),
    "a negative penalty": (lambda: cost.penalty(-1.0, SPACE), "strength", "must be at least 0", "-1.0"),
    "a penalty without space": (lambda: cost.penalty(1.0, None), "space", "must be an ActionSpace", "'NoneType'"),
    "a penalty of a name": (lambda: cost.penalty(1.0, SPACE, "wachter"), "generate", "must be a method.*", "'wachter'"),
    # candidates and elicitors
    "no directions": (lambda: sample(num_directions=0), "num_directions", "must be at least 1", "0"),
    "a negative radius": (lambda: sample(radius=-1.0), "radius", "must be above 0.*", "-1.0"),
    "a NaN rate": (lambda: sample(learning_rate=NAN), "learning_rate", "must be .*", "nan"),
    "sampling of an elicitor": (
        lambda: elicit.hare.elicitor(Hare(sampling=Sampling(num_steps=-1))),
        "sampling.num_steps",
        "must be at least 0",
        "-1",
    ),
    "no sampling": (lambda: elicit.bind("multi", sampling=5), "sampling", "must be a Sampling", "5"),
    "no such elicitor": (lambda: elicit.bind("multy"), "elicitor", "must be one of .*", "'multy'"),
    "no budget": (lambda: elicit.bind("multi", budget=0), "budget", "must be at least 1", "0"),
    "half a question": (lambda: elicit.bind("multi", budget=2.5), "budget", "must be an int", "2.5"),
    "a round above the budget": (lambda: elicit.bind("multi", budget=2, per_round=3), "per_round", ".*budget.*", "3"),
    "noise of 0": (lambda: elicit.bind("bayes", noise=0.0), "noise", "must be above 0.*", "0.0"),
    "few answers": (lambda: elicit.bind("bayes", max_questions=5), "max_questions", ".*the budget, 30", "5"),
    "no such acquisition": (lambda: elicit.bind("bayes", acquisition="luck"), "acquisition", ".*one of.*", "'luck'"),
    "no pool": (lambda: elicit.bayesian.elicitor(Bayes(num_pool=0)), "num_pool", "must be at least 1", "0"),
    "no lapse rates": (lambda: elicit.bind("bayes", lapses=()), "lapses", "must hold at least one", r"\(\)"),
    "a negative number of proposals": (lambda: session(num_proposals=-1), "num_proposals", ".*at least 1", "-1"),
    "a base that is a row": (lambda: start(base=X), "recourse", "must be a Recourse", "'.*'"),
    "a wider base": (lambda: start(base=Recourse(WIDER, True)), "recourse_x", ".*shape.*", r"\(4,\)"),
    "a raw key of a session": (lambda: start("bayes", key=RAW_KEY), "key", "must be a single key.*", "'.*'"),
    "a logit of a session": (lambda: start("bayes", logit_fn=lambda x: x), "logit_fn", "must give a float.*", ".*"),
    "a session of a name": (
        lambda: elicit.session("multi", FN, KEY, FN, X, BASE, SPACE),
        "elicitor",
        "must be an Elicitor.*",
        "'multi'",
    ),
    "no sampler": (lambda: elicit.bind("multi", sample_fn=3), "sample_fn", "must be a function", "3"),
    "a list of probabilities": (lambda: elicit.bind("bayes", probabilities=[1.0]), "probabilities", ".*dict.*", ".*"),
    # answers
    "7 is no answer": (lambda: tell(7), "answer", "must be 0, 1 or 2.*", "7"),
    "True is no answer": (lambda: tell(True), "answer", "must be 0, 1 or 2.*", "True"),
    "text is no answer": (lambda: tell("a"), "answer", "must be 0, 1 or 2.*", "'a'"),
    "None is no answer": (lambda: tell(None), "answer", "must be 0, 1 or 2.*", "None"),
    "3 is no answer to HARE": (lambda: tell(3, "multi"), "answer", "must be 0, 1 or 2.*", "3"),
    "no veto for HARE": (lambda: tell(Veto(X > 0), "multi"), "answer", "must be 0, 1 or 2.*", "Veto.*"),
    "option 9 of 4": (lambda: tell(Choice(options(4), 9)), "chosen", "must be .* from 0 to 3", "9"),
    "options of no recourse": (lambda: tell(Choice(ROWS, 0)), "options", "must be a Recourse", "Array.*"),
    "an infinite rating": (lambda: tell(Rating(X, np.inf)), "value", "must be finite", "inf"),
    "a rating in words": (lambda: tell(Rating(X, "good")), "value", "must be a number", "'good'"),
    "a wider veto": (lambda: tell(Veto(WIDER > 0)), "columns", r"must have shape \(3,\)", r"\(4,\)"),
    "a veto of names": (lambda: tell(Veto(["age", "sex", "pay"])), "columns", "must be an array", r"\['age'.*"),
    "a veto of floats": (lambda: tell(Veto(X)), "columns", "must be boolean", "'float.*'"),
    "a crossed range": (lambda: tell(Range(X + 1, X)), "lower", "must not exceed upper", "'columns .*"),
    "a wider range": (lambda: tell(Range(WIDER, WIDER)), "lower", r"must have shape \(3,\)", r"\(4,\)"),
    "a NaN range": (lambda: tell(Range(X, X * NAN)), "upper", "must not be NaN", "Array.*"),
    "a range in dollars": (lambda: tell(Range(X + 900, X + 1000)), "range", ".*encoded units", r"\(900.25, 1000.25\)"),
    "an answer too many": (
        lambda: tell_with_room_for(0, 0),
        "answer",
        r"must fit.*at most 4.*max_questions.*",
        "'one of 1.*",
    ),
    "a rating between two": (
        lambda: tell_with_room_for(1, Rating(X, 2.0)),
        "answer",
        "must fit.*",
        "'one of 2 with.* 1'",
    ),
    "an offer of nothing": (lambda: elicit.offer(opened("bayes")[1], KEY, 0), "num", "must be at least 1", "0"),
    # people
    "no such person": (lambda: people.prefers("goal", X), "person", "must be one of ideal, weights, .*", "'goal'"),
    "an error rate above 1": (lambda: people.noisy(Noise(flip=1.5), logit_fn), "flip", "must be from 0 to 1", "1.5"),
    "a negative probability": (
        lambda: people.flipped(-0.1, logit_fn, KEY, X, X, X),
        "probability",
        "must be from 0 to 1",
        "-0.1",
    ),
    "a negative distance": (
        lambda: people.draw(Population(distance=-1.0), KEY, logit_fn, X, SPACE),
        "distance",
        "must be at least 0",
        "-1.0",
    ),
    "a lapse rate above 1/2": (lambda: people.answering(Response(lapse=0.6), FN), "lapse", "must be from.*", "0.6"),
    "no such link": (lambda: people.answering(Response(link="logit"), FN), "link", "must be one of .*", "'logit'"),
    "a flat prior": (
        lambda: elicit.bind("bayes", priors={"weights": WeightsPrior(sd=0.0)}),
        "weights prior sd",
        "must be above 0",
        "0.0",
    ),
    "half an answer": (
        lambda: preferences.answers(objective.Objective(), X, COMPARED),
        "chose_a",
        "must be from 0 to 1",
        "Array.*",
    ),
    "no such cost": (
        lambda: objective.column_costs(objective.Objective(kind="l0"), X, X),
        "kind",
        "must be one of .*",
        "'l0'",
    ),
    # evaluate
    "nobody": (lambda: simulate.generate_all(bind(), KEY, FN, ROWS[:0], SPACE), "x", ".*at least one.*", r"\(0, 3\)"),
    "too few keys": (
        lambda: simulate.generate_all(bind(), jax.random.split(KEY, 3), FN, ROWS, SPACE),
        "key",
        "must be a single key.*",
        r".*\(3,\)'",
    ),
    "users of another kind": (lambda: elicit_all(users=users(kinds=("weights",))), "users", "must hold ideal.*", ".*"),
    "users of other rows": (lambda: elicit_all(users=users(NUM - 1)), "users", ".*as x has rows", ".*"),
    "bases of other rows": (lambda: elicit_all(base=options(NUM - 1)), "base_x", "must have shape.*", r"\(7, 3\)"),
    "noise that is a number": (lambda: elicit_all(noise=0.1), "noise", "must be a Noise", "0.1"),
    "recourses of other rows": (
        lambda: simulate.measure_all(logit_fn, ROWS, options(NUM - 1), SPACE, users()),
        "recourse_x",
        "must have shape.*",
        r"\(7, 3\)",
    ),
    "leaves of two lengths": (lambda: sharding.map_users(sum, (ROWS, Y[:2])), "rows", ".*one length.*", ".*"),
    "empty batches": (lambda: sharding.map_users(sum, ROWS, batch_size=0), "batch_size", ".*at least 1", "0"),
    "metrics of two lengths": (lambda: summary.summarise(KEY, measures(2)), "l0", r"must have shape \(8,\)", r"\(2,\)"),
    "more successes than trials": (lambda: summary.wilson_interval(3, 2), "successes", ".*from 0 to n", r"\(3, 2\)"),
    "a level in percent": (lambda: summary.wilson_interval(1, 2, 95), "level", "must be above 0 and below 1", "95"),
    "no draws of answers": (lambda: over_answers(num_draws=1), "num_draws", "must be at least 2.*", "1"),
    "a negative sharpness": (lambda: over_answers(Response(sharpness=-1.0)), "sharpness", ".*at least 0", "-1.0"),
    # models
    "no epochs": (lambda: fit(num_epochs=0), "num_epochs", "must be at least 1", "0"),
    "a negative rate of training": (lambda: fit(learning_rate=-1), "learning_rate", "must be above 0.*", "-1"),
    "a warm-up in percent": (lambda: fit(warmup=50.0), "warmup", "must be from 0 to 1", "50.0"),
    "a raw key of training": (lambda: fit(key=RAW_KEY), "key", "must be a single key.*", "'.*'"),
    "rows in a list": (lambda: fit(x=[[0.0] * WIDTH] * NUM), "x", "must be an array", "'list'"),
    "infinite rows": (lambda: fit(x=ROWS.at[0, 0].set(jnp.inf)), "x", "must be finite", "'1 values that are not'"),
    "no parameters": (lambda: models.classifier(None), "params", "must be the parameters of.*", "'NoneType'"),
    "labels of 1 and 2": (lambda: fit(y=Y + 1), "y", "must hold both 0 and 1.*", r"\[1.0, 2.0\]"),
    "labels of other rows": (lambda: fit(y=Y[:3]), "y", r"must have shape \(8,\).*", r"\(3,\)"),
    "two outputs": (
        lambda: models.classifier(models.from_layers([(np.ones((2, WIDTH)), np.ones(2))])),
        "params",
        "must have one output.*",
        r"\(2,\)",
    ),
    "no layers": (lambda: models.from_layers([]), "layers", "must hold at least one layer", r"\[\]"),
    "a bias of another width": (
        lambda: models.from_layers([(np.ones((1, WIDTH)), np.ones(2))]),
        r"layers\[0\]",
        r"must have a bias of shape \(1,\)",
        r"\(2,\)",
    ),
    "a black box that is a number": (lambda: black_box(0.5), "predict_proba", "must be a function", "0.5"),
    "logits for probabilities": (
        lambda: black_box(lambda x: 3 * x[:, 0] + 1, ROWS),
        "predict_proba",
        "must give probabilities.*",
        ".*",
    ),
    "one probability": (lambda: black_box(lambda x: 0.5, ROWS), "predict_proba", r"must give \(8, 2\).*", r"\(\)"),
    # the command lines
    "no such data set": (lambda: demo.check(demo.Demo(dataset="adlt")), "dataset", "must be one of .*", "'adlt'"),
    "no users": (lambda: demo.check(demo.Demo(num_users=0)), "num-users", "must be at least 1", "0"),
    "no such table": (lambda: tables.specs("table0", tables.Choice()), "table", "must be one of .*", "'table0'"),
    "no such level": (lambda: tables.specs("table2", tables.Choice(levels=("x",))), "levels", ".*", "'x'"),
    "no benchmark users": (lambda: tables.specs("table1", tables.Choice(users=0)), "users", ".*at least 1", "0"),
    "no such base method": (lambda: benchmark_specs.named_methods(["watcher"]), "methods", ".*among .*", "'watcher'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_use_is_one_line_with_argument_rule_and_value(name):
    call, argument, rule, value = WRONG[name]
    with pytest.raises((ValueError, TypeError)) as raised:
        call()
    assert re.fullmatch(f"{argument}: {rule}; got {value}", str(raised.value)), str(raised.value)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("x", lambda: generate(x=X.at[1].set(52_000.0))),
        ("rows", lambda: bind(rows=ROWS.at[1].set(52_000.0))),
        ("x", lambda: start(x=X.at[0].set(-52_000.0))),
    ],
)
def test_rows_in_original_units_are_a_warning(argument, call):
    with pytest.warns(UserWarning, match=f"^{argument}: should be in encoded units; got values that are 5.2e"):
        call()


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^out: must be a folder that can be written to; got '.*', Not a directory$"):
        store.Store(tmp_path / "file" / "results")


@pytest.mark.parametrize("cls", [*(method.hyperparams for method in METHODS.values()), Bayes, Hare, models.Training])
def test_every_number_of_the_hyperparameters_has_a_range(cls):
    check_fields(cls(), cls)
    free = {field.name for field in typed_fields(cls) if field.kind in (int, float) and not field.rules}
    assert free <= {"least_gain"}, "see the types of hare_jax.hyperparams"


def test_there_are_enough_of_them():
    assert len(WRONG) >= 60
