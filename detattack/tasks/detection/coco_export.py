"""A finished run in the formats others read: COCO results and a COCO data set."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

from detattack.core.boxes import from_xywh
from detattack.core.errors import InputError
from detattack.core.types import DetectorCard
from detattack.datasets.base import Dataset, OriginalIds, read_description
from detattack.datasets.coco import category_ids
from detattack.datasets.coco_file import parse_coco
from detattack.datasets.corruptions import Corruption
from detattack.detectors.base import Detector
from detattack.runs.folder import RunFolder
from detattack.tasks.detection.record import DetectionRecord


def coco_results(
    records: Iterable[DetectionRecord],
    detector: Detector | DetectorCard,
    dataset: Dataset,
    which: Literal["clean", "adversarial"],
) -> Iterator[dict[str, Any]]:
    """Yield detections in COCO's results format: all that the detector reports above its own threshold, the best first.

    Boxes are not rounded: overlaps, and so AP, depend on every digit. Category ids as in the annotations, matched by
    name; what the data set has no class for is left out.
    """
    ids = category_ids(detector.categories, dataset.categories)
    for record in records:
        found = getattr(record, which)
        rows = zip(*(found.get(k, ()) for k in ("boxes", "scores", "labels")), strict=True)
        for (x1, y1, x2, y2), score, label in sorted(rows, key=lambda row: -row[1]):
            if label in ids and score > detector.eval_threshold:
                bbox = [x1, y1, x2 - x1, y2 - y1]
                yield {"image_id": record.id, "category_id": ids[label], "bbox": bbox, "score": score}


def coco_annotations(
    records: Iterable[DetectionRecord], detector: Detector | DetectorCard, dataset: Dataset
) -> dict[str, Any]:
    """Make a COCO data set of the adversarial images: `file_name` is relative to `images/`. Annotations by image id.

    Ids as in the annotation file; where that of an image is another in the ledger, its `record` is that.
    """
    originals = dataset.original_ids
    images = {
        r.id: {"id": r.id, "file_name": f"{r.stem}.png", "width": r.width, "height": r.height}
        for r in records
        if r.digest
    }
    for number in images.keys() & originals.images.keys():
        images[number] |= {"id": originals.images[number], "record": number}
    annotations = sorted((a for a in dataset.annotations if a["image_id"] in images), key=lambda a: a["image_id"])
    categories = [{**c, "id": originals.categories.get(c["id"], c["id"])} for c in dataset.categories]
    return {
        "info": {"description": "adversarial images made by detattack"},
        "images": iter(images.values()),
        "annotations": map(originals.restored, annotations),
        "categories": categories or [{"id": c.coco_id, "name": c.name} for c in detector.categories],
    }


def truth_of(folder: RunFolder[DetectionRecord]) -> Dataset:
    """Read the truth that a run folder's `annotations.json` holds: categories and annotations, no samples.

    Nothing where the data had none: the categories there are the detector's. Raises `InputError`.
    """
    if not folder.manifest.get("annotated"):
        return Dataset((), "")
    path = folder.path / "annotations.json"
    file = parse_coco(read_description(path, str(path)), str(path), as_written=True)
    records: dict[int, Any] = {image["id"]: image.get("record", image["id"]) for image in file.images}
    if not all(isinstance(record, int) for record in records.values()):
        raise InputError(f"{path}: an image has a record that is no integer")
    annotations = tuple({**a, "image_id": records[a["image_id"]]} for a in file.annotations)
    images = {records[number]: written for number, written in file.original_ids.images.items()}
    originals = OriginalIds(images, file.original_ids.categories)
    return Dataset((), "", tuple(file.categories), annotations, original_ids=originals)


def truth_after(folder: RunFolder[DetectionRecord], corruption: Corruption) -> Dataset:
    """Read the truth as `truth_of`, with boxes where a corruption takes what is in them.

    An object of which nothing is in the image any more is left out.
    """
    truth = truth_of(folder)
    if not corruption.moves:
        return truth
    sizes = {record.id: (record.width, record.height) for record in folder.iterate()}
    moved = [_moved(one, corruption, sizes[one["image_id"]]) for one in truth.annotations]
    return replace(truth, annotations=tuple(one for one in moved if one is not None))


def _moved(annotation: dict[str, Any], corruption: Corruption, size: tuple[int, int]) -> dict[str, Any] | None:
    _, _, old_width, old_height = annotation["bbox"]
    x1, y1, x2, y2 = corruption.moved(from_xywh(annotation["bbox"]), size)
    if x2 <= x1 or y2 <= y1:
        return None
    width, height = x2 - x1, y2 - y1
    share = width * height / (old_width * old_height)
    return {**annotation, "bbox": [x1, y1, width, height], "area": annotation["area"] * share}


def by_record(truth: dict[str, Any], rows: Any) -> Any:
    """Give annotations or results of the data set `truth` the ids of the ledger, for those of its images.

    truth: as `coco_annotations` wrote it. Raises KeyError or TypeError for what is in no such format.
    """
    records = {image["id"]: image["record"] for image in truth.get("images", ()) if "record" in image}
    return [{**row, "image_id": records.get(row["image_id"], row["image_id"])} for row in rows] if records else rows
