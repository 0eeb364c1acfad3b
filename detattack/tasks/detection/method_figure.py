"""The paper's Figures 5 and 6: what several methods made of one image, side by side, as PNG or PDF.

Figure 5: the original and each method's adversarial image, with what the detector reports. Figure 6: the original
and each method's difference image, in one color map on one fixed range.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detattack.core.errors import InputError
from detattack.datasets.image_io import read_image
from detattack.report.method_titles import method_title
from detattack.report.pictures import original_pixels
from detattack.report.sheet import Sheet
from detattack.tasks.detection.box_marks import Shown
from detattack.tasks.detection.photo_panel import count_text, draw_photo
from detattack.tasks.detection.record import DetectionRecord, from_lists
from detattack.tasks.detection.run_data import DetectionData, read


def method_figure(
    run_dirs: Sequence[Path], stem: str, path: str | os.PathLike[str], differences: bool = False, caption: str = ""
) -> None:
    """Write the figure of one image, `stem`, as the runs in `run_dirs` attacked it, in their order.

    The first panel is the original. Boxes are those above the first run's τ.

    - path: of the figure, PNG or PDF by extension, written atomically.
    - differences: the other panels are difference images (Figure 6), else the adversarial images (Figure 5).

    Raises `InputError` for a run without the image, runs of different images, an original that is gone, another
    extension.
    """
    if not run_dirs:
        raise InputError("a figure of methods needs a run at least")
    runs = [read(Path(run)) for run in run_dirs]
    records = [_record(run, stem) for run in runs]
    width, height = records[0].width, records[0].height
    for run, record in zip(runs, records, strict=True):
        if (record.width, record.height, record.source) != (width, height, records[0].source):
            raise InputError(f"{run.path}: {stem!r} is another image than in {runs[0].path}")
    pairs = list(zip(runs, records, strict=True))
    sheet = Sheet(width, height, 1 + len(pairs), caption, bar=differences)
    _photo(sheet, runs[0], records[0], "Original", _original(runs[0], records[0]), records[0].clean)
    for run, record in pairs:
        if differences:
            sheet.picture(_title(run), _facts(run, record), _pixels(run, "heatmaps", record))
        else:
            _photo(sheet, run, record, _title(run), _pixels(run, "images", record), record.adversarial)
    if differences:
        sheet.color_bar()
    sheet.save(Path(path))


def _title(run: DetectionData) -> str:
    return method_title(str((run.config.get("attack") or {}).get("name", "unknown")))


def _photo(
    sheet: Sheet,
    run: DetectionData,
    record: DetectionRecord,
    title: str,
    pixels: np.ndarray,
    found: dict[str, list[Any]],
) -> None:
    shown = Shown(from_lists(found), run.names, run.tau, goal_box=record.box)
    facts = [count_text(shown), *([] if title == "Original" else [_facts(run, record)])]
    draw_photo(sheet, title, ", ".join(filter(None, facts)), pixels, shown)


def _record(run: DetectionData, stem: str) -> DetectionRecord:
    for record in run.whole():
        if record.stem == stem and record.digest:
            return record
    raise InputError(f"{run.path}: holds no image {stem!r}")


def _pixels(run: DetectionData, folder: str, record: DetectionRecord) -> np.ndarray:
    return read_image(run.path / folder / f"{record.stem}.png").pixels


def _original(run: DetectionData, record: DetectionRecord) -> np.ndarray:
    after = _pixels(run, "images", record)
    pixels = original_pixels(run.path, record, after, run.manifest) if record.quality else after
    if pixels is None:
        raise InputError(f"{run.path}: the original of {record.stem!r} is not at its source any more: {record.source}")
    return pixels


def _facts(run: DetectionData, record: DetectionRecord) -> str:
    distance, spends = record.quality.get("l2"), run.budget is not None
    parts = [record.outcome(spends)] if spends or record.status != "success" else []
    parts += [f"K = {record.k}"] if record.k >= 0 and not spends else []
    parts += [f"L2 = {distance:.3g}"] if distance is not None else []
    return ", ".join(parts)
