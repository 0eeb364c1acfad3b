"""What a command prints in the end: a table for people, or one JSON object for programs."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from rich.table import Table
from rich.text import Text

from detattack.cli.terminal import Terminal, say_notes, shown
from detattack.core.types import DetectorCard
from detattack.detectors.base import Detector
from detattack.metrics.image_quality import MEASURES
from detattack.runs.record import BaseRecord
from detattack.tasks.detection.goals import Goal, Inject, parse_goal
from detattack.tasks.detection.goals.text import ALL
from detattack.tasks.detection.record import Record, RunFolder, from_lists, target_of
from detattack.tasks.detection.skipped import (
    MOST_NAMED,
    faint_score,
    lacking,
    seen_instead,
    skip_reason,
    threshold_below,
)
from detattack.tasks.detection.summary import ap_notes, parity_problem
from detattack.workflows.merge import card_of

SHOWN = ("l2", "linf", "psnr", "ssim")
"""The measures in the table of a run; all are in `--json` and on the page."""
COLORS = {"success": "green", "failure": "red", "error": "red", "nothing": "dim", "already": "dim"}
SKIPPED = ("nothing", "already")
"""The statuses of images that are left as they are."""


def print_json(out: Path, records: Iterable[BaseRecord], summary: dict[str, Any]) -> None:
    """`{"run": DIR, "summary": {...}, "images": [...]}` on stdout, image by image."""
    start = json.dumps({"run": str(out), "summary": summary, "images": []}, allow_nan=False)
    print(start.removesuffix("]}"), end="")
    for number, record in enumerate(records):
        image = {key: value for key, value in record.as_json().items() if key not in record.long}
        print(", " if number else "", json.dumps(image, allow_nan=False), sep="", end="")
    print("]}")


def print_table(out: Path, records: list[Record], summary: dict[str, Any], skipped: Sequence[str] = ()) -> None:
    """The goal of the run, a row an image, and the run in a line. skipped: a line an image with nothing to attack."""
    console = Terminal()
    goal = next((record.goal for record in records if record.goal), "")
    table = Table(title=Text(shown(goal)), title_justify="left", box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("image", overflow="fold")
    table.add_column("status", no_wrap=True)
    for name in ("K", "before", "after", *(MEASURES[name].label for name in SHOWN), "fwd", "bwd", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        table.add_row(Text(shown(record.stem)), Text(record.status, style=COLORS[record.status]), *_figures(record))
    console.print(table)
    attacked = summary["attacked"]
    kinds = ", ".join(f"{summary[s]} {s}" for s in ("nothing", "already", "error") if summary[s])
    console.print(f"{summary['success']} of {attacked} succeeded{f'; {kinds}' if kinds else ''}", highlight=False)
    for line in skipped:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"run folder: {out}", markup=False, highlight=False, soft_wrap=True)


def print_summary(out: Path, summary: dict[str, Any], skipped: str = "") -> None:
    """A run over a data set: what came out, each question by its name. skipped: a line on images left alone."""
    console = Terminal()
    table = Table(box=None, show_header=False, padding=(0, 1))
    for name, text in _lines(summary):
        table.add_row(name, Text(text))
    console.print(table)
    if skipped:
        console.print(skipped, markup=False, highlight=False, soft_wrap=True)
    console.print(f"run folder: {out}", markup=False, highlight=False, soft_wrap=True)


def skipped_lines(records: Sequence[Record], detector: Detector | DetectorCard, score_threshold: float) -> list[str]:
    """For each image with nothing to attack: its name, what it shows, and options of this command that attack it."""
    lines = []
    for record in records:
        if record.status in SKIPPED:
            target, clean = target_of(record, detector), from_lists(record.clean)
            seen = seen_instead(target, clean, detector.categories, score_threshold)
            faint = None if record.status == "already" else faint_score(target, clean)
            options = _options(target.goal, list(seen), faint, _own_option)
            reason = record.reason or skip_reason(target, clean, detector.categories, score_threshold)
            lines.append(f"{record.stem}: {reason}{options}")
    return lines


def skipped_line(folder: RunFolder, summary: Mapping[str, Any]) -> str:
    """The same of a run over a data set in one line, with how many images show what; empty where all were attacked."""
    images = sum(summary[status] for status in SKIPPED)
    if not images:
        return ""
    detector, score_threshold = card_of(folder.manifest), summary["score_threshold"]
    goal, seen, faint = parse_goal(folder.manifest["config"]["goal"]), Counter[str](), [0.0]
    for record in (record for record in folder.iterate() if record.status in SKIPPED):
        target, clean = target_of(record, detector), from_lists(record.clean)
        seen.update(seen_instead(target, clean, detector.categories, score_threshold).keys())
        faint.append(faint_score(target, clean))
    already = bool(summary["already"])
    if already:
        what = goal.already()
    else:
        fainter = sum(score > 0 for score in faint)
        what = f"{lacking(goal)} above {score_threshold:g}" + (f" (fainter in {fainter})" if fainter else "")
        named = ", ".join(f"{name} in {count}" for name, count in seen.most_common(MOST_NAMED))
        what += f"; seen: {named}" if named else ""
    names = [name for name, _ in seen.most_common()]
    options = _options(goal, names, None if already else max(faint), lambda other: f"--goal {quote(str(other))}")
    return f"{images} {'image' if images == 1 else 'images'} skipped: {what}{options}"


def _options(goal: Goal, seen: Sequence[str], faint: float | None, spelled: Callable[[Goal], str]) -> str:
    """What to ask for instead, as the command at hand spells it. faint: as of `faint_score`; None: the goal holds
    untouched."""
    threshold = None if faint is None else threshold_below(faint)
    options = [spelled(other) for other in goal.alternatives([] if faint is None else seen[:MOST_NAMED])]
    options += [] if threshold is None else [f"--score-threshold {threshold:g}"]
    return f": {', '.join(options)}" if options else ""


def _own_option(goal: Goal) -> str:
    """As `untargeted` and `targeted` spell what differs."""
    return (
        f"--box {goal.place}" if isinstance(goal, Inject) else f"--suppress {quote(', '.join(goal.classes()) or ALL)}"
    )


def warn_of_parity(summary: Mapping[str, Any]) -> None:
    """Says on stderr, loudly, where the clean AP is not what the model's card states."""
    problem = parity_problem(summary["ap"])
    if problem:
        Terminal(stderr=True).print(Text(f"WARNING: {problem}", style="bold red"), soft_wrap=True)


def say_ap_notes(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Says on stderr, each once, what the AP of runs does not count."""
    say_notes(dict.fromkeys(note for summary in summaries for note in ap_notes(summary["ap"])))


def _lines(s: dict[str, Any]) -> Iterator[tuple[str, str]]:
    rest = "".join(f", {s[k]} {k}" for k in ("nothing", "already", "error") if s[k])
    yield "images", f"{s['images']}: {s['success']} success, {s['failure']} failure{rest}"
    if s["attacked"]:
        yield f"success at τ {s['score_threshold']:g}", _share(s["success_rate"], s["success_interval"])
        yield "by the files", _share(s["file_success_rate"], s["file_success_interval"])
    if s["ap"]:
        clean, attacked = s["ap"]["clean"], s["ap"]["adversarial"]
        for key, name in (("ap", "AP"), ("ap50", "AP50")):
            change = f"{number(clean[key], '.3f')} → {number(attacked[key], '.3f')}"
            yield f"{name} down to {s['ap']['eval_threshold']:g}", change
        if s["ap"]["expected_clean"] is not None:
            yield "clean AP", f"{number(clean['ap'], '.3f')}, the model's card states {s['ap']['expected_clean']:.3f}"
        for what, _, which in (note.partition(": ") for note in ap_notes(s["ap"])):
            yield what, shown(which)
        if any(goal.startswith("suppress:") for goal in s["per_goal"]):
            yield "AP and τ", s["questions"]["empty_ap"]
    one = s["collateral"]
    if one["others"]:
        yield "others kept", f"{one['kept_share']:.1%} of {one['others']}"
    if one["images"]:
        yield "new detections", f"{one['new_per_image']:.2f} an image"
    medians = [
        ("k", "K", ".0f"),
        *((n, MEASURES[n].label, MEASURES[n].format) for n in SHOWN),
        ("asked_iou", "IoU asked", ".2f"),
    ]
    figures = [f"{label} {s['median_' + k]:{form}}" for k, label, form in medians if s["median_" + k] is not None]
    yield "medians", ", ".join(figures) or "-"
    if s["median_forwards"] is not None:
        cost = f"{s['median_forwards']:.0f} forwards, {s['median_backwards']:.0f} backwards"
        yield "cost", f"{cost}, {s['timing']['median_seconds']:.1f} s an image"


def _share(share: float, interval: tuple[float, float]) -> str:
    return f"{share:.1%} (95%: {interval[0]:.1%} to {interval[1]:.1%})"


def _figures(record: Record) -> list[str]:
    if not record.quality:
        return []
    q = record.quality
    return [
        str(record.k) if record.k >= 0 else "-",
        f"{record.confidence_before:.2f}",
        f"{record.confidence_after:.2f}",
        *(MEASURES[name].text(q.get(name)) for name in SHOWN),
        str(record.forwards),
        str(record.backwards),
        f"{record.seconds:.1f}",
    ]


def number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
