"""Results in the terminal: preferences, speed, gradients."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.pages import figures
from benchmarks.store import Row, read_latest, spec_key

_WIDTH = 110
_SPEED = (
    "users",
    "stage",
    "fit_s",
    "compile_s",
    "us_per_user",
    "mflop_per_user",
    "gflops",
    "share_of_peak",
    "peak_mib",
)
_METHOD = ("method", "value, us", "both", "ratio", "compile_s", "MiB", "finite", "errors: params, x")


def show_preferences(out: Path, users: int, arms: tuple[str, ...]) -> None:
    """Print the mean weighted costs of the arms, by data set."""
    rows = figures.load(out, "preferences")
    shown = Table("data set", *arms, "known / search", "learnt / search", title="weighted cost")
    means = rows[rows["users"] == users].pivot_table("weighted_cost", "dataset", "arm", observed=True)
    for dataset, costs in means.iterrows():
        ratios = [f"{costs[arm] / costs['search']:.3f}" for arm in ("known", "learnt")]
        shown.add_row(str(dataset), *(f"{costs[arm]:.4f}" for arm in arms), *ratios)
    Console(width=_WIDTH).print(shown)


def show_speed(out: Path, wanted: list[Row]) -> None:
    """Print the rows of the specs `wanted`."""
    rows = _among(out, "speed", wanted)
    peak = max((row["peak_gflops"] for row in rows if "peak_gflops" in row), default=0)
    about = f"{rows[0]['dataset']}, K = {rows[0]['budget']}, {rows[0]['device']}, peak {peak:.0f} GFLOP/s"
    shown = Table(*_SPEED, title=about)
    for row in rows:
        shown.add_row(*(str(row.get(name, "")) for name in _SPEED))
    Console(width=_WIDTH).print(shown)


def show_gradients(out: Path, wanted: list[Row]) -> None:
    """Print the results of the gradients of the methods and end to end, and means over seeds of those of training."""
    console = Console(width=_WIDTH)
    rows = _among(out, "gradients", wanted)
    if methods := [row for row in rows if row["experiment"] == "method"]:
        console.print(_methods(methods))
    for row in (row for row in rows if row["experiment"] == "end to end"):
        console.print(_whole(row))
    trained = [row for row in rows if row["experiment"] == "training"]
    for dataset in dict.fromkeys(row["dataset"] for row in trained):
        console.print(_training(dataset, pd.DataFrame([row for row in trained if row["dataset"] == dataset])))


def _methods(rows: list[Row]) -> Table:
    """The gradient of each method; memory of the value, of both, and the latter relative to a quarter of the steps."""
    shown = Table(*_METHOD, title=f"Gradient of the mean cost, {rows[0]['dataset']}, {rows[0]['users']} users")
    for row in rows:
        flat = row["memory_mib"] / row["memory_mib_quarter_steps"] if row["memory_mib_quarter_steps"] else 1
        times = f"{row['value_us']:.1f}", f"{row['gradient_us']:.1f}", f"{row['ratio']:.2f}"
        compiling = f"{row['value_compile_s']:.1f}, {row['gradient_compile_s']:.1f}"
        memory = f"{row['value_memory_mib']:.1f}, {row['memory_mib']:.1f} ({flat:.2f})"
        errors = f"{row['error_classifier']:.0e}, {row['error_x']:.0e}"
        shown.add_row(row["method"], *times, compiling, memory, f"{row['finite_share']:.1%}", errors)
    return shown


def _whole(row: Row) -> Table:
    """All figures of a gradient end to end."""
    about = f"{row['dataset']}, {row.get('classifiers', 1)} x {row['users']} users, float64"
    shown = Table("figure", "value", title=f"Gradient end to end, {about}")
    for name, value in row.items():
        shown.add_row(name, str(value))
    return shown


def _training(dataset: str, rows: pd.DataFrame) -> Table:
    names = ("recourse weight", "accuracy", "balanced accuracy", "cost", "cut", "refused")
    shown = Table(*names, title=f"Training, {dataset}, mean over seeds")
    columns = ["accuracy", "balanced_accuracy", "cost", "refused"]
    means: Any = rows.groupby("recourse_weight")[columns].mean()
    for weight, mean in means.iterrows():
        accuracies = f"{mean['accuracy']:.4f}", f"{mean['balanced_accuracy']:.4f}"
        cut = 1 - mean["cost"] / means.loc[0.0, "cost"]
        shown.add_row(str(weight), *accuracies, f"{mean['cost']:.4f}", f"{cut:.0%}", f"{mean['refused']:.0f}")
    return shown


def _among(out: Path, table: str, wanted: list[Row]) -> list[Row]:
    """The latest rows of the specs `wanted`, in their order."""
    found = {spec_key(row): row for row in read_latest(out, table)}
    return [found[key] for key in dict.fromkeys(map(spec_key, wanted)) if key in found]
