"""Results in the terminal: preferences, speed, streamed populations, gradients."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.pages import figures
from benchmarks.specs import QUANTILES, REASONS
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
_TRAINING = {  # column -> format
    "accuracy": ".4f",
    "change": "+.4f",
    "balanced_accuracy": ".4f",
    "cost": ".4f",
    "cut": ".0%",
    "refused": ".0f",
    "cost_n": ".0f",
}
_METHOD = ("method", "value, us", "both", "ratio", "compile_s", "MiB", "finite", "errors: params, x")


def show_preferences(out: Path, users: int, arms: tuple[str, ...]) -> None:
    """Print the mean weighted costs of the arms, by data set."""
    rows = figures.load(out, "preferences")
    rows = rows[rows["users"] == users]
    if rows.empty:
        return
    shown = Table("data set", *arms, "known / exact", "learnt / exact", title="weighted cost")
    means = rows.pivot_table("weighted_cost", "dataset", "arm", observed=True)
    for dataset, costs in means.iterrows():
        ratios = [f"{costs[arm] / costs['exact']:.3f}" for arm in ("known", "learnt")]
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


def show_stream(out: Path, wanted: Row) -> None:
    """Print the metrics of a streamed population, and the figures of its run."""
    for row in _among(out, "stream", [wanted]):
        about = f"{row['users']:,} users, {row['dataset']}, {row['method']}, {row['arm']}"
        shown = Table("metric", "n", "mean", "s.d.", *QUANTILES, title=about)
        for name in [key.removesuffix("_n") for key in row if key.endswith("_n")]:
            figures = [row.get(key) for key in (name, f"{name}_sd", *(f"{name}_{label}" for label in QUANTILES))]
            shown.add_row(name, f"{row[f'{name}_n']:,}", *("" if each is None else f"{each:.5g}" for each in figures))
        console = Console(width=_WIDTH)
        console.print(shown)
        console.print(
            f"{row['users_per_s']:,.0f} users/s on {row['processes']} x {row['devices']} {row['device']}, peak memory "
            f"{row['peak_mib']:.0f} MiB, compilation {row['compile_s']:.1f} s, run {row['run_s']:.1f} s"
        )


def show_gradients(out: Path, wanted: list[Row]) -> None:
    """Print the results of the gradients of the methods and end to end, and those of training for each seed."""
    console = Console(width=_WIDTH)
    rows = _among(out, "gradients", wanted)
    if methods := [row for row in rows if row["experiment"] == "method"]:
        console.print(_methods(methods))
    if repeated := [row for row in rows if row["experiment"] == "repeated search"]:
        console.print(_repeated(repeated))
    for row in (row for row in rows if row["experiment"] == "end to end"):
        console.print(_whole(row))
    trained = [row for row in rows if row["experiment"] == "training"]
    for dataset in dict.fromkeys(row["dataset"] for row in trained):
        console.print(_training(dataset, pd.DataFrame([row for row in trained if row["dataset"] == dataset])))


def _methods(rows: list[Row]) -> Table:
    """The gradients of the methods; memory of the value, of both, and its ratio to a quarter of the steps."""
    shown = Table(*_METHOD, title=f"Gradient of the mean cost, {rows[0]['dataset']}, {rows[0]['users']} users")
    for row in rows:
        flat = row["memory_mib"] / row["memory_mib_quarter_steps"] if row["memory_mib_quarter_steps"] else 1
        times = f"{row['value_us']:.1f}", f"{row['gradient_us']:.1f}", f"{row['ratio']:.2f}"
        compiling = f"{row['value_compile_s']:.1f}, {row['gradient_compile_s']:.1f}"
        memory = f"{row['value_memory_mib']:.1f}, {row['memory_mib']:.1f} ({flat:.2f})"
        errors = f"{row['error_classifier']:.0e}, {row['error_x']:.0e}"
        shown.add_row(row["method"], *times, compiling, memory, f"{row['finite_share']:.1%}", errors)
    return shown


def _repeated(rows: list[Row]) -> Table:
    """The derivative of the least cost: the share of the rows that agree, and the reasons of the others."""
    names = ("data set", "method", "model", "in", "rows", "within 1 %", *REASONS)
    shown = Table(*names, title="Derivative of the least cost, against differences of the repeated search")
    for row in rows:
        for name in ("classifier", "weights"):
            if f"{name}_within" in row:
                others = [str(row[f"{name}_{reason}"]) for reason in REASONS]
                about = row["dataset"], row["method"], row["model"], name, str(row["rows"])
                shown.add_row(*about, f"{row[f'{name}_within']:.1%}", *others)
    return shown


def _whole(row: Row) -> Table:
    """All figures of a gradient end to end."""
    about = f"{row['dataset']}, {row.get('classifiers', 1)} x {row['users']} users, float64"
    shown = Table("figure", "value", title=f"Gradient end to end, {about}")
    for name, value in row.items():
        shown.add_row(name, str(value))
    return shown


def _training(dataset: str, rows: pd.DataFrame) -> Table:
    """A line for each seed and weight, compared with the classifier of the same seed without a penalty, and means."""
    plain = rows[rows["recourse_weight"] == 0].set_index("seed")
    compared = rows.assign(
        change=rows["accuracy"] - rows["seed"].map(plain["accuracy"]),
        cut=1 - rows["cost"] / rows["seed"].map(plain["cost"]),
    )
    shown = Table("recourse weight", "seed", *_TRAINING, title=f"Training, {dataset}")
    for weight, group in compared.groupby("recourse_weight"):
        for _, row in group.iterrows():
            shown.add_row(str(weight), str(row["seed"]), *_training_figures(row))
        shown.add_row(str(weight), "mean", *_training_figures(group[list(_TRAINING)].mean()), end_section=True)
    return shown


def _training_figures(row: Any) -> list[str]:
    return [f"{row[name]:{form}}" for name, form in _TRAINING.items()]


def _among(out: Path, table: str, wanted: list[Row]) -> list[Row]:
    """The latest rows of the specs `wanted`, in their order."""
    found = {spec_key(row): row for row in read_latest(out, table)}
    return [found[key] for key in dict.fromkeys(map(spec_key, wanted)) if key in found]
