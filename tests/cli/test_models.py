"""`detattack models` on the command line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.toy_pictures import squares


def test_the_list_has_license_and_ap(cli):
    said = cli("models", "list", "--json")
    models = {m["name"]: m for m in said.json["models"]}
    assert models["demo"]["license"] == "Apache-2.0"
    assert models["torchvision/fasterrcnn_resnet50_fpn_v2"]["expected_ap"] == pytest.approx(0.467)
    assert any("AGPL-3.0" in m["license"] for m in models.values())
    table = cli("models", "list").out
    assert all(name in table for name in models)


def test_a_check_that_passes_and_one_that_does_not(cli, toy):
    said = cli("models", "check", f"{toy}:factory", "--count", 2, "--json")
    verdicts = {f["property"]: f["verdict"] for f in said.json["findings"]}
    assert said.status == (0 if said.json["passed"] else 1)
    assert verdicts["gradient"] == verdicts["left untouched"] == "passed"
    lines = cli("models", "check", f"{toy}:factory", "--count", 2).out.splitlines()
    assert len(lines) == len(verdicts)
    assert all(line.startswith(verdict) for line, verdict in zip(lines, verdicts.values(), strict=True))


def test_names_are_checked_on_annotated_images(cli, toy, tmp_path):
    (tmp_path / "images").mkdir()
    annotations, images = [], []
    for number in range(1, 9):
        places = [f"car@{8 * number},16", "dog@64,64", "person@16,96"]
        Image.fromarray(squares(*places, width=160, height=128)).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
        for place in places:
            name, _, corner = place.partition("@")
            x, y = map(int, corner.split(","))
            label = ("car", "dog", "person").index(name)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": label, "bbox": [x, y, 16, 16]}
            )
    for order, verdict in ((["car", "dog", "person"], "passed"), (["dog", "person", "car"], "failed")):
        categories = [{"id": i, "name": name} for i, name in enumerate(order)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "instances.json").write_text(json.dumps(content))
        said = cli(
            *("models", "check", f"{toy}:factory", "--count", 8, "--json"),
            *("--images", tmp_path / "images", "--annotations", tmp_path / "instances.json"),
        )
        assert {f["property"]: f["verdict"] for f in said.json["findings"]}["names"] == verdict


def test_bad_input(refused, toy):
    refused("models", "check", "dem", words=("did you mean 'demo'",))
    refused("models", "check", "demo", "--annotations", "a.json", words=("--annotations needs --images",))
    refused("models", "check", "demo", "--prompt", "car", words=("demo: names its own classes",))
    refused("models", "check", "hf/no/such/folder", words=("hf/no/such/folder",))
    refused("models", "check", "demo", "--categories", "none.txt", words=("none.txt", "cannot be read"))


CUT = """
class Cut(Toy):
    def candidates(self, images, extra_boxes=None):
        with torch.no_grad():
            return super().candidates(images)
"""


def test_a_model_without_a_gradient_is_refused_in_one_line(cli, toy, picture, tmp_path):
    (tmp_path / "cut.py").write_text(Path(toy).read_text() + CUT)
    said = cli("untargeted", picture("a", "car@8,16"), "--model", f"{tmp_path}/cut.py:Cut", "--quiet")
    assert said.status == 2
    assert "lets no gradient through" in said.err
