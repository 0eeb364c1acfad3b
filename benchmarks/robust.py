"""The price of surviving: L2 against what an attack has to hold after, judged from the files by code of its own.

    python benchmarks/robust.py --model nanodet_coco.py:factory --images PHOTOS --goal suppress:all --limit 12 \
        --out DIR --robust-to none --robust-to jpeg:90,jpeg:75

Each `--robust-to` is a run of `detattack evaluate` and a row of the table. A file holds after a corruption if the goal
holds for it untouched and corrupted; corruptions are made here, JPEG and WebP by Pillow's encoder and by OpenCV's.
"""

import argparse
import io
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from detattack.api import load_detector
from detattack.runs.folder import RunFolder
from detattack.tasks.detection.record import DetectionRecord, target_of

HELD_OUT = ("jpeg:80", "jpeg:70", "resize:0.7", "webp:80")
SEEN = ("jpeg:90", "jpeg:75", "resize:0.5", "blur:1")


def by_pillow(pixels: np.ndarray, name: str, value: float) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, name, quality=int(value))
    return np.array(Image.open(buffer).convert("RGB"))


def by_opencv(pixels: np.ndarray, name: str, value: float) -> np.ndarray:
    flag = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}[name]
    encoded = cv2.imencode(f".{name}", pixels[..., ::-1], [flag, int(value)])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1].copy()


def corruptions_of(pixels: np.ndarray, text: str) -> list[np.ndarray]:
    """The corrupted image, by each encoder."""
    name, _, number = text.partition(":")
    value, (height, width) = float(number), pixels.shape[:2]
    if name in ("jpeg", "webp"):
        return [by_pillow(pixels, name, value), by_opencv(pixels, name, value)]
    if name == "resize":
        small = cv2.resize(pixels, (round(value * width), round(value * height)), interpolation=cv2.INTER_AREA)
        return [cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)]
    return [cv2.GaussianBlur(pixels, (0, 0), value)]


@torch.no_grad()
def judge(run: Path, model: str, threshold: float) -> dict:
    """Rates of files that hold untouched and after corruptions, and what they cost."""
    detector = load_detector(model, "cpu")
    with closing(RunFolder.open(run, DetectionRecord)) as folder:
        records = [r for r in folder.iterate() if r.status in ("success", "failure")]
    claimed = json.loads((run / "run.json").read_text())["config"].get("robust_to", [])
    after = dict.fromkeys((*SEEN, *HELD_OUT), 0)
    all_claimed, l2 = 0, []
    for record in records:
        pixels = np.array(Image.open(run / "images" / f"{record.stem}.png").convert("RGB"))
        target = target_of(record, detector)

        def holds(image: np.ndarray, target=target) -> bool:
            tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / 255)
            return target.holds(detector.detect(tensor[None], threshold)[0].above(threshold))

        untouched = holds(pixels)
        held = {name: untouched and all(map(holds, corruptions_of(pixels, name))) for name in after}
        for name, good in held.items():
            after[name] += good
        all_claimed += untouched and all(held[name] for name in claimed if name in held)
        if record.status == "success":
            l2.append(record.quality["l2"])
    count = len(records)
    return {
        "images": count,
        "success": sum(r.status == "success" for r in records),
        "files_hold": all_claimed,
        "median_l2": float(np.median(l2)) if l2 else None,
        "after": after,
        "l2": {r.id: r.quality["l2"] for r in records if r.status == "success"},
        "forwards": float(np.median([r.forwards for r in records])) if records else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "images", "goal", "method"):
        parser.add_argument(f"--{name}", default={"goal": "suppress:all", "method": "jnd", "model": "demo"}.get(name))
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--within", action="append", default=[])
    parser.add_argument("--robust-to", action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    data = ["--images", given.images, "--limit", str(given.limit)] if given.images else ["--scenes", str(given.scenes)]
    rows: dict[str, dict] = {}
    for option, values in (("--robust-to", given.robust_to), ("--within", given.within)):
        for value in values:
            run = given.out / f"{option[2:]}-{value}".replace("/", "_").replace(":", "-")
            words = ["evaluate", *data, "--model", given.model, "--goal", given.goal, "--method", given.method]
            words += [option, value, "--batch", "1", "--quality", "quick", "--quiet", "--out", str(run), "--resume"]
            if not (run / "summary.json").exists():
                subprocess.run([sys.executable, "-m", "detattack", *words], check=True)
            rows[f"{option[2:]} {value}"] = row = judge(run, given.model, given.threshold)
            print(json.dumps({"row": f"{option[2:]} {value}", **row}), flush=True)
    (given.out / "rows.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
