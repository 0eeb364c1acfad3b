"""The charts of every task's run: each where its data is there, with a caption that says which question it answers."""

from collections.abc import Sequence
from typing import Any

from detattack.core.wording import counted
from detattack.report.measures import reached_within
from detattack.report.plots import Axis, Curve, Plot, histogram, traces
from detattack.report.reading import EvenSample, RunData, Trace
from detattack.runs.record import ATTACKED, BaseRecord

MOST_BARS = 8
LEGEND = [("clean", "clean"), ("adversarial", "adversarial")]


def of_first_success(run: RunData[Any]) -> list[Plot | None]:
    """Draw what only a run that looks for a first success is asked: within which distance, and how soon."""
    return [] if run.budget else [*(one.plot("success") for one in success_curves(run)), iterations(run.records)]


def success_curves(run: RunData[Any]) -> list[Curve]:
    """Trace success rate against L2; nothing where nothing succeeded, or a budget was spent."""
    distances, rates = reached_within(run.records)
    if run.budget or not distances:
        return []
    points = [(0.0, 0.0), *zip(distances, rates, strict=True), (distances[-1] * 1.05, rates[-1])]
    text = "Share of the attacked images on which the goal is reached by an attacker who may go no farther than this."
    return [Curve("Success against distance", Axis("L2 at most"), Axis("success rate", 0, 1), points, text)]


def iterations(records: Sequence[BaseRecord]) -> Plot | None:
    """Draw how the successes' K are distributed; None where there is none."""
    ks = [float(r.k) for r in records if r.status == "success" and r.k >= 0]
    if not ks:
        return None
    failed = sum(r.status in ATTACKED and r.status != "success" for r in records)
    beside = f" {failed} that never got there are not shown." if failed else ""
    svg = histogram(ks, Axis("K, first iteration that succeeds", whole=True), Axis("images"))
    return Plot("Iterations to success", svg, f"{counted(len(ks), 'success')}.{beside}")


def confidences(sample: EvenSample[Trace], tau: float | None = None, spends: bool = False) -> Plot | None:
    """Draw confidence against iteration; None where no image was attacked.

    - tau: as of `traces`
    - spends: whether the run spends a budget; K is then the iteration of the worst image
    """
    if not sample.items:
        return None
    dot = "the worst image, which is kept" if spends else "K, the first iteration that succeeds"
    text = f"Score that the goal is about, an image a line; the dot is {dot}."
    if len(sample.items) < sample.count:
        text += f" {len(sample.items)} of {sample.count} images, evenly chosen."
    return Plot("Confidence", traces(sample.items, tau, "worst" if spends else "K"), text)
