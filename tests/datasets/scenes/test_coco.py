"""The data set on disk, read back by pycocotools."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from detattack.datasets.scenes import CATEGORIES, render, scene_seed, write_coco


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "new"
    write_coco(out, 6, seed=3, width=240, height=160)
    return out


def test_pycocotools_loads_what_was_rendered(folder: Path):
    coco = COCO(folder / "instances.json")
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == [c.name for c in CATEGORIES]
    assert all(c["supercategory"] for c in coco.dataset["categories"])
    assert len(coco.getImgIds()) == 6
    assert coco.dataset["info"]
    assert coco.dataset["licenses"]
    for entry in coco.loadImgs(coco.getImgIds()):
        scene = render(scene_seed(3, entry["id"]), 240, 160)
        assert entry["seed"] == scene_seed(3, entry["id"])
        picture = cv2.imread(str(folder / "images" / entry["file_name"]))[..., ::-1]
        assert np.array_equal(picture, scene.image)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=entry["id"]))
        assert len(annotations) == len(scene.labels)
        for k, annotation in enumerate(annotations):
            x, y, w, h = annotation["bbox"]
            assert [x, y, x + w, y + h] == scene.boxes[k].tolist()
            assert np.array_equal(coco.annToMask(annotation).astype(bool), scene.masks[k])
            assert annotation["area"] == scene.masks[k].sum()
            assert annotation["iscrowd"] == 0
            assert annotation["category_id"] == CATEGORIES[scene.labels[k]].coco_id
            assert annotation["visibility"] == pytest.approx(scene.visibility[k], abs=1e-4)


def test_ids_are_unique_and_positive(folder: Path):
    data = json.loads((folder / "instances.json").read_text())
    for kind in ("images", "annotations"):
        ids = [entry["id"] for entry in data[kind]]
        assert len(set(ids)) == len(ids)
        assert min(ids) >= 1


def test_the_same_arguments_write_the_same_bytes(folder: Path, tmp_path: Path):
    seen: list[tuple[int, int]] = []
    path = write_coco(tmp_path, 6, 3, 240, 160, progress=lambda done, n: seen.append((done, n)))
    assert path == tmp_path / "instances.json"
    assert seen == [(i, 6) for i in range(1, 7)]
    for file in folder.rglob("*.*"):
        assert (tmp_path / file.relative_to(folder)).read_bytes() == file.read_bytes()
    assert len(list(tmp_path.rglob("*.*"))) == 7  # no unfinished files left


def test_an_interrupted_data_set_has_no_annotations(tmp_path: Path):
    def stop(done: int, n: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_coco(tmp_path, 4, 0, 128, 128, progress=stop)
    assert not (tmp_path / "instances.json").exists()


def test_no_scenes_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="at least one"):
        write_coco(tmp_path, 0)
