"""What a finished search leaves: a config a method and one of all, a table of all trials, and a picture a method.

Made from the trials alone, so at any time and to the same bytes.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from detattack.core.files import write_bytes_atomic, write_text_atomic
from detattack.core.wording import counted
from detattack.engine.config import TUNED_ON, named_attack
from detattack.engine.presets import Attack
from detattack.workflows.search import Plan, Space, Trial

TRIALS, ALL_METHODS = "trials.csv", "best.yaml"
MEASURES = ("paper", "l2", "k", "success_rate")
NOT_SET = ("name", "levels")
"""Fields of an attack that a config says otherwise, by `method` and `float`."""

WIDE = 5
"""L2 norms that differ by more than this factor are drawn on a logarithmic scale."""


@dataclass(frozen=True)
class Found:
    """A searched method.

    - origin: what it was searched on, by name, for people
    - images: the same for programs, see `tuned_on`
    - preset: of the method, untouched
    """

    space: Space
    plan: Plan
    trials: Sequence[Trial]
    origin: Mapping[str, Any]
    images: str
    preset: Attack

    @property
    def name(self) -> str:
        """Of the method."""
        return self.space.attack.name

    @property
    def best(self) -> Trial:
        """The best trial."""
        return self.plan.objective.best(self.trials)

    @property
    def score(self) -> float:
        """Of the best trial."""
        return self.plan.objective.value(self.best.scores)

    def settings(self) -> dict[str, Any]:
        """Return what `set` of a config has to say of this method."""
        attack = self.space.attack_with(self.best.values)
        names = [field.name for field in fields(Attack) if field.name not in NOT_SET]
        values = {name: getattr(attack, name) for name in names}
        if attack.levels is not None and attack.levels != self.preset.levels:
            values["levels"] = attack.levels
        return {k: v for k, v in values.items() if k in self.best.values or v != getattr(self.preset, k)}

    def as_json(self) -> dict[str, Any]:
        """For programs: the score, what it is made of, and the settings."""
        scores = {name: getattr(self.best.scores, name) for name in MEASURES}
        return {"score": self.score, **scores, "trials": len(self.trials), "set": self.settings()}


def make_found(
    space: Space,
    plan: Plan,
    trials: Sequence[Trial],
    origin: Mapping[str, Any],
    images: str,
    presets: Mapping[str, Attack],
) -> Found:
    """Make a searched method. presets: the methods of the task."""
    return Found(space, plan, trials, origin, images, named_attack(space.attack.name, presets))


def write_best(out: Path, found: Found) -> None:
    """`best-METHOD.yaml`, for `--config` of the commands with one method, and `search-METHOD.png`."""
    config = {"method": found.name, **_floats(found), "set": found.settings(), TUNED_ON: found.images}
    write_text_atomic(out / f"best-{found.name}.yaml", _commented([found], config))
    _write_picture(out / f"search-{found.name}.png", found)


def write_all(out: Path, methods: Sequence[Found]) -> None:
    """`trials.csv`, and `best.yaml`, for `--config` of the commands that compare methods."""
    write_text_atomic(out / TRIALS, trials_csv(methods))
    settings = {f"{found.name}.{key}": value for found in methods for key, value in found.settings().items()}
    config = {
        "methods": ",".join(found.name for found in methods),
        **_floats(methods[0]),
        "set": settings,
        TUNED_ON: methods[0].images,
    }
    write_text_atomic(out / ALL_METHODS, _commented(methods, config))


def trials_csv(methods: Sequence[Found]) -> str:
    """Write a row a trial, the best of each method marked with 1."""
    searched = list(dict.fromkeys(name for found in methods for name in found.space.ranges))
    columns = ["method", "trial", *searched, "score", *MEASURES, "images", "failures", "best"]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for found in methods:
        for trial in found.trials:
            scores = {name: getattr(trial.scores, name) for name in (*MEASURES, "images", "failures")}
            row = {"method": found.name, "trial": trial.number, **trial.values, **scores}
            writer.writerow(row | {"score": found.plan.objective.value(trial.scores), "best": int(trial is found.best)})
    return buffer.getvalue()


def summary_line(found: Found) -> str:
    """Tell the best trial in words."""
    scores = found.best.scores
    means = [f"{name} {value:.4g}" for name, value in (("L2", scores.l2), ("K", scores.k)) if value is not None]
    parts = [f"success {scores.success_rate:.1%} of {scores.images}", *means, f"PSNR·SSIM/K {scores.paper:.4g}"]
    return f"{found.name}: trial {found.best.number} of {len(found.trials)}: {', '.join(parts)}"


def _floats(found: Found) -> dict[str, Any]:
    return {"float": True} if found.space.attack.levels is None else {}


def _commented(methods: Sequence[Found], config: dict[str, Any]) -> str:
    plan, origin = methods[0].plan, methods[0].origin
    lines = [
        "The best settings that a search found:",
        *map(summary_line, methods),
        f"objective: {plan.objective.name}, {plan.objective.text}",
        f"search: {plan.sampler}, {counted(plan.trials, 'trial')} a method, seed {plan.seed}",
        *(f"{name}: {value}" for name, value in origin.items() if value),
    ]
    comment = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    return comment + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _write_picture(path: Path, found: Found) -> None:
    """Draw the measure of the objective against each parameter, the best marked, and trial by trial."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measure = _measure(found)
    panels = [*found.space.ranges, "trial"]
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, name in zip(grid, panels, strict=False):
        _panel(axes, found, name, measure)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    _history(grid[len(panels) - 1], found, measure)
    grid[0].legend(frameon=False, fontsize="small")
    figure.suptitle(summary_line(found).replace(": ", "\n", 1), fontsize="medium")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_bytes_atomic(path, buffer.getvalue())


def _measure(found: Found) -> str:
    """Name what the picture shows: the penalties of an objective would hide all else."""
    return "l2" if found.plan.objective.name == "l2" else "paper"


def _panel(axes: Any, found: Found, name: str, measure: str) -> None:
    def draw(trials: Sequence[Trial], **style: Any) -> None:
        shown = [trial for trial in trials if getattr(trial.scores, measure) is not None]
        x = [trial.number if name == "trial" else trial.values[name] for trial in shown]
        axes.plot(x, [getattr(trial.scores, measure) for trial in shown], linestyle="", **style)

    whole = [trial for trial in found.trials if not trial.scores.failures]
    partly = [trial for trial in found.trials if trial.scores.failures]
    draw(partly, marker="x", color="gray", label="some images fail")
    draw(whole, marker="o", color="tab:blue", alpha=0.7, label="all images succeed")
    draw([found.best], marker="*", color="tab:red", markersize=14, label="best")
    labels = {"paper": "mean PSNR·SSIM/K", "l2": "mean L2 of the successes"}
    axes.set(xlabel=name, ylabel=labels[measure], xscale="linear" if name in ("trial", "growth") else "log")
    if name in found.space.ranges:
        axes.set_xlim(found.space.ranges[name].low, found.space.ranges[name].high)
    norms = [trial.scores.l2 for trial in found.trials if trial.scores.l2]
    if measure == "l2" and norms and max(norms) > WIDE * min(norms):
        axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _history(axes: Any, found: Found, measure: str) -> None:
    """Draw the best so far."""
    best = [(trial.number, found.plan.objective.best(found.trials[: trial.number])) for trial in found.trials]
    known = [(i, value) for i, one in best if (value := getattr(one.scores, measure)) is not None]
    if known:
        axes.step(*zip(*known, strict=True), where="post", color="tab:red", linewidth=1)
