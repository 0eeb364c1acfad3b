"""Check the architectures of docs/detectors.md and write its table: `python docs/checked.py PHOTOS [SPEC...]`.

Each is built with random weights and goes through `models check` on the first photos of a folder. Rows of models that
are not named stay as they are; no name: all are checked. `hf/hf-small/...` is what
`python -m tests.detectors.small_transformers hf-small` writes into the current folder.
"""

import argparse
import re
import sys
from itertools import islice
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "detectors.md"
COUNT = 20
PROMPT = "person . car . stop sign . dog"
"""Of the models with an open vocabulary."""
LIBRARIES_HEAD = "| name | needs | license | what |\n|---|---|---|---|\n"
HEAD = "| SPEC | detections compared | fewest in an image | boxes apart at most, px | scores |\n|---|---|---|---|---|\n"
TORCHVISION = (
    *("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"),
    *("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn", "fcos_resnet50_fpn"),
    *("ssd300_vgg16", "ssdlite320_mobilenet_v3_large"),
)
DETECTRON2 = ("retinanet_R_50_FPN_3x.yaml", "faster_rcnn_R_50_FPN_3x.yaml")
TRANSFORMERS = (
    *("detr", "conditional", "deformable", "two_stage", "dab_detr", "yolos"),
    *("rt_detr", "rt_detr_v2", "d_fine", "deimv2", "lw_detr", "rf_detr"),
)
PROMPTED = ("owlvit", "owlv2", "grounding_dino", "mm_grounding_dino")
ULTRALYTICS = (
    *("yolov5n", "yolov6n", "yolov8n", "yolov9t", "yolov10n", "yolov10n:end2end", "yolo11n", "yolo12n", "yolo26n"),
    *(
        "yolo26n:end2end",
        "yolov8s-worldv2",
        "yoloe-11s",
        "yolov8n-rtdetr",
        "yolov8n-seg",
        "yolov8n-pose",
        "yolo11n-obb",
    ),
)
SPECS = (
    *(f"torchvision/{name}" for name in TORCHVISION),
    *(f"detectron2/COCO-Detection/{name}" for name in DETECTRON2),
    *(f"hf/hf-small/{name}" for name in (*TRANSFORMERS, *PROMPTED)),
    *(f"ultralytics/{name.partition(':')[0]}.yaml{''.join(name.partition(':')[1:])}" for name in ULTRALYTICS),
    *("effdet/tf_efficientdet_lite0", "rfdetr/nano", "yolox/yolox-nano"),
)
ROW = re.compile(r"^\| `([^`]+)` \|.*\|$", re.M)
FIGURES = re.compile(r"(\d+) detections .* at least (\d+) each; boxes ≤ (\S+) px, scores ≤ (\S+) apart")


def checked(spec: str, photos: Path) -> str:
    """Check a model, and return its row. Raises ValueError where a property does not hold."""
    from detattack.datasets.image_io import read_image, to_tensor
    from detattack.detectors.check import check_detector
    from detattack.detectors.registry import load_detector

    prompt = PROMPT if Path(spec).name in PROMPTED else None
    files = islice(sorted(photos.iterdir()), COUNT)
    images = [to_tensor(read_image(file).pixels) for file in files]
    findings = list(check_detector(load_detector(spec, "cpu", "none", prompt=prompt), COUNT, images))
    wrong = [f"{finding.name} {finding.verdict}: {finding.detail}" for finding in findings if not finding.passed]
    if wrong:
        raise ValueError(f"{spec}: {'; '.join(wrong)}")
    parity = next(finding.detail for finding in findings if finding.name == "parity")
    compared, fewest, pixels, scores = FIGURES.match(parity).groups()
    return f"| `{spec}` | {int(compared):,} | {fewest} | {pixels} | {scores} |"


def written(page: str, rows: dict[str, str]) -> str:
    """Return the page with its tables: the libraries, and the rows of what was checked, in the order of `SPECS`."""
    from detattack.detectors.registry import LIBRARIES

    page = replaced(page, HEAD, [rows[spec] for spec in SPECS if spec in rows])
    libraries = [
        f"| `{name}/{one.form}` | {one.needs} | {one.license} | {one.text} |" for name, one in LIBRARIES.items()
    ]
    return replaced(page, LIBRARIES_HEAD, libraries)


def rows_of(page: str) -> dict[str, str]:
    """Read the rows of what was checked, by their model."""
    return {found[1]: found[0] for found in ROW.finditer(page[page.index(HEAD) :])}


def replaced(page: str, head: str, rows: list[str]) -> str:
    """Return the page with other rows of the last table that has this head."""
    start = page.rindex(head) + len(head)
    return page[:start] + "\n".join(rows) + page[page.index("\n\n", start) :]


def main() -> None:
    """Check what is named, and write each row as soon as it is there. Status 1 where a property does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("specs", nargs="*", help="models to check; none: all")
    asked = parser.parse_args()
    failed = 0
    for spec in asked.specs or SPECS:
        try:
            row = checked(spec, asked.photos)
        except Exception as error:  # a library that is not installed, or a property that does not hold
            failed += 1
            print(error, file=sys.stderr, flush=True)
            continue
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(written(page, rows_of(page) | {spec: row}), encoding="utf-8")
        print(row, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
