import pytest

from hare_jax.app.terminal import entered
from hare_jax.app.terminal.entered import Command, Limits
from hare_jax.data.schema import Feature

FEATURES = [
    Feature("income", "continuous", True, 0, "$", "yearly income", low=0.0, high=9.0),
    Feature("card_debt", "ordered", True, -1, "$", "debt to income", low=0.0, high=9.0),
    Feature("job", "categorical", True, 0, "", "job", categories=("full", "none")),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", Command("a")),
        (" B ", Command("b")),
        ("?", Command("?")),
        ("can't tell", Command("?")),
        ("v", Command("v")),
        ("veto Savings, Debt", Command("v", "Savings, Debt")),
        ("v 1", Command("v", "1")),
        ("what if income = 3", Command("w", "income = 3")),
        ("s my session.json", Command("s", "my session.json")),
        ("accept", Command("y")),
        ("quit", Command("q")),
    ],
)
def test_a_command(text, expected):
    assert entered.command(text) == expected


@pytest.mark.parametrize("text", ["x", "ab", "a b", "", "11", "yes please"])
def test_no_command(text):
    with pytest.raises(ValueError, match="is none of the keys a b"):
        entered.command(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [("1", "income"), ("Yearly  Income", "income"), ("card debt", "card_debt"), ("year", "income"), ("j", "job")],
)
def test_a_feature(text, name):
    assert entered.feature(text, FEATURES).name == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("income 20 60", Limits("income", 20.0, 60.0)),
        ("income 20 to 60", Limits("income", 20.0, 60.0)),
        ("income 20..60", Limits("income", 20.0, 60.0)),
        ("debt to income -5 30,000", Limits("card_debt", -5.0, 30_000.0)),
        ("2 - 60", Limits("card_debt", None, 60.0)),
        ("income >= 20", Limits("income", 20.0, None)),
        ("income<60.5", Limits("income", None, 60.5)),
    ],
)
def test_limits(text, expected):
    assert entered.limits(text, FEATURES) == expected


def test_changes():
    known = {one.name: one for one in FEATURES}
    assert entered.changes("income = 30,000, job=none", known) == {"income": 30_000.0, "job": "none"}
    assert entered.changes("card debt = 2; yearly income=1", known) == {"card_debt": 2.0, "income": 1.0}


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (entered.limits, "income", "'income' is not a name and two limits, as in: income 20 60"),
        (entered.limits, "income a b", "'a' must be a number such as 30,000 or 12.5"),
        (entered.limits, "income 1 2,5", "'2,5' must be a number"),
        (entered.limits, "income 1 inf", "'inf' must be a number"),
        (entered.limits, "pay 1 2", "'pay' is none of: yearly income, debt to income, job"),
        (entered.names, "", "'' is none of"),
        (entered.names, "job, 7", "'7' is none of"),
    ],
)
def test_wrong_input(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text, FEATURES)


@pytest.mark.parametrize("text", ["income", "income =", "= 3", "income = 1,2x", "pay = 3"])
def test_a_wrong_proposal(text):
    with pytest.raises(ValueError, match=r"'.*' (is (not|none)|must be a number)"):
        entered.changes(text, {one.name: one for one in FEATURES})
