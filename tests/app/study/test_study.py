"""A study without its pages: the design, the assignment, what is stored, and the export."""

import sqlite3
import tomllib
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hare_jax.app import cli
from hare_jax.app.study import analysis, assigning, database, exporting, facts, items, reading
from hare_jax.app.study.database import AlreadyStoredError, Database, UnavailableError
from hare_jax.app.study.store import Answer, Outcome, Store

EXAMPLE = tomllib.loads(reading.EXAMPLE.read_text("utf-8"))
OPTION = {"label": "recommendation", "sentence": "raise income", "changes": [], "row": {}}


def changed(path, value):
    """The example with the value at a path of keys; None removes it."""
    found = tomllib.loads(reading.EXAMPLE.read_text("utf-8"))
    *parents, last = path
    table = found
    for key in parents:
        table = table[key]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return reading.of(EXAMPLE, tmp_path_factory.mktemp("study"))


@pytest.fixture
def kept(tmp_path):
    found = Database(tmp_path / "study.db", create=True)
    yield Store(found)
    found.close()


def test_the_example(study):
    assert [arm.name for arm in study.arms] == ["bayes", "hare"]
    assert study.rating.points == 7
    assert study.arm("hare").hyperparameters == {"per_round": 5}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["titel"], "x", "study: unknown key; may hold title, seed, .*; got ['titel']"),
        (["title"], None, "title: must be given; got None"),
        (["title"], " ", "title: must be text, not empty; got ' '"),
        (["seed"], -1, "seed: must be a whole number from 0 to 2147483647; got -1"),
        (["seed"], True, "seed: must be a whole number from 0 to 2147483647; got True"),
        (["block"], 0, "block: must be a whole number from 1 to 20; got 0"),
        (["row"], "chosen", "row: must be one of assigned, entered; got 'chosen'"),
        (["repeat"], 11, "repeat: must be at most 10, the questions of an arm; got 11"),
        (["stop"], "no", "stop: must be true or false; got 'no'"),
        (["data", "file"], "loans.csv", "data: file: must be a CSV file, or one of mortgage, .*; got 'loans.csv'"),
        (["data", "threshold"], float("nan"), "data.threshold: must be above 0 and below 1; got nan"),
        (["data", "schema"], "s.toml", "data: mortgage: is a data set with its own schema; got 'mortgage'"),
        (["consent", "statement"], None, "consent.statement: must be given; got None"),
        (["arms"], {}, "arms: must have a table for each arm, as [arms.NAME]; got {}"),
        (["arms", "a b"], {"elicitor": "bayes"}, "arms: must be named by 1 to 40 letters, .*; got 'a b'"),
        (["arms", "bayes", "elicitor"], "best", "arms.bayes.elicitor: must be one of .*; got 'best'"),
        (["arms", "bayes", "base"], "best", "arms.bayes.base: must be one of ar, .*; got 'best'"),
        (["arms", "bayes", "hyperparameters"], {"depth": 1}, "arms.bayes.hyperparameters: .*depth"),
        (["before", 0, "type"], "slider", "before.1.type: must be one of scale, choice, number, text; got 'slider'"),
        (["before", 0, "range"], [5, 5], "before.1.range: must be [lowest, highest]; got [5, 5]"),
        (["before", 0, "range"], [0, 10**400], "before.1.range: must be [lowest, highest]; got [0, 1000"),
        (["before", 1, "name"], "age", "before: must have different names; got ['age']"),
        (["before", 1, "choices"], ["yes"], "before.2.choices: must be two or more different texts; got ['yes']"),
        (["after", 0, "labels"], ["a", "b", "c"], "after.1.labels: must be two texts, for its ends, or 5, .*"),
        (["after", 0, "points"], 1, "after.1.points: must be a whole number from 2 to 11; got 1"),
        (["rating", "points"], 4, "rating.points: must be an odd number from 3 to 11; got 4"),
    ],
)
def test_a_wrong_design_is_an_error(tmp_path, path, value, message):
    found = changed(path, value)
    rule = (
        message.replace("[", r"\[").replace("]", r"\]").replace("(", r"\(").replace(")", r"\)").replace("{}", r"\{\}")
    )
    with pytest.raises(ValueError, match=f"^{rule}"):
        reading.of(found, tmp_path)


def test_values_of_items(study):
    age, loans, remarks = *study.before, study.after[1]
    assert items.value_of(age, " 40 ") == 40
    assert items.value_of(age, "") is None
    assert items.value_of(loans._replace(choices=(" yes ", "no")), "0") == " yes "
    assert items.value_of(remarks, "one\r\n" * 125) == "one\n" * 124 + "one"
    for item, wrong in (
        (age, "4_0"),
        (age, "40.5"),
        (age, "nan"),
        (age, "17"),
        (loans, "yes"),
        (loans, "3"),
        (loans, ""),
    ):
        with pytest.raises(ValueError, match="Please"):
            items.value_of(item, wrong)


def test_arms_are_balanced_and_follow_from_the_seed(study):
    names = [assigning.arm_of(study, number).name for number in range(400)]
    size = study.block * len(study.arms)
    assert all(set(Counter(names[at : at + size]).values()) == {study.block} for at in range(0, 400, size))
    assert names == [assigning.arm_of(study, number).name for number in range(400)]
    assert names != [assigning.arm_of(study._replace(seed=2), number).name for number in range(400)]
    assert len({tuple(names[at : at + size]) for at in range(0, 400, size)}) == 6  # all orders of two and two
    rows = [assigning.row_of(study, number, 7) for number in range(14)]
    assert sorted(rows) == sorted([*range(7)] * 2)
    assert len({assigning.seed_of(study, number) for number in range(400)}) == 400
    assert 150 < sum(assigning.base_is_first(study, number) for number in range(400)) < 250


def answer(number, choice="A", repeats=None):
    options = [
        {"label": label, "sentence": f"raise {label}", "changes": [{"feature": "x", "after": label}]} for label in "AB"
    ]
    return Answer(number, repeats, choice, {"options": options}, 1.5)


def begun(kept, token="token of one", arm="bayes"):
    kept.begin(token, lambda number: arm)
    return kept.find(token).number


def test_each_answer_is_stored_once(kept):
    number = begun(kept)
    with pytest.raises(AlreadyStoredError):
        kept.begin("token of one", lambda number: "bayes")
    kept.save_row(number, {"income": 1}, "{}", None)
    kept.save_answer(number, answer(1), '{"after": 1}', None)
    for again in (1, 3):
        with pytest.raises(AlreadyStoredError):
            kept.save_answer(number, answer(again, "B"), '{"after": 9}', None)
    assert kept.session(number) == '{"after": 1}'
    kept.save_items(number, "before", {"age": 20, "note": None})
    with pytest.raises(AlreadyStoredError):
        kept.save_items(number, "before", {"age": 30})
    record = kept.find("token of one")
    assert (record.num_answers, record.steps) == (1, {"row", "before"})
    assert kept.find("second") is None
    assert b"token of one" not in kept.database.path.read_bytes()
    kept.withdraw(number)
    assert kept.find("token of one").withdrawn
    with pytest.raises(AlreadyStoredError):
        kept.save_answer(number, answer(1), "{}", None)
    with kept.database.reading() as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("answers", "items")]
    assert counts == [0, 0]


def test_nothing_is_left_of_a_person_who_withdraws(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_PRAGMAS", ("secure_delete = ON", "synchronous = OFF"))
    opened = Database(tmp_path / "study.db", create=True)
    store, rng = Store(opened), np.random.default_rng(0)
    numbers = [begun(store, f"token {index}") for index in range(40)]
    for number in rng.permutation(numbers * 6).tolist():  # as people who answer at the same time
        count = store.find(f"token {number}").num_answers
        text = f"<{number}>" * int(rng.integers(100, 4000))
        store.save_answer(number, answer(count + 1)._replace(shown=text), text, None)
    withdrawn = rng.permutation(numbers)[:20].tolist()
    for number in withdrawn:
        store.withdraw(number)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [number for number in numbers if f"<{number}>".encode() not in content] == sorted(withdrawn)
    opened.close()


def test_a_full_disk_and_a_locked_file_lose_nothing(kept, monkeypatch):
    number = begun(kept)
    kept.save_answer(number, answer(1), "{}", None)
    path = kept.database.path
    monkeypatch.setattr(database, "TIMEOUT", 0.01)
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, "max_page_count = 1"))
    kept.database.close()
    with pytest.raises(UnavailableError, match="full"):
        kept.save_answer(number, answer(2), "x" * 100_000, None)
    monkeypatch.undo()
    monkeypatch.setattr(database, "TIMEOUT", 0.01)
    kept.database.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        kept.save_answer(number, answer(2), "{}", None)
    assert kept.find("token of one").num_answers == 1  # reading waits for nobody
    other.execute("ROLLBACK")
    other.close()
    kept.save_answer(number, answer(2), "{}", None)
    assert kept.find("token of one").num_answers == 2


def test_other_files_are_errors_and_are_closed(tmp_path, monkeypatch):
    connections, connect = [], sqlite3.connect

    def recorded(*args, **kwargs):
        connections.append(connect(*args, **kwargs))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", recorded)
    with pytest.raises(ValueError, match="db: must be a file of `hare-jax study run`"):
        Database(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as one" * 10)
    with pytest.raises(ValueError, match="file is not a database"):
        Database(tmp_path / "text.db", create=True)
    Database(tmp_path / "study.db", create=True).close()
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(
        ValueError, match="db: must have version 7 of the schema: use the hare_jax that wrote it; got 1"
    ):
        Database(tmp_path / "study.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE people (name TEXT)").connection.close()
    with pytest.raises(ValueError, match="db: must be a file of `hare-jax study run`"):
        Database(tmp_path / "other.db", create=True)
    assert len(connections) == 6
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_export(kept, study, tmp_path):
    kept.facts(facts.of(study))
    for index, (token, arm) in enumerate([("a", "bayes"), ("b", "hare"), ("c", "hare")]):
        number = begun(kept, token, arm)
        kept.save_items(number, "before", {"age": 20 + index, "loans": "yes"})
        kept.save_row(number, {"income": 1.5, "job": "=1+1"}, "{}", None)
        kept.save_answer(number, answer(1, "A"), "{}", None)
        kept.save_answer(number, answer(2, "B"), "{}", None)
        again = answer(3, "BA"[index % 2], repeats=2)
        kept.save_answer(number, again, None, Outcome(OPTION, OPTION, same=index == 2, base_first=index == 1))
    kept.save_rating(0, 1)
    kept.save_rating(1, 7)
    for number in range(3):
        kept.save_items(number, "after", {"easy": 3, "remarks": "=danger()"})
    kept.withdraw(begun(kept, "d", "bayes"))
    found = exporting.tables(kept.database)
    assert len(found.answers) == 9
    assert found.answers["person"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert found.people["arm"].tolist() == ["bayes", "hare", "hare", "bayes"]
    assert found.people["rating"].tolist() == [3, 3, 0, pd.NA]
    assert found.people["agreement"].tolist() == [1, 0, 1, pd.NA]
    assert found.people["answers"].tolist() == [2, 2, 2, pd.NA]
    assert found.people["before_age"].tolist() == [20, 21, 22, pd.NA]
    assert found.people["row_job"].tolist()[:3] == ["'=1+1"] * 3
    assert found.people["after_remarks"].tolist()[:3] == ["'=danger()"] * 3
    assert found.people["withdrawn"].tolist() == [False, False, False, True]
    figures = analysis.analyse(found).set_index(["arm", "figure"])
    assert figures.loc[("hare", "agreement of the repeated question"), "value"] == 0.5
    assert figures.loc[("bayes", "withdrawn"), "n"] == 2
    assert figures.loc[("hare", "seconds an answer, median"), "value"] == 1.5
    paths = exporting.write(tmp_path / "out", {"answers": found.answers, "people": found.people})
    assert [len(pd.read_csv(path)) for path in paths] == [9, 4]


def test_the_commands(capsys, tmp_path):
    assert cli.main(["study", "example"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == EXAMPLE
    assert cli.main(["study", "export", "--db", str(tmp_path / "none.db"), "--out", str(tmp_path)]) == 2
    assert "db: must be a file of `hare-jax study run`" in capsys.readouterr().err
    (tmp_path / "wrong.toml").write_text("title = 1")
    assert cli.main(["study", "run", str(tmp_path / "wrong.toml"), "--db", str(tmp_path / "x.db")]) == 2
    assert "title: must be text, not empty; got 1" in capsys.readouterr().err
    assert not (tmp_path / "x.db").exists()
    Database(tmp_path / "empty.db", create=True).close()
    assert cli.main(["study", "export", "--db", str(tmp_path / "empty.db"), "--out", str(tmp_path)]) == 2


def test_texts_that_a_spreadsheet_would_run():
    for text in ("=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "\uff1d1"):
        assert exporting.safe(text) == f"'{text}"
    assert exporting.safe("1 = 1") == "1 = 1"


def test_intervals():
    low, high = analysis._row("a", analysis.FIGURES[0], np.array([1.0] * 7 + [0.0] * 3))[4:6]
    centre, spread = stats.binomtest(7, 10).proportion_ci(method="wilson")
    np.testing.assert_allclose((low, high), (centre, spread), atol=1e-9)
    values = np.random.default_rng(0).normal(2, 3, 400)
    found = analysis.bootstrap(values, np.mean)
    half = 1.96 * values.std() / np.sqrt(len(values))
    np.testing.assert_allclose(found, (values.mean() - half, values.mean() + half), atol=0.02)
    assert found == analysis.bootstrap(values, np.mean)
    with np.errstate(all="raise"):
        assert np.isnan(analysis._row("a", analysis.FIGURES[2], np.array([1.0]))[4])
