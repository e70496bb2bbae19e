import io
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spaces import WIDTH, full_space, jit, split

from hare_jax import elicit
from hare_jax.base import Recourse
from hare_jax.elicit import Hare, Sampling, attach, detach, load, save
from hare_jax.models.blackbox import black_box
from hare_jax.space import action_space

X = np.where(np.arange(WIDTH) % 3 == 0, 0.25, 0).astype("float32")
X[6:9], X[10:] = [1, 0, 0], [1, 0]


def probability(rows):
    """That of a black box: a step function, more often accepted the higher the first columns."""
    return 1 / (1 + np.exp(1.2 - np.floor(4 * rows[:, :5]).sum(axis=1) / 2))


def bound(name="multi", budget=6, per_round=3, **hyperparameters):
    sampling = Sampling(num_steps=2, validity_gradient=False)
    return elicit.bind(name, budget=budget, per_round=per_round, **{"sampling": sampling, **hyperparameters})


LOGIT_FN = black_box(probability)


@pytest.fixture(scope="module")
def state():
    """The state of a session with a black box, after its first proposal."""
    elicitor, keys = bound(), split(3, 2)
    base = Recourse(np.where(np.arange(WIDTH) < 5, 1, X).astype("float32"), np.array(True))
    begin = jit(lambda key, base: elicitor.propose(elicitor.start(key, LOGIT_FN, X, base, full_space()), keys[1]))
    return begin(keys[0], base)


@pytest.fixture
def file(state, tmp_path):
    path = tmp_path / "session.npz"
    save(path, bound(), state)
    return path


def test_a_state_is_detached_and_attached(state):
    assert detach(state).logit_fn is None
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(detach(state)))
    again = attach(detach(state), LOGIT_FN)
    assert jax.tree.structure(again) == jax.tree.structure(state)


def test_a_loaded_session_continues_as_the_saved_one(state, file):
    elicitor, opened = bound(), io.BytesIO()
    save(opened, elicitor, state)
    opened.seek(0)

    @jit
    def following(state):
        state = elicitor.tell(state, jnp.array(elicit.PREFERS_B))
        return elicitor.ask(state), elicitor.recommend(state)

    assert file.parent.joinpath("session.npz.part").exists() is False
    assert np.any(state.waiting)
    for where in (file, opened):
        loaded = load(where, bound(), LOGIT_FN, full_space())
        jax.tree.map(np.testing.assert_array_equal, loaded, state)
        jax.tree.map(np.testing.assert_array_equal, following(loaded), following(state))


@pytest.mark.slow
def test_a_bayesian_session_with_a_black_box_calls_it_rarely_and_is_saved(tmp_path):
    rows = []

    def counted(x):
        rows.append(len(x))
        return probability(x)

    elicitor = elicit.bind("bayes", budget=5, num_pool=8)
    start, propose, tell = jit(elicitor.start), jit(elicitor.propose), jit(elicitor.tell)
    keys, base = split(3, 3), Recourse(np.where(np.arange(WIDTH) < 5, 1, X).astype("float32"), np.array(True))
    state = tell(propose(start(keys[0], black_box(counted), X, base, full_space()), keys[1]), jnp.array(0))
    save(tmp_path / "session.npz", elicitor, state)
    following = []
    for each in (state, load(tmp_path / "session.npz", elicitor, black_box(counted), full_space())):
        rows.clear()
        asked = propose(each, keys[2])
        following.append(jax.device_get((asked.question, tell(asked, jnp.array(1)).best)))
        assert (len(rows), sum(rows)) == (10, 3006)  # docs/elicitation.md
    assert following[0][0].asked
    jax.tree.map(np.testing.assert_array_equal, *following)


def test_a_float_hyperparameter_may_be_an_array(state, file):
    load(file, bound(margin=jnp.float32(bound().recommend.args[0].margin)), LOGIT_FN, full_space())


WRONG_ELICITORS = [
    (lambda: bound("random"), r"must be of the elicitor given, whose propose is hare_jax.elicit.random._propose; got"),
    (lambda: bound("multi", margin=2e-3), r"whose propose.0.margin is 0.002; got '0.001'"),
    (lambda: bound("multi", per_round=2), r"whose propose.0.sampling.num_directions is 2; got '3'"),
    (lambda: elicit.bind("bayes", budget=6), r"whose ask is hare_jax.elicit.base._question; got"),
]


@pytest.mark.parametrize(("elicitor", "message"), WRONG_ELICITORS)
def test_another_elicitor_is_an_error(file, elicitor, message):
    with pytest.raises(ValueError, match=rf"session.npz: .*{message}"):
        load(file, elicitor(), LOGIT_FN, full_space())


def changed(file, **arrays):
    """The file with other arrays; None removes one."""
    with np.load(file) as content:
        arrays = {**content, **arrays}
    with file.open("wb") as opened:
        np.savez(opened, **{name: array for name, array in arrays.items() if array is not None})


def cut(file, num):
    file.write_bytes(file.read_bytes()[:num])


def npy(file):
    with file.open("wb") as opened:
        np.save(opened, X)


DAMAGE = {
    "whole and unchanged": [
        lambda file: cut(file, 0),
        lambda file: cut(file, 100),
        lambda file: cut(file, -1),
        lambda file: file.write_text("no session"),
        lambda file: changed(file, **{".x": np.array([None])}),
        lambda file: file.write_bytes(file.read_bytes().replace(X.tobytes(), (X + 1).tobytes())),
    ],
    r"must be a session written by elicit.save, whole and unchanged; got \[": [npy, lambda file: np.savez(file, a=X)],
    "must have format 1; got 2": [lambda file: changed(file, format=2)],
    r"missing or unknown; got \['.waiting'\]": [lambda file: changed(file, **{".waiting": None})],
    r"missing or unknown; got \['.else'\]": [lambda file: changed(file, **{".else": X})],
    r"must have .waiting of shape \(3,\) and dtype bool; got \(\(2,\), 'bool'\)": [
        lambda file: changed(file, **{".waiting": np.ones(2, bool)})
    ],
    r"must have .position of shape \(\) and dtype int32; got": [lambda file: changed(file, **{".position": 0.5})],
    "jax_enable_x64": [lambda file: changed(file, **{".x": X.astype("float64")})],
}


@pytest.mark.parametrize(("message", "damage"), [(m, damage) for m, several in DAMAGE.items() for damage in several])
def test_a_damaged_file_is_one_error(file, message, damage):
    damage(file)
    with pytest.raises(ValueError, match=rf"session.npz: .*{message}"):
        load(file, bound(), LOGIT_FN, full_space())


def test_another_width_or_classifier_is_an_error(file):
    narrow = action_space([True] * 4, np.zeros(4), np.ones(4))
    with pytest.raises(ValueError, match=r"session.npz: must have x of shape \(4,\), the width of the space; got"):
        load(file, bound(), LOGIT_FN, narrow)
    for wrong in (lambda z: z @ jnp.ones(4), black_box(lambda rows: rows @ np.ones(4))):
        with pytest.raises(ValueError, match=r"logit_fn: must accept the session's row of 12 columns; got"):
            load(file, bound(), wrong, full_space())
    with pytest.raises(ValueError, match=r"logit_fn: must return a scalar; got \(12,\)"):
        load(file, bound(), lambda z: z, full_space())
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        load(file.with_name("none.npz"), bound(), LOGIT_FN, full_space())


def test_what_is_no_state_is_an_error(state, tmp_path):
    batch = jax.tree.map(lambda leaf: leaf[None], state)
    for wrong, message in [
        (detach(state)._asdict(), "must be the state of a session; got 'dict'"),
        (batch, r"must be of one session, with x of shape \(d,\); got \(1, 12\)"),
    ]:
        with pytest.raises(ValueError, match=f"state: {message}"):
            save(tmp_path / "other.npz", bound(), wrong)
    with pytest.raises(ValueError, match=r"state: must be a state of the elicitor Elicitor.*question"):
        save(tmp_path / "other.npz", elicit.bind("bayes"), state)
    with pytest.raises(ValueError, match="state: must not be traced"):
        jit(lambda state: save(tmp_path / "other.npz", bound(), state))(state)
    assert list(tmp_path.iterdir()) == []


def test_a_description_names_every_hyperparameter():
    names = elicit.saving._description(replace(bound(), num_proposals=9))
    assert names == elicit.saving._description(bound())
    other = elicit.saving._description(elicit.bind("multi", budget=6, per_round=3, sample_fn=Hare().sample_fn))
    assert {name for name in names if names[name] != other[name]} == {
        f"{fn}.0.sampling.{field}"
        for fn in ("start", "propose", "recommend")
        for field in ("num_steps", "validity_gradient")
    }
