import numpy as np
import pandas as pd
import pytest

from hare_jax.app import cli, tables
from hare_jax.app.auditing import refusals, report
from hare_jax.app.auditing.grouping import attributes
from hare_jax.evaluate.audit import FIGURES, SMALLEST, Results, audit

SCHEMA = """
target = "loan"
positive = "yes"
audit = ["sex"]
[features.income]
type = "continuous"
direction = "up"
unit = "thousand $"
missing = "drop"
[features.job]
type = "categorical"
"""
NUM = 120


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with `loans.csv`, `new.csv` without labels, and `schema.toml`."""
    folder = tmp_path_factory.mktemp("loans")
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"income": rng.normal(50, 10, NUM).round(1), "job": rng.choice(["a", "b", "c"], NUM)})
    rows["loan"] = np.where(rows.income + 5 * (rows.job == "a") > 50, "yes", "no")
    rows["sex"], rows["age"], rows["note"] = rng.choice(["f", "m"], NUM), rng.integers(18, 80, NUM), "é"
    rows.to_csv(folder / "loans.csv", index=False)
    new = rows.drop(columns="loan").head(30)
    new.loc[3, "income"] = np.nan
    new.to_csv(folder / "new.csv", index=False)
    (folder / "schema.toml").write_text(SCHEMA)
    (folder / "binary.csv").write_bytes(b"\x89PNG\xff\n\xfe,1\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def made_classifier():
    """A classifier that needs no training."""

    def fit(training, key, x, y):
        return tables.models.from_layers([([[10.0, 2.0, 0.0, 0.0]], [-5.0])])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables.models, "fit", fit)
        yield


def run(capsys, *argv):
    status = cli.main([str(one) for one in argv])
    out, err = capsys.readouterr()
    return status, out, err


def of(files, name="loans.csv"):
    return files / name, "--schema", files / "schema.toml"


def made_results(generate, key, logit_fn, x, space, *, prices):
    refused = np.arange(len(x)) % 3 < 2
    found = refused & (np.arange(len(x)) % 7 > 0)
    cost = np.where(found, 1.0 + np.arange(len(x)), np.nan)
    return Results(refused, found, cost, refused & ~found, cost / 2 if prices else None)


def test_audit_prints_tables_and_writes_files(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(refusals, "results", made_results)
    status, out, err = run(capsys, "audit", *of(files), "--by", "sex", "age:30,50", "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    assert out.startswith("30 rows of ")
    assert "that the classifier was not trained on" in " ".join(out.split())
    assert all(figure.label in out for figure in FIGURES.values())
    assert max(map(len, out.splitlines())) <= 108
    written = pd.read_csv(tmp_path / "out" / "audit.csv")
    small = written[(written.figure == "refused") & (written.n < SMALLEST)].group
    assert len(small) > 0
    assert f"Groups of fewer than 10 rows, left out: {len(small)}" in out
    assert not any(group in out for group in small)
    rows = pd.read_csv(tmp_path / "out" / "rows.csv")
    assert (tmp_path / "out" / "audit.png").stat().st_size > 10_000
    assert len(rows) == 30
    assert set(rows.columns) == {"row", "sex", "age", *Results._fields}
    source = pd.read_csv(files / "loans.csv")
    assert rows.sex.tolist() == source.sex.iloc[rows.row - 1].tolist()
    again = audit(
        {name: rows[name] for name in ("sex", "age")}, made_results(None, None, None, rows, None, prices=True)
    )
    pd.testing.assert_frame_equal(written, pd.DataFrame(again), check_dtype=False)
    assert "sex=f, age=30 to below 50" in set(written.group)


def test_a_closed_pipe_loses_no_file(files, tmp_path, monkeypatch):
    def closed(console, told):
        raise BrokenPipeError

    monkeypatch.setattr(refusals, "results", made_results)
    monkeypatch.setattr(report, "show", closed)
    monkeypatch.setattr(report, "plot", lambda rows: (_ for _ in ()).throw(ImportError))
    monkeypatch.setattr(cli.os, "dup2", lambda one, other: None)
    assert cli.main([*map(str, ("audit", *of(files), "--by", "sex", "--out", tmp_path / "out"))]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"audit.csv", "rows.csv"}


def test_audit_without_prices_and_with_training_rows(files, capsys, monkeypatch):
    monkeypatch.setattr(refusals, "results", made_results)
    given = ("--train", files / "loans.csv", "--by", "sex", "--no-price")
    status, out, _ = run(capsys, "audit", *of(files, "new.csv"), *given)
    assert status == 0
    assert out.startswith("29 rows of ")  # one lacks the income
    assert "without 1 with missing values" in " ".join(out.split())
    assert FIGURES["mean_price"].label not in out


def test_the_first_training_row_may_lack_what_drops_it(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(refusals, "results", made_results)
    rows = pd.read_csv(files / "loans.csv")
    rows.loc[0, "income"] = np.nan
    rows.to_csv(tmp_path / "train.csv", index=False)
    given = ("--train", tmp_path / "train.csv", "--by", "sex")
    with pytest.warns(UserWarning, match="1 of 120 rows have missing values"):
        status, out, _ = run(capsys, "audit", *of(files, "new.csv"), *given)
    assert status == 0
    assert out.startswith("29 rows of ")


def test_a_group_named_like_a_result_is_kept(tmp_path):
    results = made_results(None, None, None, np.zeros(21), None, prices=True)
    labels = {"price": np.array(["low", "high", "high"] * 7, object)}
    told = report.Report("21 rows", audit(labels, results), results, labels, pd.RangeIndex(21))
    report.write(tmp_path, told)
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert rows["by price"].tolist() == labels["price"].tolist()
    assert set(rows.columns) == {"row", "by price", *Results._fields}


@pytest.mark.slow
def test_explain_writes_the_rows_after_the_recourse(files, tmp_path, capsys):
    given = (
        "--train",
        files / "loans.csv",
        "--out",
        tmp_path / "out.csv",
        "--show",
        "2",
        "--method",
        "growing_spheres",
    )
    status, out, err = run(capsys, "explain", *of(files, "new.csv"), *given)
    assert (status, err) == (0, "")
    assert "method: growing_spheres" in " ".join(out.split())
    assert "raise income from" in out
    written, source = pd.read_csv(tmp_path / "out.csv"), pd.read_csv(files / "new.csv")
    before = source.iloc[written.row - 1].reset_index(drop=True)
    assert 2 < len(written) < 29
    assert list(written.columns) == ["row", *source.columns, "valid", "cost", "reason", "recourse"]
    assert written.valid.all()
    assert written[["sex", "age", "note"]].equals(before[["sex", "age", "note"]])
    changed = (written.income > before.income) | (written.job != before.job)
    assert changed.all()
    assert (written.cost > 0).all()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("audit", "none.csv", "--by", "sex"), "file: must be a CSV file, or one of mortgage, adult"),
        (("audit", "LOANS", "--by", "sex"), "schema: must be given for a CSV file (--schema FILE.toml)"),
        (("audit", "mortgage", "--by", "sex", "--train", "LOANS"), "mortgage: is a data set with its own train"),
        (("audit", "LOANS", "SCHEMA"), "Missing from hare-jax audit: --by"),
        (("audit", "LOANS", "SCHEMA", "--by", "sx"), "by: must be among the columns income, job, loan, sex, age, note"),
        (("audit", "LOANS", "SCHEMA", "--by", "age"), "by 'age': must have at most 12 values; cut it into ranges"),
        (("audit", "LOANS", "SCHEMA", "--by", "note"), "by 'note': must have more than one group"),
        (("audit", "LOANS", "SCHEMA", "--by", "age:50,30"), "by: must be rising numbers after the colon"),
        (("audit", "LOANS", "SCHEMA", "--by", "job:1"), "by: must be a column of numbers to have cut points"),
        (("audit", "LOANS", "SCHEMA", "--by", "sex", "--method", "magic"), "method: must be one of"),
        (("audit", "LOANS", "SCHEMA", "--by", "sex", "--wanted", "yes"), "model: must be given with wanted"),
        (("audit", "LOANS", "SCHEMA", "--by", "sex", "--threshold", "2"), "model: must be given with threshold"),
        (("audit", "NEW", "SCHEMA", "--by", "sex"), "file: must have the target column 'loan', or --train FILE.csv"),
        (("explain", "NEW", "SCHEMA"), "file: must have the target column 'loan'"),
        (("explain", "LOANS", "SCHEMA", "--seed", "-1"), "seed: must be at least 0"),
        (("explain", "LOANS", "SCHEMA", "--show", "-1"), "show: must be at least 0"),
        (("explain", "LOANS", "SCHEMA", "--rows", "some"), "invalid choice"),
        (("explain", "LOANS", "SCHEMA", "--model", "m.h5"), "model: must be a file of XGBoost"),
        (("explain", "BINARY", "SCHEMA"), "must be a CSV file in UTF-8"),
    ],
)
def test_wrong_uses_are_one_line_and_status_2(files, capsys, argv, message):
    known = {"LOANS": [files / "loans.csv"], "NEW": [files / "new.csv"], "BINARY": [files / "binary.csv"]}
    known["SCHEMA"] = ["--schema", files / "schema.toml"]
    status, out, err = run(capsys, *(part for one in argv for part in known.get(one, [one])))
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_pickle_needs_its_flag(files, tmp_path, capsys):
    (tmp_path / "model.pkl").write_bytes(b"")
    status, _, err = run(capsys, "explain", *of(files), "--model", tmp_path / "model.pkl")
    assert status == 2
    assert "--allow-pickle" in err


def test_a_csv_file_that_names_a_column_twice_is_an_error(tmp_path):
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(ValueError, match=r"must name each column once; got \['a'\]"):
        tables.data.read_csv(tmp_path / "twice.csv")
    (tmp_path / "none.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="must have rows"):
        tables.data.read_csv(tmp_path / "none.csv")


def test_attributes_of_a_frame():
    frame = pd.DataFrame(
        {"age": [10, 40, 64.5, 65, np.nan], "sex": ["f", "m", None, "f", "m"], "old": [0, 1, 1.0, 1, 0]}
    )
    found = attributes(frame, ["age:40,65", "sex", "old"])
    assert found["age"].tolist() == ["below 40", "40 to below 65", "40 to below 65", "from 65", "missing"]
    assert found["sex"].tolist() == ["f", "m", "missing", "f", "m"]
    assert found["old"].tolist() == ["0", "1", "1", "1", "0"]
    many = attributes(pd.DataFrame({"code": [1234567.0, 1234568.0, np.nan]}), ["code"])["code"]
    assert many.tolist() == ["1234567", "1234568", "missing"]
    rates = attributes(pd.DataFrame({"rate": np.array([0.1, 2], "float32")}), ["rate"])["rate"]
    assert rates.tolist() == ["0.1", "2"]
    with pytest.raises(ValueError, match="by: must name each column once"):
        attributes(frame, ["sex", "sex"])


def test_nothing_refused_is_told(capsys):
    results = Results(np.zeros(30, bool), np.zeros(30, bool), np.full(30, np.nan), np.zeros(30, bool))
    labels = {"sex": np.array(["f", "m"] * 15, object)}
    told = report.Report("30 rows", audit(labels, results), results, labels, pd.RangeIndex(30))
    report.show(cli._Console(width=108), told)
    out = capsys.readouterr().out
    assert "refused: 0.0 % (0.0 to 11.4) of 30 rows, in every group" in out
    assert "mean cost, where there is a recourse: no rows" in out
