"""Annotation files as the tools write them that people export with, in small: each is opened, and what it says is
found. All of it is made up here."""

import json

import numpy as np
import pytest
from PIL import Image

from detattack.datasets.coco import coco_dataset

COCO_URL = "http://images.cocodataset.org/train2017"
BOX = [2.0, 1.0, 3.0, 2.0]
POLYGON = [[2.0, 1.0, 5.0, 1.0, 5.0, 3.0, 2.0, 3.0]]

COCO_2017 = {
    "info": {"year": 2017, "contributor": "x", "date_created": "2017/09/01"},
    "licenses": [{"id": 1, "name": "x", "url": "http://x"}],
    "images": [
        {
            **{"license": 4, "file_name": "000000000139.jpg", "height": 4, "width": 6, "id": 139},
            **{"coco_url": "http://images.cocodataset.org/val2017/000000000139.jpg", "flickr_url": "http://farm9"},
            "date_captured": "2013-11-21 01:34:01",
        }
    ],
    "annotations": [
        {"segmentation": POLYGON, "area": 6.0, "iscrowd": 0, "image_id": 139, "bbox": BOX, "category_id": 3, "id": 1768}
    ],
    "categories": [{"supercategory": "vehicle", "id": 3, "name": "car"}],
}
LVIS = {
    "images": [{"id": 139, "coco_url": f"{COCO_URL}/000000000139.jpg", "width": 6, "height": 4}]
    + [{"id": 2, "coco_url": f"{COCO_URL}/000000000002.jpg", "neg_category_ids": [3]}],
    "annotations": [{"id": 1, "image_id": 139, "category_id": 3, "bbox": BOX, "area": 6.0, "segmentation": POLYGON}],
    "categories": [{"id": 3, "name": "car", "synset": "car.n.01", "frequency": "f", "synonyms": ["car", "auto"]}],
}
ROBOFLOW = {
    "info": {"year": "2024", "version": "1"},
    "images": [
        {"id": 0, "license": 1, "file_name": "a_jpg.rf.1b2c.jpg", "height": 4, "width": 6, "extra": {"name": "a"}}
    ],
    "annotations": [
        {"id": 0, "image_id": 0, "category_id": 1, "bbox": [2, 1, 3, 2], "area": 6, "segmentation": [], "iscrowd": 0}
    ],
    "categories": [
        {"id": 0, "name": "car", "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": "car"},
    ],
}
CVAT = {
    "licenses": [{"name": "", "id": 0, "url": ""}],
    "images": [{"id": 1, "width": 6, "height": 4, "file_name": "frames/a.JPG", "license": 0, "date_captured": 0}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [], "area": 6.0, "bbox": BOX, "iscrowd": 0}
        | {"attributes": {"occluded": False, "rotation": 0.0, "track_id": 0, "keyframe": True}}
    ],
    "categories": [{"id": 1, "name": "car", "supercategory": ""}],
}
LABEL_STUDIO = {
    "images": [{"width": 6, "height": 4, "id": 0, "file_name": "images\\1\\1f2e3d-a.jpg"}],
    "categories": [{"id": 0, "name": "car"}],
    "annotations": [
        {
            "id": 0,
            "image_id": 0,
            "category_id": 0,
            "segmentation": [],
            "bbox": BOX,
            "ignore": 0,
            "iscrowd": 0,
            "area": 6.0,
        }
    ],
}
FIFTYONE = {
    "info": {"year": "", "url": "https://voxel51.com/fiftyone"},
    "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 6, "license": None, "coco_url": None}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 0, "bbox": BOX, "area": 6.0, "iscrowd": None, "supercategory": None}
        | {"score": float("nan")}
    ],
    "categories": [{"id": 0, "name": "car", "supercategory": None}],
}
LABELME = {
    "images": [{"height": 4, "width": 6, "id": 1, "file_name": "..\\images\\a.jpg"}],
    "annotations": [
        {"segmentation": POLYGON, "iscrowd": 0, "image_id": 1, "bbox": None, "area": None, "category_id": 1, "id": 1}
    ],
    "categories": [{"supercategory": "car", "id": 1, "name": "car"}],
}
VIA = {
    "images": [{"id": "1", "width": 0, "height": 0, "file_name": "a.jpg", "license": 1, "flickr_url": "a.jpg"}],
    "annotations": [{"id": "1_jU7x", "image_id": "1", "category_id": "1", "segmentation": POLYGON[0], "iscrowd": 0}],
    "categories": [{"id": "1", "name": "car", "supercategory": "type"}],
}
PANOPTIC = {
    "images": [{"id": 139, "file_name": "000000000139.jpg", "width": 6, "height": 4}],
    "annotations": [
        {"image_id": 139, "file_name": "000000000139.png"}
        | {"segments_info": [{"id": 3226956, "category_id": 3, "iscrowd": 0, "bbox": [2, 1, 3, 2], "area": 6}]}
    ],
    "categories": [
        {"id": 3, "name": "car", "supercategory": "vehicle", "isthing": 1},
        {"id": 199, "name": "wall-wood", "supercategory": "wall", "isthing": 0},
    ],
}
PYCOCOCREATOR = {
    "images": [
        {"id": 1, "file_name": "a.jpeg", "width": 6, "height": 4, "date_captured": "2018-02-05 03:46:00.1"}
        | {"license": 1, "coco_url": "", "flickr_url": ""}
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 1, "area": 6, "bbox": BOX, "width": 6, "height": 4}
        | {"segmentation": {"counts": [9, 2, 2, 2, 2, 2, 5], "size": [4, 6]}}
    ],
    "categories": [{"id": 1, "name": "car", "supercategory": "shape"}],
}
DETECTRON2 = {
    "info": {"description": "Automatically generated COCO json file for Detectron2."},
    "images": [{"id": 1, "width": 6, "height": 4, "file_name": "/home/me/detectron2/datasets/mine/a.jpg"}],
    "annotations": [{"id": 1, "image_id": 1, "bbox": BOX, "area": 6.0, "iscrowd": 0, "category_id": 0}],
    "categories": [{"id": 0, "name": "car"}],
    "licenses": None,
}
PANDAS = {
    "images": [{"id": 1.0, "width": 6.0, "height": 4.0, "file_name": "a.jpg", "license": float("nan")}],
    "annotations": [
        {"id": 1.0, "image_id": 1.0, "category_id": 1.0, "bbox": BOX, "area": 6.0, "iscrowd": 0.0, "note": float("nan")}
    ],
    "categories": [{"id": 1.0, "name": "car"}],
}

EXPORTS = {
    "COCO": (COCO_2017, "000000000139.jpg", ()),
    "LVIS": (LVIS, "000000000139.jpg", ("1 of the 2 annotated images", "1 image is named otherwise")),
    "Roboflow": (ROBOFLOW, "a_jpg.rf.1b2c.jpg", ("1 category without an annotation that others belong to",)),
    "CVAT": (CVAT, "a.jpg", ("1 image is named otherwise",)),
    "Label Studio": (LABEL_STUDIO, "1f2e3d-a.jpg", ("1 image is named otherwise",)),
    "FiftyOne": (FIFTYONE, "a.jpg", ("1 annotation with a 'score' that", "1 annotation with null for iscrowd")),
    "LabelMe": (
        LABELME,
        "a.jpg",
        ("1 image is named", "1 annotation without a box", "1 annotation with null for a"),
    ),
    "VIA": (
        VIA,
        "a.jpg",
        (
            *("1 image with a text", "1 category with a text", "1 image of a size", "1 annotation without a box"),
            "1 annotation with an id that is no number",
        ),
    ),
    "panoptic": (PANOPTIC, "000000000139.jpg", ()),
    "pycococreator": (PYCOCOCREATOR, "a.jpeg", ()),
    "detectron2": (DETECTRON2, "a.jpg", ("1 image is named otherwise",)),
    "pandas": (PANDAS, "a.jpg", ("1 annotation with a 'note' that",)),
}


@pytest.mark.parametrize(("content", "name", "notes"), EXPORTS.values(), ids=EXPORTS)
def test_an_export_is_opened(tmp_path, content, name, notes):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / name)
    (tmp_path / "instances.json").write_text(json.dumps(content))
    found = coco_dataset(folder, tmp_path / "instances.json")
    (sample,) = found.samples
    assert (sample.source, sample.size) == (str(folder / name), (6, 4))
    assert sample.load().pixels.shape == (4, 6, 3)
    (annotation,) = found.annotations
    assert (annotation["bbox"], annotation["area"], annotation["image_id"]) == (BOX, 6, sample.id)
    names = {category["id"]: category["name"] for category in found.categories}
    assert names[annotation["category_id"]] == "car"
    assert list(names.values()).count("car") == 1
    assert [said for said, begin in zip(found.notes, notes, strict=True) if not said.startswith(begin)] == []
    json.dumps([*found.annotations, *found.categories], allow_nan=False)
