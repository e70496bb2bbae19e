import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spaces import array, split

from hare_jax import models
from hare_jax.base import Recourse
from hare_jax.recourse import METHODS, Reason, bind, why
from hare_jax.space import action_space

ROWS = array([[0.0, 0.0], [0.2, 1.0], [0.9, 1.0]])


def needs(least, x):
    """Accepts a row whose columns sum to `least`."""
    return x[0] + x[1] - least


def outcomes(name, least, rows, mutable=(True, False), **hyperparameters):
    """The recourses of a method for `rows` (n, 2), and the codes (n,) of their reasons, under `jit` and `vmap`."""
    space = action_space(list(mutable), [0.0, 0.0], [1.0, 1.0])
    logit_fn = Partial(Partial(needs), jnp.asarray(least))
    generate = bind(name, jax.random.key(0), logit_fn, ROWS, space, **hyperparameters)

    @jax.jit
    @jax.vmap
    def one(key, x):
        recourse = generate(key, logit_fn, x, space)
        return recourse, why(generate, logit_fn, x, space, recourse)

    return one(split(1, len(rows)), array(rows))


@pytest.mark.parametrize("name", ["nnce", "face"])
def test_training_rows_that_do_not_fit_are_named(name):
    recourse, codes = outcomes(name, 1.5, [[0.0, 1.0], [0.0, 0.0]])
    assert recourse.valid.tolist() == [True, False]
    assert codes.tolist() == [Reason.FOUND, Reason.NO_ROW_FITS]


@pytest.mark.parametrize("name", ["nnce", "face"])
def test_a_classifier_that_accepts_no_training_row_is_named(name):
    assert outcomes(name, 3.0, [[0.0, 1.0]])[1].tolist() == [Reason.NO_ACCEPTED_ROW]


def test_rows_beyond_the_budget_are_a_search_that_ended():
    assert outcomes("nnce", 0.1, [[0.0, -1.5]], block_size=1, num_blocks=1)[1].tolist() == [Reason.SEARCH_ENDED]


def test_exact_proves_that_there_is_none():
    space = action_space([True, True], [0.0, 0.0], [1.0, 1.0])
    for bias, expected in ((-1.5, Reason.FOUND), (-2.5, Reason.IMPOSSIBLE)):
        logit_fn, x = models.classifier(models.from_layers([([[1.0, 1.0]], [bias])])), jnp.zeros(2)
        generate = bind("exact", jax.random.key(0), logit_fn, ROWS, space)
        recourse = generate(jax.random.key(1), logit_fn, x, space)
        assert why(generate, logit_fn, x, space, recourse) == expected


def test_a_row_that_may_not_change_is_named():
    recourse, codes = outcomes("growing_spheres", 1.5, [[0.0, 0.0], [0.9, 0.9]], mutable=(False, False))
    assert recourse.valid.tolist() == [False, True]
    assert codes.tolist() == [Reason.NOTHING_MAY_CHANGE, Reason.FOUND]


def test_the_method_of_a_bound_method_is_found():
    for method in METHODS.values():
        assert [other.generate for other in METHODS.values()].count(method.generate) == 1


def test_every_reason_has_its_own_words():
    assert len({each.text for each in Reason}) == len(Reason)


def test_a_valid_recourse_needs_no_reason():
    space = action_space([True, True], [0.0, 0.0], [1.0, 1.0])
    generate = bind("growing_spheres", jax.random.key(0), Partial(needs, 1.0), ROWS, space)
    found = Recourse(jnp.ones(2), jnp.array(True))
    assert why(generate, Partial(needs, 1.0), jnp.zeros(2), space, found) == Reason.FOUND
    with pytest.raises(ValueError, match="x: must have shape"):
        why(generate, Partial(needs, 1.0), np.zeros(3, np.float32), space, found)
