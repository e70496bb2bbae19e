"""The favourable value as a value, a list or a condition, in labels and as the default of `wrap`."""

import numpy as np
import pandas as pd
import pytest

from hare_jax import conditions, data, models
from hare_jax.models.wrapping import decision, wanted

LEVEL = [1, 4, 2, 6, 3, 8, 5, 7]


def table(target, positive):
    frame = pd.DataFrame({"income": range(10, 90, 10), "level": target})
    return data.from_frame(
        frame, {"target": "level", "positive": positive, "features": {"income": {"type": "continuous"}}}, test=frame
    )


@pytest.mark.parametrize(
    ("target", "positive", "accepted"),
    [
        (list("abcabcab"), ["a", "b"], [1, 1, 0, 1, 1, 0, 1, 1]),
        (list("abcabcab"), ["c"], [0, 0, 1, 0, 0, 1, 0, 0]),
        (LEVEL, [4], [0, 1, 0, 0, 0, 0, 0, 0]),
        (pd.Categorical(list("abcabcab"), ordered=True), ("b", "c"), [0, 1, 1, 0, 1, 1, 0, 1]),
        (LEVEL, ">= 6", [0, 0, 0, 1, 0, 1, 0, 1]),
        (LEVEL, "<2.5", [1, 0, 1, 0, 0, 0, 0, 0]),
        (pd.array(LEVEL, "Int64"), " > 6 ", [0, 0, 0, 0, 0, 1, 0, 1]),
        (np.array(LEVEL) / 10, "<= .3", [1, 0, 1, 0, 1, 0, 0, 0]),
        ([">= 6", "< 6"] * 4, ">= 6", [1, 0] * 4),  # text that only looks like a condition
        ([True, False] * 4, True, [1, 0] * 4),
    ],
)
def test_labels_by_positive(target, positive, accepted):
    got = table(target, positive)
    assert got.y_train.tolist() == got.y_test.tolist() == accepted


def test_one_favourable_value_of_three_is_a_list_for_schemas_and_proposals():
    frame = pd.DataFrame({"income": [10, 20, 30] * 4, "level": list("abc") * 4})
    with pytest.warns(UserWarning, match=r"target 'level': values other than \['c'\] are unfavourable"):
        schema = table(list("abcabcab"), "c").schema
    assert schema["positive"] == data.infer(frame, "level", positive="c")["positive"] == ["c"]
    with (
        pytest.warns(UserWarning, match="unfavourable"),
        pytest.raises(ValueError, match=r"target 'level': must take the favourable values \['d'\]; got \['d'\]"),
    ):
        table(list("abcabcab"), "d")


def test_a_listed_target_may_have_other_values_in_the_test_rows():
    frame = pd.DataFrame({"income": [1.0, 2.0, 3.0], "level": ["a", "b", "c"]})
    schema = {"target": "level", "positive": ["a", "d"], "features": {"income": {"type": "continuous"}}}
    got = data.from_frame(frame, schema, test=frame.assign(level=["d", "e", "a"]))
    assert (got.y_train.tolist(), got.y_test.tolist()) == ([1, 0, 0], [1, 0, 1])


@pytest.mark.parametrize(
    ("positive", "classes", "inside"),
    [
        (["a", "c"], ["a", "b", "c"], (0, 2)),
        (["a"], ["a", "b", "c"], (0,)),
        (["a", "rare"], ["a", "b"], (0,)),
        (["a", "b"], [0, 1], (1,)),  # a model of the table's labels
        (">= 6", [4, 5, 6, 7], (2, 3)),
        ("< 5", [4.0, 5.0, 6.0], (0,)),
        (">= 6", [0, 1], (1,)),
    ],
)
def test_the_wanted_classes_are_by_default_those_of_the_table(positive, classes, inside):
    for given in (None, positive):
        found = wanted.by_class(given, decision.PROBABILITY, classes, positive)
        assert found.decision.inside == inside
        assert found.labelled


def test_other_classes_than_the_favourable_ones_have_no_labels():
    assert not wanted.by_class("b", decision.PROBABILITY, ["a", "b", "c"], ["a"]).labelled
    with pytest.raises(ValueError, match=r"wanted: must name one of the classes \['a', 'b', 'c'\]; got None"):
        wanted.by_class(None, decision.PROBABILITY, ["a", "b", "c"], ["d"])
    assert wanted.by_value("> 6", 1.0, ">= 6").labelled is False


class Regressor:
    def __init__(self, sign):
        self.sign = sign

    def predict(self, frame):
        return self.sign * (frame["income"].to_numpy() - 45) / 10 + 5


def test_a_regressor_is_wanted_by_the_condition_of_the_table():
    got = table(range(1, 9), ">= 6")
    logit_fn = models.wrap(Regressor(1), got)
    assert repr(logit_fn) == "Wrapped(Regressor, wanted='>= 6')"
    assert [float(logit_fn(x)) >= 0 for x in got.x_test] == [False] * 5 + [True] * 3
    with pytest.warns(UserWarning, match="Regressor agrees with the table's labels no better than chance"):
        models.wrap(Regressor(-1), got)


def test_a_condition_accepts_no_missing_number():
    for text in ("> 1", "<= 1", ">= 1"):
        assert not conditions.parse(text).accepts(np.array([np.nan])).any()
