"""The charts of a detector's run: each where its data is there, with a caption that says which question it answers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from detattack.core.categories import match_names
from detattack.metrics.coco import PrecisionTable, curve, mean_ap
from detattack.report.charts import LEGEND, MOST_BARS, confidences, iterations, success_within
from detattack.report.plots import Axis, Plot, Series, bars, line_chart
from detattack.tasks.detection.breakdown_page import breakdown_charts
from detattack.tasks.detection.measures import ClassRow
from detattack.tasks.detection.record import from_lists
from detattack.tasks.detection.run_data import DetectionData

MOST_BUDGETS = 12


def charts(run: DetectionData, rows: list[ClassRow], precision: PrecisionTable | None) -> list[Plot]:
    """Draw the charts of a run, in the order of the page."""
    made = [
        success_within(run.records),
        _map_within(run, precision),
        _reached(run, _taus(run, 0.025)),
        _map_above(run, precision, _taus(run, 0.05)),
    ]
    made += breakdown_charts(run.summary, run.tau)
    made += [
        _curve(precision),
        iterations(run.records),
        confidences(run.traces, run.tau),
        _classes(run, rows, precision),
    ]
    return [plot for plot in made if plot]


def class_precision(precision: PrecisionTable, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the AP of each annotated class, clean and adversarial, by its name among the detector's `names`."""
    ours = {theirs: names[label] for label, theirs in match_names(names, precision.names).items()}
    called = [ours.get(i, name) for i, name in enumerate(precision.names)]
    clean, adversarial = precision.of(False), precision.of(True)
    values = ((mean_ap(clean[:, :, i]), mean_ap(adversarial[:, :, i])) for i in range(len(precision.names)))
    scored = zip(called, values, strict=True)
    return {name: (a, b) for name, (a, b) in scored if a is not None and b is not None}


def _taus(run: DetectionData, step: float) -> list[float]:
    grid = [round(step * i, 3) for i in range(math.ceil(1 / step))]
    return sorted({t for t in (*grid, run.floor, run.tau) if run.floor <= t <= 0.95})


def _map_within(run: DetectionData, precision: PrecisionTable | None) -> Plot | None:
    distance = {r.id: r.quality["l2"] or 0.0 for r in run.records if r.status == "success" and "l2" in r.quality}
    if precision is None or not distance:
        return None
    budgets = sorted(
        {float(v) for v in np.quantile(list(distance.values()), np.linspace(0, 1, MOST_BUDGETS), method="nearest")}
    )
    points: list[tuple[float, Any]] = [(0.0, mean_ap(precision.of(False)))]
    points += [(b, mean_ap(precision.of({i for i, d in distance.items() if d <= b + 1e-12}))) for b in budgets]
    if any(ap is None for _, ap in points):
        return None
    svg = line_chart([Series("adversarial", "mAP", points, dots=True)], Axis("L2 at most"), Axis("mAP (IoU 0.5:0.95)"))
    text = (
        "Images on which the goal is reached within the distance are attacked, the others clean. mAP counts detections "
        f"down to a score of {run.eval_threshold:g}: an attack that stops at τ = {run.tau:g} need not move it."
    )
    return Plot("mAP against distance", svg, text)


def _reached(run: DetectionData, taus: list[float]) -> Plot | None:
    shares = _shares_reached(run, taus)
    if not taus or shares is None:
        return None
    series = [
        Series(kind, kind, list(zip(taus, share, strict=True)))
        for kind, share in zip(("clean", "adversarial"), shares, strict=True)
    ]
    svg = line_chart(
        series, Axis("τ, score that counts as seen", 0, 1), Axis("goal holds", 0, 1), (run.tau, "attacked here")
    )
    text = "Share of the attacked images for which the goal holds if detections count above τ, on the saved files."
    if len(run.judged.items) < run.judged.count:
        text += f" {len(run.judged.items)} of {run.judged.count} images, evenly chosen."
    return Plot("Success against τ", svg, text, LEGEND)


def _shares_reached(run: DetectionData, taus: Sequence[float]) -> tuple[list[float], list[float]] | None:
    """Return the share of the attacked images for which the goal holds at each τ: untouched, and on the saved file.

    None where no image was attacked, or the goal's class has no name here.
    """
    judged = [(run.target(record), record) for record in run.judged.items]
    if not judged or any(target is None for target, _ in judged):
        return None
    shares = []
    for which in ("clean", "adversarial"):
        found = [(target, from_lists(getattr(record, which))) for target, record in judged if target]
        shares.append([sum(t.holds(f.above(tau)) for t, f in found) / len(found) for tau in taus])
    return shares[0], shares[1]


def _map_above(run: DetectionData, precision: PrecisionTable | None, taus: list[float]) -> Plot | None:
    if precision is None:
        return None
    series = []
    for kind, attacked in (("clean", False), ("adversarial", True)):
        values = [(tau, mean_ap(precision.of(attacked, above=tau))) for tau in taus]
        series.append(Series(kind, kind, [(tau, ap) for tau, ap in values if ap is not None]))
    if not series[0].points:
        return None
    svg = line_chart(
        series, Axis("τ, score that counts as seen", 0, 1), Axis("mAP (IoU 0.5:0.95)"), (run.tau, "attacked here")
    )
    return Plot("mAP against τ", svg, "COCO's mAP if only detections above τ are counted.", LEGEND)


def _curve(precision: PrecisionTable | None) -> Plot | None:
    if precision is None:
        return None
    series = []
    for kind, attacked in (("clean", False), ("adversarial", True)):
        recall, height = curve(precision.of(attacked))
        series.append(Series(kind, kind, list(zip(recall, height, strict=True))))
    svg = line_chart(series, Axis("recall", 0, 1), Axis("precision", 0, 1))
    return Plot("Precision and recall", svg, "At IoU 0.5, the mean over the annotated classes.", LEGEND)


def _classes(run: DetectionData, rows: list[ClassRow], precision: PrecisionTable | None) -> Plot | None:
    if precision is not None:
        by_name = class_precision(precision, run.names)
        shown = [(name, *by_name[name]) for name in sorted(by_name, key=lambda name: -by_name[name][0])]
        title, text, form, scale = "AP by class", "AP (IoU 0.5:0.95) of each annotated class", ".2f", 1.0
    else:
        shown = [(row.name, float(row.before), float(row.after)) for row in rows]
        title, text, form, scale = "Detections by class", f"Detections above τ = {run.tau:g} of each class", "g", None
    if not shown:
        return None
    more = len(shown) - MOST_BARS
    text += f"; {more} more in the table." if more > 0 else "."
    return Plot(title, bars(shown[:MOST_BARS], scale, form), text, LEGEND)
