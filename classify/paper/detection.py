"""Figures 5 and 6: the embedded detector on a rendered street scene, method by method."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from classify.paper.config import Detection
from classify.paper.running import RUNS
from detattack.core.errors import unknown
from detattack.datasets.source import DatasetSource
from detattack.engine.presets import PRESETS
from detattack.runs.folder import RunFolder
from detattack.tasks.columns import Column
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.method_figure import method_figure
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.workflows.compare import Reporting, run_methods
from detattack.workflows.evaluate import Settings, make_experiment

COLUMNS: Sequence[Column] = (
    Column("image", "image", ""),
    Column("method", "method", ""),
    Column("status", "status", ""),
    Column("k", "K", "d"),
    Column("l2", "L2", ".4f"),
    Column("psnr", "PSNR (dB)", ".2f"),
    Column("ssim", "SSIM", ".4f"),
    Column("shown", "in the figure", ""),
)


def carry_out(detection: Detection, out: Path, device: str, progress: Reporting | None) -> list[Path]:
    """Run or resume every method in a folder of its own. Raises `InputError`."""
    for name in detection.methods:
        if name not in PRESETS:
            raise unknown("method", name, PRESETS)

    values = {"goal": str(parse_goal(detection.goal)), "seed": detection.seed, "device": device}
    attacks = Settings().attacks(DETECTION, detection.methods)
    source = DatasetSource(scenes=detection.scenes, seed=detection.seed)
    experiment = make_experiment(DETECTION, values, attacks[detection.methods[0]], source)

    def experiment_of(name: str, target_l2: Mapping[int, float] | None) -> Any:
        return experiment.with_attack(attacks[name], target_l2)

    run_methods(detection.methods, experiment_of, out / RUNS, progress=progress)
    return [out / RUNS / name for name in detection.methods]


def facts(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Make a row for each scene and method."""
    rows = []
    for folder in folders:
        for record in _records(folder):
            numbers = {name: record.quality.get(name) for name in ("l2", "psnr", "ssim")}
            rows.append(
                {"image": record.stem, "method": folder.name, "status": record.status, "k": record.k, **numbers}
            )
    return rows


def shown_image(rows: Sequence[Mapping[str, Any]]) -> str:
    """Find the first image that most methods succeed on."""
    wins = {row["image"]: 0 for row in rows}
    for row in rows:
        wins[row["image"]] += row["status"] == "success"
    return max(wins, key=lambda image: wins[image])


def write_methods(path: Path, folders: Sequence[Path], stem: str, detection: Detection, title: str) -> None:
    """Write `path` with .png and .pdf."""
    caption = f"{title}. Goal: {detection.goal}."
    for kind in ("png", "pdf"):
        method_figure(folders, stem, path.with_suffix(f".{kind}"), detection.differences, caption)


def made_with(folder: Path) -> dict[str, Any]:
    """Model and data by fingerprints."""
    with closing(RunFolder.open(folder, DetectionRecord)) as opened:
        manifest = opened.manifest
    return {"model": {"model": manifest["config"]["model"], "fingerprint": manifest["model"]}, "data": manifest["data"]}


def _records(folder: Path) -> list[Any]:
    with closing(RunFolder.open(folder, DetectionRecord)) as opened:
        return opened.records()
