"""Statistics of rows: means over users and seeds, confidence intervals, and the original's result for the same cell."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import digest
from benchmarks.experiments.arms import table as question_arms
from benchmarks.specs import BASE, MODELS, MODES, spec_fields
from benchmarks.store import read_latest
from benchmarks.tables import PAPER_METHODS
from hare_jax.data import SOURCES
from hare_jax.people import DISTANCES, PERSONS
from hare_jax.recourse import METHODS

SETTING = ["person", "ideal", "budget", "per_round", "noise", "boundary"]
CELL = ["dataset", "model", "method", "arm", *SETTING]  # the key of the original's results
_LOSSES = {
    "ideal": "ideal_l2",
    "weights": "weighted_cost",
}  # the metric of the original that is the loss of a kind of person
_STATISTICS = ["mean", "sd_seeds", "sd_users", "users", "half"]
_DIGESTED = ["table", "mode", "arm", "stage"]  # the columns that the digest of a row depends on
_FOLDER = Path(__file__).parent.parent / "original"
_Z = 1.96  # of a 95 % interval


def load(out: Path, table: str | None = None) -> pd.DataFrame:
    """The latest row of each spec in `out`, of one table or all, sorted."""
    rows = pd.DataFrame(read_latest(out, table))
    rows = rows.reindex(columns=list(dict.fromkeys([*(field.name for field in spec_fields(table or "")), *rows])))
    if rows.empty:
        return rows
    if "l2" in rows:
        rows["l2_squared"] = rows["l2"] ** 2 + rows["l2_sd"] ** 2 * (rows["l2_n"] - 1) / rows["l2_n"].clip(lower=1)
    orders = {
        "mode": MODES[::-1],
        "dataset": [name for name in SOURCES if name != "mortgage"] + ["mortgage"],
        "model": list(MODELS),
        "method": [*PAPER_METHODS, *(name for name in METHODS if name not in PAPER_METHODS)],
        "arm": (BASE, *question_arms()),
        "ideal": list(DISTANCES),
    }
    for column, order in orders.items():
        rows[column] = pd.Categorical(rows[column], dict.fromkeys([*order, *rows[column].dropna()]), ordered=True)
    return rows.sort_values([*orders, "seed"], kind="stable")


def provenance(rows: pd.DataFrame) -> str:
    """The number of rows computed by the running code, and by each other digest of the code."""
    columns = [column for column in _DIGESTED if column in rows]
    running = {digest.code_of(row) for row in rows[columns].drop_duplicates().to_dict("records")}
    counts = rows["digest"].value_counts() if len(rows) else pd.Series(dtype=int)
    present = sum(counts.get(name, 0) for name in running)
    others = [f"{counts[name]} from {name}" for name in sorted(counts.index) if name not in running]
    named = f" (digest {', '.join(sorted(running))})" if present else ""
    but = f", {', '.join(others)}" if others else ""
    return f"Rows: {len(rows)}, of which {present} from the code that wrote this page{named}{but}."


def arm_label(arm: str) -> str:
    """Display name of an arm."""
    return question_arms()[arm].label if arm in question_arms() else arm


def person_label(person: str) -> str:
    """Display name of the loss of a kind of person."""
    return PERSONS[person].label if person in PERSONS else f"loss ({person})"


def summarise(rows: pd.DataFrame, keys: list[str], metric: str) -> pd.DataFrame:
    """Statistics of `metric` by `keys`: mean, s.d. over seeds and over users, users, half-width of a 95 % interval.

    Users are independent given the classifier, which all users of a seed share. The interval uses the larger of two
    standard errors: that of users within seeds, and that between seeds.
    """
    sd, n = f"{metric}_sd", f"{metric}_n"
    known = rows[rows[metric].notna()]

    def one(part: pd.DataFrame) -> pd.Series:
        spread = np.sqrt((part[sd] ** 2).mean()) if sd in part else np.nan
        error = np.sqrt((part[sd] ** 2 / part[n].clip(lower=1)).sum()) / len(part) if sd in part else np.nan
        between = part[metric].std() / np.sqrt(len(part)) if len(part) > 1 else 0.0
        return pd.Series(
            {
                "mean": part[metric].mean(),
                "sd_seeds": part[metric].std(),
                "sd_users": spread,
                "users": part[n].sum() if n in part else np.nan,
                "half": _Z * max(error, between),
            }
        )

    if known.empty:
        return pd.DataFrame(columns=_STATISTICS, index=pd.MultiIndex.from_frame(known[keys]), dtype=float)
    return known.groupby(keys, observed=True, sort=False).apply(one, include_groups=False)


@cache
def original() -> pd.DataFrame:
    """The original's results: `mean`, `sd` over seeds and `seeds` by `CELL`, metric and source.

    Source `authors` are results saved by the authors, where the cell is certain; `measured` our runs of their code.
    """
    saved = pd.read_csv(_FOLDER / "authors.csv").rename(columns={"std": "sd", "n_seeds": "seeds"})
    saved["person"] = np.where(saved["file"].str.startswith("preferences"), "weights", "ideal")
    saved["noise"] = saved["noise"].str.removeprefix("bernoulli ")
    saved["per_round"] = saved[["budget", "per_round"]].min(axis=1)
    saved = saved[saved["method"] != "unknown"].assign(source="authors")
    runs = pd.read_csv(_FOLDER / "measured.csv").assign(person="ideal", noise="0", boundary="all")
    runs = runs.drop(columns=["seed", "users", "n_factuals", "test_acc"])
    runs = runs.melt(id_vars=CELL, var_name="metric").groupby([*CELL, "metric"])["value"]
    measured = runs.agg(mean="mean", sd="std", seeds="count").reset_index().dropna(subset="mean")
    columns = [*CELL, "metric", "source", "mean", "sd", "seeds"]
    return pd.concat([saved[columns], measured.assign(source="measured")[columns]])


def find_original(metric: str, **cell: Any) -> pd.Series | None:
    """The original's result for a cell, the measured one if there are two; fields not in `cell` have their defaults."""
    full = {"person": "ideal", "ideal": "far", "budget": 30, "per_round": 5, "noise": "0", "boundary": "all"} | cell
    key = (metric, *(full[name] for name in CELL))
    return _by_key().get(key)


@cache
def _by_key() -> dict[tuple, pd.Series]:
    losses = original()[original()["metric"] == original()["person"].map(_LOSSES)].assign(metric="loss")
    found = pd.concat([original(), losses])
    ordered = found.sort_values("source", kind="stable")  # measured results last, so that they take precedence
    return {(row["metric"], *(row[name] for name in CELL)): row for _, row in ordered.iterrows()}


def against_authors(rows: pd.DataFrame) -> pd.DataFrame:
    """Each result saved by the authors and ours in paper mode, their difference, and whether it is within one s.d."""
    ours = rows[rows["mode"] == "paper"].astype(dict.fromkeys(("dataset", "model", "method", "arm", "ideal"), str))
    ours = ours.drop_duplicates([*CELL, "seed"])
    found = []
    for _, theirs in original().query("source == 'authors'").iterrows():
        part = ours[(ours[CELL] == theirs[CELL]).all(axis=1)]
        values = part[theirs["metric"]].dropna() if theirs["metric"] in part else pd.Series(dtype=float)
        if len(values):
            gap = values.mean() - theirs["mean"]
            within = abs(gap) <= theirs["sd"] + 1e-9
            found.append({**theirs, "ours": values.mean(), "ours_sd": values.std(), "gap": gap, "within": within})
    return pd.DataFrame(found)
