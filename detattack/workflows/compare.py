"""Several methods over the same images and goals: one table, paired differences, and a figure.

A difference is taken image by image, over the images on which both methods succeed, so that a method is not
praised for failing on what is hard; its interval is a bootstrap over those images.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detattack.core.errors import InputError
from detattack.core.files import swept, write_text_atomic
from detattack.datasets.base import Dataset
from detattack.engine import Attack
from detattack.engine.budget import budget_in
from detattack.metrics.image_quality import MEASURES
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import COMPARISON
from detattack.runs.runner import Executor
from detattack.tasks.base import Task
from detattack.tasks.columns import Column
from detattack.tasks.experiment import Experiment
from detattack.workflows.evaluate import Progress, carried_out, check_retry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPARED = ("k", "l2", "linf", "psnr", "ssim", "forwards", "backwards", "seconds")
"""Per image, and in the paired differences."""
Reporting = Callable[[str], AbstractContextManager[Progress]]
"""Makes what is told of a run, by its name: of its method, or of its folder."""
RESAMPLES = 10_000
CURVE_POINTS = 12
DPI = 200
"""Of the figure of a table, as PNG."""

LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "%_&#${}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "∞": r"$_\infty$",
    }
)
"""What LaTeX would obey, as it is written there."""

REFERENCE, CONTROL = "jnd", "noise"
"""The control takes the L2 that the reference needed, image by image."""


@dataclass(frozen=True, eq=False)
class Method:
    """A finished run as a comparison needs it.

    - values: a few numbers by image id, of the images that were attacked; `success` is 0 or 1
    - changes: L2 by image id of the changes that count: of successes, or of all images where a budget is spent
    """

    name: str
    summary: Mapping[str, Any]
    values: Mapping[int, Mapping[str, float]]
    changes: Mapping[int, float]


@dataclass(frozen=True)
class Curve:
    """What a perturbation of at most `distances` does: share of successes, and AP where there are annotations."""

    distances: tuple[float, ...]
    success: tuple[float, ...]
    ap: tuple[float | None, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A finished comparison: its methods in the order of the table, and what `comparison.json` holds."""

    methods: Sequence[Method]
    content: Mapping[str, Any]


def compare(
    experiment: Experiment[Any, Any, Any],
    attacks: Mapping[str, Attack],
    out: Path,
    resume: bool = False,
    retry_errors: bool = False,
    progress: Reporting | None = None,
    executor: Executor | None = None,
) -> Comparison:
    """Run or resume several attacks on the model and images of an experiment, and write one table.

    - attacks: by the name of the method
    - out: the folder of the comparison, in which each method has a run folder
    - progress: makes what is told of the run of a method; None: nobody

    Raises `InputError`.
    """
    check_folder(out, resume, retry_errors)
    for attack in attacks.values():
        experiment.with_attack(attack)  # raises for what is wrong with any, before the first is run
    methods = run_methods(
        list(attacks),
        lambda name, target_l2: experiment.with_attack(attacks[name], target_l2),
        out,
        retry_errors=resume and retry_errors,
        progress=progress,
        executor=executor,
    )
    task, top, curves = experiment.task, largest_distance(methods), {}
    for method in methods:
        with closing(RunFolder.open(out / method.name, task.record_type)) as folder:
            curves[method.name] = curve(method, folder, task, experiment.dataset, top)
            skipped = task.skipped_line(folder, method.summary)
    content = write_comparison(out, methods, curves, task, experiment.config.seed, skipped)
    return Comparison(methods, content)


def run_methods(
    names: Sequence[str],
    experiment_of: Callable[[str, Mapping[int, float] | None], Experiment[Any, Any, Any]],
    out: Path,
    retry_errors: bool = False,
    progress: Reporting | None = None,
    executor: Executor | None = None,
) -> list[Method]:
    """Run or resume some methods, each in a folder of its own in `out`. The control comes last, whatever the order.

    experiment_of: the experiment of a method, and for the control the L2 by image id that the reference needed.
    """
    found: dict[str, Method] = {}
    target_l2: dict[int, float] | None = None
    for name in sorted(names, key=lambda name: name == CONTROL):
        experiment = experiment_of(name, target_l2 if name == CONTROL else None)
        told = partial(progress, name) if progress else None
        with carried_out(experiment, out / name, True, retry_errors, told, executor, not found) as folder:
            found[name] = read_method(name, folder)
        if name == REFERENCE:
            target_l2 = {i: v["l2"] for i, v in found[name].values.items() if "l2" in v}
    return [found[name] for name in names]


def check_folder(out: Path, resume: bool, retry_errors: bool = False) -> None:
    """Raise `InputError` for a folder that a comparison cannot use, and for errors to be tried again of none."""
    check_retry(resume, retry_errors)
    if out.exists() and not out.is_dir():
        raise InputError(f"output folder {out}: is a file")
    if not resume and out.exists() and any(out.iterdir()):
        raise InputError(f"output folder {out}: is not empty; --resume continues a comparison")


def read_method(name: str, folder: RunFolder[Any]) -> Method:
    """Read the numbers of a finished run."""
    values, changes = {}, {}
    spends = budget_in(folder.manifest["config"]) is not None
    for record in folder.iterate():
        if record.quality.get("l2") is not None and (spends or record.status == "success"):
            changes[record.id] = float(record.quality["l2"])
        if record.status in ("success", "failure", "error"):
            known: dict[str, float | None] = {"success": record.status == "success", **record.quality}
            known |= {name: getattr(record, name) for name in ("k", "forwards", "backwards", "seconds")}
            values[record.id] = {k: float(v) for k, v in known.items() if v is not None}
    return Method(name, folder.read_json("summary.json"), values, changes)


def table_row(method: Method, task: Task[Any, Any, Any]) -> dict[str, Any]:
    """Make a row of the table: every column's key with its plain number; None: not known."""
    s = method.summary
    low, high = s["success_interval"] or (None, None)
    own = {
        "method": method.name,
        "success_low": low,
        "success_high": high,
        "seconds_per_image": s["timing"]["seconds_per_image"],
        **task.comparison_row(s),
    }
    return {column.key: own[column.key] if column.key in own else s[column.key] for column in task.columns}


def paired_difference(values: Sequence[float], others: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Mean of `values − others` image by image, with its 95% bootstrap interval (percentiles)."""
    differences = np.asarray(values, dtype=float) - np.asarray(others, dtype=float)
    if not len(differences):
        return {"images": 0, "mean": None, "interval": None}
    rng = np.random.default_rng(seed)
    means = [differences[rng.integers(0, len(differences), len(differences))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return {"images": len(differences), "mean": float(differences.mean()), "interval": [float(low), float(high)]}


def differences(methods: Sequence[Method], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Each method against the first: successes over all shared images, the rest where both succeed."""
    first, *rest = methods
    found = {}
    for method in rest:
        shared = sorted(method.values.keys() & first.values.keys())
        both = [i for i in shared if method.values[i]["success"] and first.values[i]["success"]]
        found[method.name] = {"success": _difference(method, first, "success", shared, seed)}
        found[method.name] |= {name: _difference(method, first, name, both, seed) for name in COMPARED}
    return found


def curve(method: Method, folder: RunFolder[Any], task: Task[Any, Any, Any], dataset: Dataset, top: float) -> Curve:
    """Trace success, and the score that is left, where only perturbations up to a distance count, from 0 to `top`."""
    distances = (0.0, *np.geomspace(max(top / 100, 1e-3), max(top, 1e-2), CURVE_POINTS - 1).tolist())
    within = [{i for i, l2 in method.changes.items() if l2 <= distance} for distance in distances]
    won = {i for i, one in method.values.items() if one["success"]}
    share = tuple(len(images & won) / max(len(method.values), 1) for images in within)
    return Curve(distances, share, tuple(task.scores_within(folder, dataset, within)))


def largest_distance(methods: Sequence[Method]) -> float:
    """Return the largest L2 of a change that counts."""
    return max((l2 for method in methods for l2 in method.changes.values()), default=1.0)


def write_comparison(
    out: Path,
    methods: Sequence[Method],
    curves: Mapping[str, Curve],
    task: Task[Any, Any, Any],
    seed: int = 0,
    skipped: str = "",
) -> dict[str, Any]:
    """Write `comparison.md, .csv, .json, .tex, .png, .pdf`, and return what the JSON holds.

    - curves: by method
    - task: whose columns the table has
    - seed: of the bootstrap
    - skipped: a line on the images that no method attacks, and why
    """
    columns, rows = task.columns, [table_row(method, task) for method in methods]
    paired = differences(methods, seed)
    content = {
        "methods": rows,
        "first": methods[0].name,
        "differences": paired,
        "curves": {name: vars(one) for name, one in curves.items()},
        **({"skipped": skipped} if skipped else {}),
    }
    with swept(out):
        write_text_atomic(out / COMPARISON, json.dumps(content, indent=1, allow_nan=False) + "\n")
        write_text_atomic(out / "comparison.csv", to_csv(rows, columns))
        write_text_atomic(out / "comparison.md", to_markdown(rows, paired, methods[0], columns, skipped))
        write_text_atomic(out / "comparison.tex", to_latex(rows, columns, skipped))
        _write_figure(out, curves)
    return content


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """Write the table with its numbers in full."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [column.key for column in columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def to_markdown(
    rows: Sequence[Mapping[str, Any]],
    paired: Mapping[str, Mapping[str, Any]],
    first: Method,
    columns: Sequence[Column],
    skipped: str = "",
) -> str:
    """Write the table, and below it the images that are not in it and the paired differences."""
    table = markdown_table(rows, columns) + (f"\n{skipped}\n" if skipped else "")
    if not paired:
        return table
    names = ("success", *COMPARED)
    lines = [[name, *(interval_text(one[key]) for key in names)] for name, one in paired.items()]
    note = (
        f"\nDifferences to `{first.name}` image by image, where both succeed (success: all images), "
        "with 95% CI by bootstrap:\n\n"
    )
    return table + note + _markdown(["method", *map(label_of, names)], lines)


def markdown_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """Write the table in markdown."""
    return _markdown([column.heading for column in columns], [_texts(row, columns) for row in rows])


def to_latex(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], skipped: str = "") -> str:
    """Write the table in LaTeX (booktabs), and a comment on the images that are not in it."""
    heading = " & ".join(_latex(column.heading) for column in columns)
    lines = [" & ".join(map(_latex, _texts(row, columns))) + r" \\" for row in rows]
    start = r"\begin{tabular}{l" + "r" * (len(columns) - 1) + "}"
    table = [start, r"\toprule", heading + r" \\", r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*table, *([f"% {skipped}"] if skipped else []), ""])


def _difference(method: Method, first: Method, name: str, ids: Sequence[int], seed: int) -> dict[str, Any]:
    known = [i for i in ids if name in method.values[i] and name in first.values[i]]
    return paired_difference([method.values[i][name] for i in known], [first.values[i][name] for i in known], seed)


def _texts(row: Mapping[str, Any], columns: Sequence[Column]) -> list[str]:
    return [column.text(row) for column in columns]


def label_of(key: str) -> str:
    """Name a number that methods are compared by, as every table does."""
    return MEASURES[key].label if key in MEASURES else {"k": "K"}.get(key, key)


def interval_text(one: Mapping[str, Any]) -> str:
    """Write a paired difference with its 95% interval, and how many images it is over."""
    if one["mean"] is None:
        return "-"
    return f"{one['mean']:+.3g} ({one['interval'][0]:+.3g} to {one['interval'][1]:+.3g}, n = {one['images']})"


def _markdown(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heading) - 1)]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in (heading, rule, *lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _latex(text: str) -> str:
    return text.translate(LATEX)


def _write_figure(out: Path, curves: Mapping[str, Curve]) -> None:
    """Write the figure of the curves, PNG and PDF."""
    from detattack.report.sheet import save_figure

    figure = draw_curves(curves)
    for kind in ("png", "pdf"):
        save_figure(figure, out / f"comparison.{kind}", DPI)


def draw_curves(curves: Mapping[str, Curve]) -> "Figure":
    """Draw success, and AP where there is any, against the perturbation that is allowed."""
    from detattack.report.sheet import new_figure

    scored = any(value is not None for one in curves.values() for value in one.ap)
    figure = new_figure(5.2 * (1 + scored), 3.8)
    axes = figure.subplots(1, 1 + scored, squeeze=False)[0]
    _panel(axes[0], curves, "share of images that succeed", lambda one: one.success)
    if scored:
        _panel(axes[1], curves, "AP, down to the detector's own threshold", lambda one: one.ap)
    axes[0].legend(frameon=False)
    return figure


def _panel(axes: Any, curves: Mapping[str, Curve], label: str, of: Callable[[Curve], Sequence[float | None]]) -> None:
    for name, one in curves.items():
        values = [math.nan if value is None else value for value in of(one)]
        axes.plot(one.distances[1:], values[1:], marker="o", markersize=3, label=name)
        axes.axhline(values[0], color="gray", linestyle=":", linewidth=1)  # nothing is attacked: the same for all
    axes.set(xlabel="largest L2 of a perturbation that counts", ylabel=label, xscale="log")
    axes.set_ylim(-0.02 * axes.get_ylim()[1], None)
    axes.grid(alpha=0.3)
