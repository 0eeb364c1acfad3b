"""What a run of any task amounts to: counts, success with its interval, distances and cost.

All in one pass that holds no record.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from detattack.core.wording import counted
from detattack.engine.budget import budget_in, parse_budgets
from detattack.metrics.image_quality import MEASURES
from detattack.metrics.rates import rate
from detattack.report.measures import CHANGE
from detattack.runs.record import ATTACKED, BROKEN, STATUSES, BaseRecord
from detattack.tasks.columns import number

COSTS = ("k", "forwards", "backwards")
PASSES = ("forwards", "backwards")
SHOWN = ("l2", "linf", "psnr", "ssim")
"""The measures in a line on a run; all are in its JSON and on its page."""


class Tally:
    """Counts the records of a run one by one, and keeps numbers only."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(STATUSES, 0)
        self.on_file = 0
        self.of_successes: dict[str, list[float]] = defaultdict(list)
        self.of_attacked: dict[str, list[float]] = defaultdict(list)
        self.seconds: list[float] = []
        self.survivals: dict[str, list[bool]] = defaultdict(list)

    def add(self, record: BaseRecord, **more: float | None) -> None:
        """Count an image. more: what else is averaged over the successes."""
        self.counts[record.status] += 1
        self.seconds.append(record.seconds)
        self.on_file += record.status in ATTACKED and record.file_success
        for name, holds in record.survives.items():
            self.survivals[name].append(holds)
        if record.quality:
            passes = {name: getattr(record, name) for name in PASSES}
            for name, value in {**passes, **record.quality}.items():
                if value is not None:
                    self.of_attacked[name].append(value)
        if record.status == "success":
            values = {**{name: getattr(record, name) for name in (*COSTS, "seconds")}, **record.quality, **more}
            for name, value in values.items():
                if value is not None:
                    self.of_successes[name].append(value)

    @property
    def attacked(self) -> int:
        """How many images the success rate is over."""
        return sum(self.counts[status] for status in ATTACKED)

    def as_json(self) -> dict[str, Any]:
        """Tell how many images there are by status, and the success rates, by the status and by the file."""
        success, file_success = rate(self.counts["success"], self.attacked), rate(self.on_file, self.attacked)
        return {
            "images": sum(self.counts.values()),
            **self.counts,
            "attacked": self.attacked,
            "success_rate": success["rate"],
            "success_interval": success["interval"],
            "file_success_rate": file_success["rate"],
            "file_success_interval": file_success["interval"],
            **self._survives(),
        }

    def _survives(self) -> dict[str, Any]:
        """Tell how many of the judged images the goal holds for after each corruption; nothing where none was asked."""
        rates = {name: rate(sum(held), len(held)) for name, held in self.survivals.items()}
        return {"survives": rates} if rates else {}

    def averages(self, kind: str, average: Callable[[Sequence[float]], float], names: Iterable[str]) -> dict[str, Any]:
        """Average over the successes; kind: `mean` or `median`, the prefix of the keys."""
        values = self.of_successes
        return {f"{kind}_{name}": average(values[name]) if values.get(name) else None for name in names}

    def over_attacked(self) -> dict[str, Any]:
        """Tell the `change` of all attacked images, whatever came of it, and the `passes` that it took."""
        return {"change": self._spreads(CHANGE), "passes": self._spreads(PASSES)}

    def _spreads(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: _spread(self.of_attacked.get(name, [])) for name in names}

    def timing(self) -> dict[str, float | None]:
        """Tell what depends on the clock: of all images, and the median over the successes."""
        return {
            "seconds": sum(self.seconds),
            "seconds_per_image": statistics.fmean(self.seconds) if self.seconds else None,
            **self.averages("median", statistics.median, ["seconds"]),
        }


def common_summary(records: Iterable[BaseRecord]) -> dict[str, Any]:
    """Sum up a run of any task. Means and medians are over the successes; `timing` alone depends on the clock."""
    tally = Tally()
    for record in records:
        tally.add(record)
    names = (*COSTS, *MEASURES)
    return {
        **tally.as_json(),
        **tally.averages("median", statistics.median, names),
        **tally.averages("mean", statistics.fmean, names),
        **tally.over_attacked(),
        "timing": tally.timing(),
    }


def question(config: Mapping[str, Any]) -> dict[str, Any]:
    """Tell what a run asks, by its config.

    - kind: `first success`: how small a change does it; `budget`: how much harm a change of a given size does
    - budget: such as `linf:2`; None where there is none
    - floats: whether floats were judged, not 8-bit files
    - robust_to, within: as of the config; left out where they are not asked for
    """
    budget = budget_in(config)
    return {
        **{name: config[name] for name in ("robust_to", "within") if config.get(name)},
        "kind": "budget" if budget else "first success",
        "budget": str(budget) if budget else None,
        "floats": (config.get("attack") or {}).get("levels", 256) is None,
    }


def summary_lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell a run of any task in lines: a name, and what there is to say."""
    yield "question", question_line(summary)
    yield "images", counts_line(summary)
    if summary["attacked"]:
        yield "success", share_line(summary["success_rate"], summary["success_interval"])
        yield "by the files", share_line(summary["file_success_rate"], summary["file_success_interval"])
    yield "medians", medians_line(summary)
    if summary["median_forwards"] is not None:
        yield "cost", cost_line(summary)


def _spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """How many there are, mean, median and largest; None of nothing."""
    return {
        "images": len(values),
        "mean": statistics.fmean(values) if values else None,
        "median": statistics.median(values) if values else None,
        "max": max(values, default=None),
    }


def question_name(summary: Mapping[str, Any]) -> str:
    """Name what a run asks."""
    if summary.get("kind") != "budget":
        return "first success"
    return f"budget {parse_budgets(summary['budget'])[0].label}"


def question_line(summary: Mapping[str, Any]) -> str:
    """Say what a run asks."""
    within = f"; changes within {summary['within']}" if summary.get("within") else ""
    after = f"; untouched and after {', '.join(summary['robust_to'])}" if summary.get("robust_to") else ""
    if summary.get("kind") != "budget":
        return f"first success: how small a change reaches the goal?{after}{within}"
    on = "floats" if summary["floats"] else "8-bit files"
    asked = f"how wrong does all of it make the output? The worst of each image, on {on}"
    return f"{question_name(summary)}: {asked}{after}{within}"


def change_line(summary: Mapping[str, Any]) -> str:
    """Write the means over all attacked images, and what they took.

    The PSNR of an image that did not change is infinite: where there are such, it is said how many the mean is over.
    """
    change, passes = summary["change"], summary["passes"]
    means = ", ".join(
        f"{MEASURES[name].label} {number(change[name]['mean'], MEASURES[name].format)}" for name in CHANGE
    )
    changed, attacked = (change[name].get("images") for name in ("psnr", "l2"))  # older summaries do not tell
    means += f" of the {changed} that changed" if changed != attacked else ""
    return f"{means}; {number(passes['backwards']['mean'], '.0f')} backward passes on average"


def counts_line(summary: Mapping[str, Any]) -> str:
    """Say how many images there are of each status."""
    words = BROKEN if summary.get("kind") == "budget" else {}
    said = [f"{summary[k]} {words.get(k, k)}" for k in ("success", "failure")]
    said += [f"{summary[k]} {k}" for k in ("nothing", "already", "error") if summary[k]]
    return f"{summary['images']}: {', '.join(said)}"


def share_line(share: float, interval: Sequence[float]) -> str:
    """Write a rate and its 95% interval."""
    return f"{share:.1%} (95% CI {interval[0]:.1%} to {interval[1]:.1%})"


def medians_line(summary: Mapping[str, Any], more: Sequence[tuple[str, str, str]] = ()) -> str:
    """Write medians over the successes. more: key, label and format of other ones."""
    shown = [("k", "K", "g"), *((n, MEASURES[n].label, MEASURES[n].format) for n in SHOWN), *more]
    found = [
        f"{label} {number(summary['median_' + key], form)}"
        for key, label, form in shown
        if summary["median_" + key] is not None
    ]
    return ", ".join(found) or "-"


def cost_line(summary: Mapping[str, Any]) -> str:
    """Write what an image took."""
    passes = ", ".join(counted(round(summary[f"median_{kind}s"]), kind) for kind in ("forward", "backward"))
    return f"{passes}, {summary['timing']['median_seconds']:.1f} s an image"
