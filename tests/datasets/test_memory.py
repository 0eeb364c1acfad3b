"""Lists, torch data sets and loaders as data sets."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from detattack.api import InputError, evaluate, load_detector, open_data
from tests.toy_pictures import squares

NAMES = {1: "car", 2: "dog"}
PICTURES = [squares("car@8,8", "dog@40,16"), squares("dog@16,16", seed=1)]
TARGETS = [
    {"boxes": torch.tensor([[8.0, 8, 24, 24], [40, 16, 56, 32]]), "labels": torch.tensor([1, 2])},
    {"boxes": torch.tensor([[16.0, 16, 32, 32]]), "labels": torch.tensor([2])},
]


def as_tensor(picture):
    return torch.from_numpy(picture).permute(2, 0, 1) / 255


class Own(torch.utils.data.Dataset):
    """As torchvision's models are trained on. It counts how often an image is read."""

    def __init__(self, convert=as_tensor, targets=TARGETS):
        self.convert, self.targets, self.reads = convert, targets, 0

    def __len__(self):
        return len(PICTURES)

    def __getitem__(self, index):
        self.reads += 1
        image = self.convert(PICTURES[index])
        return image if self.targets is None else (image, self.targets[index])


def boxes(data):
    return [(a["image_id"], a["category_id"], a["bbox"]) for a in data.annotations]


EXPECTED = [(1, 1, [8, 8, 16, 16]), (1, 2, [40, 16, 16, 16]), (2, 2, [16, 16, 16, 16])]


@pytest.mark.parametrize(
    "convert", [as_tensor, Image.fromarray, np.array, lambda p: torch.from_numpy(p).permute(2, 0, 1)]
)
def test_every_kind_of_image_is_the_same_data_set(convert):
    data = open_data(Own(convert), categories=NAMES)
    assert [(s.id, s.stem, s.size) for s in data.samples] == [(i, f"image00000{i}", (64, 48)) for i in (1, 2)]
    assert boxes(data) == EXPECTED
    assert data.categories == ({"id": 1, "name": "car"}, {"id": 2, "name": "dog"})
    for sample, picture in zip(data.samples, PICTURES, strict=True):
        np.testing.assert_array_equal(sample.load().pixels, picture)
    assert data.fingerprint == open_data(Own(), categories=NAMES).fingerprint


def test_an_indexed_data_set_is_read_when_it_is_needed():
    own = Own()
    data = open_data(own, categories=NAMES)
    assert own.reads == 2
    data.samples[1].load()
    assert own.reads == 3


@pytest.mark.parametrize("collate", [lambda items: tuple(zip(*items, strict=True)), list])
def test_a_loader(collate):
    loader = DataLoader(Own(), batch_size=2, collate_fn=collate)
    data = open_data(loader, categories=NAMES)
    assert boxes(data) == EXPECTED
    np.testing.assert_array_equal(data.samples[1].load().pixels, PICTURES[1])


def test_a_loader_that_stacks():
    alone = open_data(DataLoader(Own(targets=None), batch_size=2))
    assert (len(alone.samples), alone.categories) == (2, ())
    same = [{key: value[:1] for key, value in target.items()} for target in TARGETS]
    data = open_data(DataLoader(Own(targets=same), batch_size=2), categories=NAMES)
    assert boxes(data) == [EXPECTED[0], EXPECTED[2]]


def test_a_box_with_its_size_in_place_of_its_end_is_refused():
    target = {"boxes": [[40.0, 8.0, 16.0, 16.0]], "labels": [1]}
    with pytest.raises(InputError, match="image 1: box 40,8,16,16: not x1,y1,x2,y2"):
        open_data([(PICTURES[0], target)], categories=NAMES)


def test_lists_and_names_in_order():
    assert len(open_data(PICTURES).samples) == 2
    found = open_data(list(zip(PICTURES, TARGETS, strict=True)), categories=["background", "car", "dog"])
    assert boxes(found) == EXPECTED
    assert len(found.categories) == 3


def test_targets_of_coco():
    class Coco(Own):
        class coco:
            cats = {3: {"id": 3, "name": "car"}}

    target = [{"bbox": [8, 8, 16, 16], "category_id": 3, "area": 200, "iscrowd": 1, "id": 9}]
    data = open_data(Coco(targets=[target, []]))
    (one,) = data.annotations
    assert (one["category_id"], one["area"], one["iscrowd"], one["id"]) == (3, 200, 1, 1)


def test_the_fingerprint_depends_on_pixels_targets_and_names():
    other = [{**TARGETS[0], "labels": torch.tensor([2, 2])}, TARGETS[1]]
    data = [
        open_data(Own(), categories=NAMES),
        open_data(Own(targets=other), categories=NAMES),
        open_data(Own(), categories={1: "car", 2: "cat"}),
        open_data(Own(lambda p: as_tensor(p).flip(0)), categories=NAMES),
    ]
    assert len({one.fingerprint for one in data}) == 4


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ([], {}, "images: there are none"),
        (7, {}, "images: expected a list"),
        ({"a": 1}, {}, "images: expected a list"),
        ([PICTURES[0], "a.png"], {}, "a.png: no such file"),
        ([as_tensor(PICTURES[0]) * 4 - 2], {}, "image 1: values run from"),
        ([(PICTURES[0], {"boxes": [[1, 2, 3, 4]], "labels": [5]})], {"categories": NAMES}, "image 1: label 5 has no"),
        ([(PICTURES[0], 7)], {"categories": NAMES}, "image 1: its target is neither"),
        (
            [(PICTURES[0], {"boxes": [[1, 2, 3, 4]], "labels": [1, 1], "area": [4.0]})],
            {"categories": NAMES},
            "image 1: its target has 1 boxes, 2 labels, 1 area, not as many of each",
        ),
        (PICTURES, {"split": "val"}, "split: of a path only"),
        ("photos", {"categories": NAMES}, "categories: not of a path"),
        ("photos", {"spilt": "val"}, "spilt: not of a path"),
        ("nowhere", {}, "images nowhere: no such folder"),
    ],
)
def test_what_cannot_be_is_named(data, options, said):
    with pytest.raises(InputError) as error:
        open_data(data, **options)
    assert str(error.value).startswith(said)
    assert len(str(error.value).splitlines()) == 1


def test_evaluate_tells_ap_of_what_is_in_memory(toy, tmp_path):
    detector = load_detector(f"{toy}:factory", "cpu")
    data = open_data(Own(), categories=NAMES)
    summary = evaluate(data, detector, "suppress:all", out=tmp_path / "run")
    assert (summary["success"], summary["attacked"]) == (2, 2)
    assert summary["ap"]["clean"]["ap"] == 1
    assert sorted(p.name for p in (tmp_path / "run" / "images").iterdir()) == ["image000001.png", "image000002.png"]
    options = {"method": "ensemble", "budget": "linf:64", "max_iterations": 20}
    spent = evaluate(data, detector, "degrade:all", **options, out=tmp_path / "spent")
    assert (spent["kind"], spent["ap"]["adversarial"]["ap"]) == ("budget", 0)
    with pytest.raises(InputError, match="out: expected the path"):
        evaluate(data, detector, out=7)
