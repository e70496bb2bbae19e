"""The page of questions: losses, regret, harm and calibration by number of questions and elicitor, and a plot."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.experiments.arms import OBSERVER
from benchmarks.experiments.observer import NUM_CANDIDATES
from benchmarks.pages import figures, questions_plot, questions_tables

_ABOUT = """
*Loss* is the mean over users and seeds after a number of questions: the distance to the hidden ideal, the weighted
cost, or that of another kind of person. *best known* is the loss of the best recourse found with the true hidden
parameters. *Regret* is the loss minus the best known one. HARE (*multi*) skips candidates that are refused or equal to
the best recourse; *multi_answered* gets more candidates, and counts the questions that were asked.
"""
_RANDOM = "*random* asks no questions; its loss may exceed the range of the plots."
_OBSERVER = """
The *observer* is a reference for ideals: exact inference over a discrete prior, {num} ideals drawn from the simulated
population for the same row, the true one among them. It knows the rate of flips. Each question is the pair of
candidates, of 256 drawn from the posterior, that splits its mass most evenly, and the recommendation is the candidate
of least expected distance. It ends at a distance of 0 because the true ideal is a candidate, which no elicitor knows.

The *rate bound* is the least mean distance that k answers allow for the same prior, D(k (1 - H(f))): the
distortion-rate function at the capacity of k answers that are flipped with probability f. It is computed by the
algorithm of Blahut and Arimoto, for some of the users. No questions and no recommendation among the candidates do
better. Without flips it is 0 from log2 {num} = {bits} questions on.
"""


def write(out: Path, users: int) -> Path:
    """Render the rows in `out` with this number of `users` to `questions.md` and `questions.png`; the former's path."""
    rows = figures.load(out, "questions")
    rows = rows.reindex(columns=list(dict.fromkeys([*rows, *questions_tables.COLUMNS])))
    rows = rows[rows["users"] == users]
    plot = questions_plot.draw(rows, out / "questions.png")
    observer = _OBSERVER.format(num=f"{NUM_CANDIDATES:,}", bits=int(np.log2(NUM_CANDIDATES)))
    arms = rows["arm"].astype(str).unique()
    about = [_ABOUT.strip(), ""]
    about += [_RANDOM, ""] if "random" in arms else []
    about += [observer.strip(), ""] if OBSERVER in arms else []
    about += _seeds(rows)
    lines = ["# questions: the loss by number of questions", ""]
    lines += [f"![{plot.stem}]({plot.name})", ""] if plot else []
    lines += [*about, figures.provenance(rows), ""]
    for section in questions_tables.SECTIONS:
        found = section(rows) if len(rows) else []
        lines += [*found, ""] if found else []
    path = out / "questions.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _seeds(rows: pd.DataFrame) -> list[str]:
    """Which elicitors have fewer seeds than others of the same case."""
    texts: dict[str, None] = {}
    for case in questions_tables.cases(rows):
        counts = case.rows.groupby("arm", observed=True)["seed"].nunique()
        texts |= dict.fromkeys(f"{arm} {num} of {counts.max()}" for arm, num in counts.items() if num < counts.max())
    if not texts:
        return []
    return [f"Not comparable with the figures beside them, as they have fewer seeds: {', '.join(texts)}.", ""]
