"""The charts of a detector's run: each where its data is there, with a caption that says which question it answers."""

import math
from collections.abc import Sequence

import numpy as np

from detattack.core.categories import match_names
from detattack.core.wording import counted, worded
from detattack.engine.budget import GRAY_LEVELS, LABELS, UNITS
from detattack.metrics.coco import PrecisionTable, curve, mean_ap
from detattack.report.charts import LEGEND, MOST_BARS, confidences, iterations
from detattack.report.page import PAGE
from detattack.report.plots import Axis, Curve, Plot, Series, bars, line_chart
from detattack.report.robustness import robustness_beside
from detattack.tasks.detection.breakdown_page import breakdown_charts
from detattack.tasks.detection.measures import ClassRow
from detattack.tasks.detection.record import from_lists
from detattack.tasks.detection.run_data import DetectionData

AP = "AP (IoU 0.5:0.95)"
TAU = "τ, score that counts as seen"
MOST_STEPS, LEAST_STEPS, MOST_SCORED = 60, 20, 60_000
"""Of AP within a distance: steps at most, whatever the images; steps at least that many images may take; and how many
images are scored in all where there are more steps."""


def charts(
    run: DetectionData, rows: list[ClassRow], precision: PrecisionTable | None, curves: Sequence[Curve]
) -> list[Plot]:
    """Draw the charts of a run, in the order of the page. curves: those that it has to itself."""
    spends = run.budget is not None
    made = [
        _against_budget(run),
        *(one.plot(one.y.label) for one in curves),
        _reached(run, _taus(run, 0.025)),
        _ap_above(run, precision, _taus(run, 0.05)),
    ]
    made += breakdown_charts(run.summary, run.tau)
    made += [
        _curve(precision),
        None if spends else iterations(run.records),
        confidences(run.traces, run.tau, spends),
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


def _marked(run: DetectionData) -> str:
    return "broken means this" if run.budget else "attacked here"


def _against_budget(run: DetectionData) -> Plot | None:
    """Draw the AP of this run and of those with other budgets that lie beside it; None where it is alone."""
    beside = robustness_beside(run.path, run.budget)
    if run.budget is None or beside is None:
        return None
    points = [(0.0, beside.clean), *((budget.size, ap) for budget, ap in beside.ap.items())]
    clean = [(0.0, beside.clean), (points[-1][0], beside.clean)]
    norm = run.budget.norm
    svg = line_chart(
        [Series("clean", "clean", clean), Series("adversarial", "AP", points, steps=True, dots=True)],
        Axis(f"budget, {LABELS[norm]} ({UNITS[norm]})"),
        Axis(AP),
        (run.budget.size, "this run"),
    )
    text = (
        "Each point is a run that spends this budget on every image. Between two points AP is known only to be no "
        "higher than the step: what fits a budget fits a larger one."
    )
    folder = run.path.resolve().parent
    others = [one for one in beside.ap if one != run.budget and (folder / one.folder / PAGE).is_file()]
    links = [(f"../{one.folder}/{PAGE}", one.label) for one in others]
    return Plot("AP against the budget", svg, text, LEGEND, links)


def ap_within(run: DetectionData, precision: PrecisionTable | None) -> list[Curve]:
    """Trace AP against each distance of the changes that were found, where only images broken within it are attacked.

    None of a run that spends a budget: it finds no smallest change.
    """
    if precision is None or run.budget:
        return []
    return [found for norm in LABELS if (found := _ap_within_norm(run, precision, norm))]


def _ap_within_norm(run: DetectionData, precision: PrecisionTable, norm: str) -> Curve | None:
    scale = GRAY_LEVELS if norm == "linf" else 1
    found = {r.id: r.quality.get(norm) for r in run.records if r.status == "success"}
    distances = {i: round(scale * value, 9) for i, value in found.items() if value is not None}
    clean = mean_ap(precision.of(False))
    if clean is None or not distances:
        return None
    steps = sorted(set(distances.values()))
    most = min(MOST_STEPS, max(LEAST_STEPS, MOST_SCORED // len(run.records)))
    chosen = steps if len(steps) <= most else np.quantile(steps, np.linspace(0, 1, most), method="nearest").tolist()
    points = [(0.0, clean)]
    points += [(at, mean_ap(precision.of({i for i, d in distances.items() if d <= at})) or 0.0) for at in chosen]
    points.append((1.05 * points[-1][0], points[-1][1]))
    scored = f"{most} of " if len(chosen) < len(steps) else "all "
    scored += f"{counted(len(steps), 'distance')} {worded(len(steps), 'that occurs', 'that occur')}"
    text = (
        "Images on which the goal is reached within the distance are attacked, the others clean. "
        f"AP counts down to a score of {run.eval_threshold:g}: success at τ = {run.tau:g} need not move it."
    )
    x = Axis(f"{LABELS[norm]} at most ({UNITS[norm]})")
    return Curve(f"AP against {LABELS[norm]}", x, Axis(AP), points, text, scored)


def _reached(run: DetectionData, taus: list[float]) -> Plot | None:
    shares = _shares_reached(run, taus)
    if not taus or shares is None:
        return None
    series = [
        Series(kind, kind, list(zip(taus, share, strict=True)))
        for kind, share in zip(("clean", "adversarial"), shares, strict=True)
    ]
    svg = line_chart(series, Axis(TAU, 0, 1), Axis("goal holds", 0, 1), (run.tau, _marked(run)))
    text = "Share of the attacked images for which the goal holds if detections count above τ, on the saved files."
    if len(run.judged.items) < run.judged.count:
        text += f" {len(run.judged.items)} of {run.judged.count} images, evenly chosen."
    return Plot("Broken against τ" if run.budget else "Success against τ", svg, text, LEGEND)


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


def _ap_above(run: DetectionData, precision: PrecisionTable | None, taus: list[float]) -> Plot | None:
    if precision is None:
        return None
    series = []
    for kind, attacked in (("clean", False), ("adversarial", True)):
        values = [(tau, mean_ap(precision.of(attacked, above=tau))) for tau in taus]
        series.append(Series(kind, kind, [(tau, ap) for tau, ap in values if ap is not None]))
    if not series[0].points:
        return None
    svg = line_chart(series, Axis(TAU, 0, 1), Axis(AP), (run.tau, _marked(run)))
    return Plot("AP against τ", svg, "COCO's AP if only detections above τ are counted.", LEGEND)


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
