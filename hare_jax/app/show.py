"""The output of `hare-jax demo`."""

from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hare_jax import data
from hare_jax.app import demo
from hare_jax.evaluate.summary import Summary
from hare_jax.people import PERSONS

_HEADINGS = {
    "success": "success\n%",
    "valid": "valid\n%",
    "feasible": "feas-\nible %",
    "loss": "{}\n(95% interval)",  # the label of the person's loss
    "ideal_cosine": "1 - cos\nto ideal",
    "l1": "cost\n(L1)",
    "weighted_cost": "cost\n(wL1)",
    "l0": "feat-\nures",
    "redundancy": "redun-\ndant",
    "violations": "viola-\ntions",
}


def demonstration(console: Console, options: demo.Demo, report: demo.Report) -> None:
    """Print the table of all arms, and one applicant before and after the questions."""
    for part in (_introduction(options, report), _arms_table(options, report), _arms_notes(report)):
        console.print(part)
    _applicant(console, options, report)


def _introduction(options: demo.Demo, report: demo.Report) -> str:
    people, table = report.people, report.table
    which = "all of these" if people.num_drawn == people.num_refused else f"the first {people.num_drawn} of these"
    fewer = f", fewer than the {options.num_users} requested" if people.num_refused < options.num_users else ""
    return (
        f"\n[bold]{table.name}[/]: {data.SOURCES[table.name].about}. The classifier has an accuracy of "
        f"{report.accuracy:.1%} on {len(table.x_test)} test rows (balanced accuracy {report.balanced_accuracy:.1%}) "
        f"and refuses {people.num_refused} of them. Simulated people: {which}{fewer}. The table is over the "
        f"{len(people.x)} of {people.num_drawn} people for whom an ideal was found ({options.ideal}).\n"
    )


def _arms_table(options: demo.Demo, report: demo.Report) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False, collapse_padding=True)
    grid.add_column("", no_wrap=True)
    headings = (heading.format(PERSONS[options.person].label) for heading in _HEADINGS.values())
    for heading in (*headings, "ques-\ntions", "ms per\nperson"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for name, arm in report.arms.items():
        figures = [_figure(metric, arm.summaries[metric]) for metric in _HEADINGS]
        milliseconds = 1000 * arm.seconds
        shown = f"{milliseconds:#.3g}" if milliseconds < 100 else f"{milliseconds:,.0f}"
        grid.add_row(demo.label(name), *figures, f"{arm.questions:.1f}", shown)
    return grid


def _figure(metric: str, summary: Summary) -> str:
    if int(summary.n) == 0:
        return "-"
    mean, low, high = (float(value) for value in (summary.mean, summary.low, summary.high))
    if metric in ("success", "valid", "feasible"):
        return f"{100 * mean:.1f}"
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]" if metric == "loss" else f"{mean:.2f}"


def _arms_notes(report: demo.Report) -> str:
    counts = sorted({int(arm.summaries["loss"].n) for arm in report.arms.values()})
    return (
        f"Means over people: success and valid over {len(report.people.x)}, the rest over the successes "
        f"({' to '.join(map(str, counts))}). wL1 weights the changes by each person's hidden cost weights. Times are "
        "for all people in one batch, without compilation; those of the elicitors exclude the base method.\n"
    )


def _applicant(console: Console, options: demo.Demo, report: demo.Report) -> None:
    arms = demo.shown_arms(options)
    if not arms:
        return
    gains = demo.gain(report, arms[0])
    index = options.applicant - 1 if options.applicant else int(np.argmax(gains))
    if not np.isfinite(gains[index]):
        console.print(f"The base method found no recourse for applicant {index + 1} of {len(gains)}: nothing to show.")
        return
    rule = "" if options.applicant else f" (largest gain by {demo.label(arms[0])})"
    base, *losses = (float(report.arms[name].measures.loss[index]) for name in ("base", *arms))
    after = ", ".join(f"{loss:.2f} ({demo.label(arm)})" for arm, loss in zip(arms, losses, strict=True))
    fell = f"{PERSONS[options.person].label} {base:.2f} -> {after}"
    about = f"[bold]Applicant {index + 1}[/] of {len(gains)}{rule}: {fell}."
    console.print(about, _applicant_table(options, report, index), sep="\n\n")


def _applicant_table(options: demo.Demo, report: demo.Report, index: int) -> Table:
    """The features that any of the recourses changes: their present values, and those of each recourse."""
    arms = "base", *demo.shown_arms(options)
    points = {"now": report.people.x} | {demo.label(arm): report.arms[arm].recourse.x for arm in arms}
    if options.person == "ideal":
        points["hidden\nideal"] = report.people.users["ideal"].hidden
    shown = report.table.decode(np.stack([np.asarray(rows[index]) for rows in points.values()]))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", *points):
        grid.add_column(heading, justify="right" if heading else "left")
    for feature in report.table.features:
        now, *others = (_in_units(value) for value in shown[feature.name])
        if any(value != now for value in others):
            label = f"{feature.label}, {feature.unit}" if feature.unit else feature.label
            changes = ("" if value == now else f"-> {value}" for value in others)
            grid.add_row(Text(label), Text(now), *(Text(change, style="bold") for change in changes))
    return grid


def _in_units(value: Any) -> str:
    if not isinstance(value, int | float | np.number):
        return str(value)
    number = float(value)
    return f"{number:,.0f}" if number.is_integer() or abs(number) >= 1000 else f"{number:.4g}"
