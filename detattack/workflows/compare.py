"""Several methods over the same images and goals: one table, paired differences, and a figure.

A difference is taken image by image, over the images on which both methods succeed, so that a method is not
praised for failing on what is hard; its interval is a bootstrap over those images.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detattack.core.files import swept, write_bytes_atomic, write_text_atomic
from detattack.core.types import DEFAULT_MAX_DETECTIONS, DetectorCard
from detattack.datasets.base import Dataset
from detattack.datasets.coco import category_ids
from detattack.metrics.coco import GroundTruth, PrecisionTable, mean_ap
from detattack.metrics.image_quality import MEASURES
from detattack.runs.folder import BaseRunFolder
from detattack.runs.manifest import COMPARISON
from detattack.tasks.detection.coco_export import coco_results
from detattack.tasks.detection.record import RunFolder

COMPARED = ("k", "l2", "linf", "psnr", "ssim", "forwards", "backwards", "seconds")
"""Per image, and in the paired differences."""
RESAMPLES = 10_000
CURVE_POINTS = 12

Columns = Sequence[tuple[str, str, str]]
"""Key, heading and format of each column of a table; no format: text."""


def measure_columns(average: str, *names: str) -> Columns:
    """The columns of measures of image quality. average: `mean` or `median`."""
    return [(f"{average}_{name}", MEASURES[name].label, MEASURES[name].format) for name in names]


COLUMNS: Columns = (
    ("method", "method", ""),
    ("success_rate", "success", ".1%"),
    ("success_low", "from", ".1%"),
    ("success_high", "to", ".1%"),
    ("attacked", "attacked", "d"),
    ("median_k", "K", ".0f"),
    *measure_columns("median", "l2", "linf", "psnr", "ssim"),
    ("ap_clean", "AP clean", ".3f"),
    ("ap_adversarial", "AP attacked", ".3f"),
    ("median_forwards", "forwards", ".0f"),
    ("median_backwards", "backwards", ".0f"),
    ("seconds_per_image", "s/image", ".2f"),
)
"""Of detectors."""


@dataclass(frozen=True, eq=False)
class Method:
    """A finished run as a comparison needs it: its summary, and a few numbers an image."""

    name: str
    summary: Mapping[str, Any]
    values: Mapping[int, Mapping[str, float]]
    """By image id, of the images that were attacked; `success` is 0 or 1."""


@dataclass(frozen=True)
class Curve:
    """What a perturbation of at most `distances` does: share of successes, and AP where there are annotations."""

    distances: tuple[float, ...]
    success: tuple[float, ...]
    ap: tuple[float | None, ...]


def read_method(name: str, folder: BaseRunFolder[Any]) -> Method:
    """The numbers of a finished run."""
    values = {}
    for record in folder.iterate():
        if record.status in ("success", "failure", "error"):
            known: dict[str, float | None] = {"success": record.status == "success", **record.quality}
            known |= {name: getattr(record, name) for name in ("k", "forwards", "backwards", "seconds")}
            values[record.id] = {k: float(v) for k, v in known.items() if v is not None}
    return Method(name, folder.read_json("summary.json"), values)


def table_row(method: Method, columns: Columns = COLUMNS) -> dict[str, Any]:
    """A row of the table: every column's key with its plain number; None: not known."""
    s = method.summary
    low, high = s["success_interval"] or (None, None)
    ap = s.get("ap") or {"clean": {"ap": None}, "adversarial": {"ap": None}}
    own = {
        "method": method.name,
        "success_low": low,
        "success_high": high,
        "ap_clean": ap["clean"]["ap"],
        "ap_adversarial": ap["adversarial"]["ap"],
        "seconds_per_image": s["timing"]["seconds_per_image"],
    }
    return {key: own[key] if key in own else s[key] for key, _, _ in columns}


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


def success_curve(method: Method, top: float) -> Curve:
    """Success where only perturbations up to a distance count, for distances from 0 to `top`."""
    distances = (0.0, *np.geomspace(max(top / 100, 1e-3), max(top, 1e-2), CURVE_POINTS - 1).tolist())
    share = tuple(len(_within(method, distance)) / max(len(method.values), 1) for distance in distances)
    return Curve(distances, share, (None,) * len(distances))


def curve(method: Method, folder: RunFolder, detector: DetectorCard, dataset: Dataset, top: float) -> Curve:
    """The same of a detector's run, with the AP that is left, where the data set is annotated."""
    found = success_curve(method, top)
    if not dataset.categories:
        return found
    ids = [r.id for r in folder.iterate() if "boxes" in r.clean and "boxes" in r.adversarial]
    shared = category_ids(detector.categories, dataset.categories).values()
    most = folder.manifest["config"].get("max_detections", DEFAULT_MAX_DETECTIONS)
    precision = PrecisionTable(
        GroundTruth(dataset.annotations, dataset.categories, ids, set(shared), most),
        coco_results(folder.iterate(), detector, dataset, "clean"),
        coco_results(folder.iterate(), detector, dataset, "adversarial"),
    )
    ap = tuple(mean_ap(precision.of(_within(method, distance))) for distance in found.distances)
    return replace(found, ap=ap)


def _within(method: Method, distance: float) -> set[int]:
    """The images that succeed within a distance."""
    return {i for i, one in method.values.items() if one["success"] and one.get("l2", math.inf) <= distance}


def largest_distance(methods: Sequence[Method]) -> float:
    """The largest L2 of a success."""
    wins = [v["l2"] for m in methods for v in m.values.values() if v["success"] and "l2" in v]
    return max(wins, default=1.0)


def write_comparison(
    out: Path,
    methods: Sequence[Method],
    curves: Mapping[str, Curve],
    seed: int = 0,
    columns: Columns = COLUMNS,
    skipped: str = "",
) -> dict[str, Any]:
    """Writes `comparison.md, .csv, .json, .tex, .png, .pdf` and returns what the JSON holds.

    skipped: a line on the images that no method attacks, and why.
    """
    rows = [table_row(method, columns) for method in methods]
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


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Columns = COLUMNS) -> str:
    """The table with its numbers in full."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [key for key, _, _ in columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def to_markdown(
    rows: Sequence[Mapping[str, Any]],
    paired: Mapping[str, Mapping[str, Any]],
    first: Method,
    columns: Columns = COLUMNS,
    skipped: str = "",
) -> str:
    """The table, and below it the images that are not in it and the paired differences."""
    table = markdown_table(rows, columns) + (f"\n{skipped}\n" if skipped else "")
    if not paired:
        return table
    names = ("success", *COMPARED)
    lines = [[name, *(_interval_text(one[key]) for key in names)] for name, one in paired.items()]
    note = (
        f"\nDifferences to `{first.name}` image by image, where both succeed (success: all images), "
        "with 95% bootstrap intervals:\n\n"
    )
    return table + note + _markdown(["method", *names], lines)


def markdown_table(rows: Sequence[Mapping[str, Any]], columns: Columns = COLUMNS) -> str:
    """The table in markdown."""
    return _markdown([heading for _, heading, _ in columns], [_texts(row, columns) for row in rows])


def to_latex(rows: Sequence[Mapping[str, Any]], columns: Columns = COLUMNS, skipped: str = "") -> str:
    """The table in LaTeX (booktabs), and a comment on the images that are not in it."""
    heading = " & ".join(_latex(heading) for _, heading, _ in columns)
    lines = [" & ".join(map(_latex, _texts(row, columns))) + r" \\" for row in rows]
    start = r"\begin{tabular}{l" + "r" * (len(columns) - 1) + "}"
    table = [start, r"\toprule", heading + r" \\", r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*table, *([f"% {skipped}"] if skipped else []), ""])


def _difference(method: Method, first: Method, name: str, ids: Sequence[int], seed: int) -> dict[str, Any]:
    known = [i for i in ids if name in method.values[i] and name in first.values[i]]
    return paired_difference([method.values[i][name] for i in known], [first.values[i][name] for i in known], seed)


def _texts(row: Mapping[str, Any], columns: Columns) -> list[str]:
    return [str(row[key]) if not form else _number(row[key], form) for key, _, form in columns]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _interval_text(one: Mapping[str, Any]) -> str:
    if one["mean"] is None:
        return "-"
    return f"{one['mean']:+.3g} ({one['interval'][0]:+.3g} to {one['interval'][1]:+.3g}, n = {one['images']})"


def _markdown(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (heading, rule, *lines))


def _latex(text: str) -> str:
    return text.replace("%", r"\%").replace("_", r"\_").replace("&", r"\&").replace("∞", r"$_\infty$")


def _write_figure(out: Path, curves: Mapping[str, Curve]) -> None:
    """Success and AP against the perturbation that is allowed, PNG and PDF."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scored = any(value is not None for one in curves.values() for value in one.ap)
    figure = Figure(figsize=(5.2 * (1 + scored), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + scored, squeeze=False)[0]
    _panel(axes[0], curves, "share of images that succeed", lambda one: one.success)
    if scored:
        _panel(axes[1], curves, "AP, down to the detector's own threshold", lambda one: one.ap)
    axes[0].legend(frameon=False)
    for kind in ("png", "pdf"):
        buffer = io.BytesIO()
        metadata = {"CreationDate": None} if kind == "pdf" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
        write_bytes_atomic(out / f"comparison.{kind}", buffer.getvalue())


def _panel(axes: Any, curves: Mapping[str, Curve], label: str, of: Callable[[Curve], Sequence[float | None]]) -> None:
    for name, one in curves.items():
        values = [math.nan if value is None else value for value in of(one)]
        axes.plot(one.distances[1:], values[1:], marker="o", markersize=3, label=name)
        axes.axhline(values[0], color="gray", linestyle=":", linewidth=1)  # nothing is attacked: the same for all
    axes.set(xlabel="largest L2 of a perturbation that counts", ylabel=label, xscale="log")
    axes.set_ylim(-0.02 * axes.get_ylim()[1], None)
    axes.grid(alpha=0.3)
