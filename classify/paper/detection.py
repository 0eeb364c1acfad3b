"""Figures 5 and 6: the embedded detector on a rendered street scene, method by method."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from inspect import signature
from pathlib import Path
from typing import Any

from classify.paper.config import Detection
from classify.paper.running import GOES_ON, RUNS
from detattack.cli.comparing import run_methods
from detattack.cli.evaluate import evaluate
from detattack.cli.running import make_run
from detattack.core.errors import unknown
from detattack.engine.presets import PRESETS
from detattack.tasks.detection.method_figure import method_figure
from detattack.tasks.detection.record import RunFolder
from detattack.workflows.compare import Columns

COLUMNS: Columns = (
    ("image", "image", ""),
    ("method", "method", ""),
    ("status", "status", ""),
    ("k", "K", "d"),
    ("l2", "L2", ".4f"),
    ("psnr", "PSNR (dB)", ".2f"),
    ("ssim", "SSIM", ".4f"),
    ("shown", "in the figure", ""),
)


def carry_out(detection: Detection, out: Path, device: str, quiet: bool) -> list[Path]:
    """Runs or resumes every method in a folder of its own. Raises `InputError`."""
    for name in detection.methods:
        if name not in PRESETS:
            raise unknown("method", name, PRESETS)

    def run_of(name: str, lengths: Mapping[int, float] | None) -> Any:
        return make_run(_options(detection, name, device), lengths=lengths)

    run_methods(detection.methods, run_of, out / RUNS, quiet, again=GOES_ON)
    return [out / RUNS / name for name in detection.methods]


def facts(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """A row for each scene and method."""
    rows = []
    for folder in folders:
        for record in _records(folder):
            numbers = {name: record.quality.get(name) for name in ("l2", "psnr", "ssim")}
            rows.append(
                {"image": record.stem, "method": folder.name, "status": record.status, "k": record.k, **numbers}
            )
    return rows


def shown_image(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first image that most methods succeed on."""
    wins = {row["image"]: 0 for row in rows}
    for row in rows:
        wins[row["image"]] += row["status"] == "success"
    return max(wins, key=lambda image: wins[image])


def write_methods(path: Path, folders: Sequence[Path], stem: str, detection: Detection, title: str) -> None:
    """Writes `path` with .png and .pdf."""
    caption = f"{title}. Goal: {detection.goal}."
    for kind in ("png", "pdf"):
        method_figure(folders, stem, path.with_suffix(f".{kind}"), detection.differences, caption)


def made_with(folder: Path) -> dict[str, Any]:
    """Model and data by fingerprints."""
    with closing(RunFolder.open(folder)) as opened:
        manifest = opened.manifest
    return {"model": {"model": manifest["config"]["model"], "fingerprint": manifest["model"]}, "data": manifest["data"]}


def _records(folder: Path) -> list[Any]:
    with closing(RunFolder.open(folder)) as opened:
        return opened.records()


def _options(detection: Detection, method: str, device: str) -> dict[str, Any]:
    """What `detattack evaluate` is given: its own defaults but for what the figure says."""
    defaults = {name: option.default for name, option in signature(evaluate).parameters.items()}
    own = {"goal": detection.goal, "scenes": detection.scenes, "seed": detection.seed}
    return defaults | own | {"method": method, "device": device, "batch": "1", "quality": "quick"}
