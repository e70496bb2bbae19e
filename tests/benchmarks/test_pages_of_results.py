"""Tables in the terminal and plots, by the committed rows."""

from pathlib import Path

import pytest

from benchmarks.experiments import preferences
from benchmarks.pages import figures, plots, terminal
from benchmarks.tables import TABLES

COMMITTED = Path(plots.__file__).parent.parent / "results"


def test_preferences_of_other_users_print_nothing(tmp_path, capsys):
    for out, users in ((tmp_path, 100), (COMMITTED, 7)):
        terminal.show_preferences(out, users, preferences.ARMS)
        assert capsys.readouterr().out == ""
    users = int(figures.load(COMMITTED, "preferences")["users"].iloc[0])
    terminal.show_preferences(COMMITTED, users, preferences.ARMS)
    assert "weighted cost" in capsys.readouterr().out


@pytest.mark.parametrize(("other", "kind"), [("0.2", "_curves"), ("tie:0.3", "_bars")])
def test_flips_are_curves_and_other_noise_is_bars(monkeypatch, tmp_path, other, kind):
    rows = figures.load(COMMITTED, "table8")
    rows = rows[(rows["mode"] == "feasible") & (rows["dataset"] == "heloc")]
    changed = rows.assign(noise=[other if at == 0 else noise for at, noise in enumerate(rows["noise"])])
    drawn = []
    for name in ("_curves", "_bars"):
        original = getattr(plots, name)
        monkeypatch.setattr(plots, name, lambda *args, of=original, name=name: drawn.append(name) or of(*args))
    path = plots.draw("table8", TABLES["table8"], changed, tmp_path / "plot.png")
    assert path.is_file()
    assert drawn == [kind]
