"""`detattack data check`: what a data set is taken for."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from PIL import Image

from tests.coco_squares import write_data


def lines(out: str) -> dict[str, str]:
    """Rows of the printed tables: first cell to the rest."""
    rows = [[cell.strip() for cell in line.strip().split("  ") if cell.strip()] for line in out.splitlines()]
    return {row[0]: " ".join(row[1:]) for row in rows if row}


def test_sizes_are_those_of_the_files(cli, tmp_path):
    data = write_data(tmp_path)
    (tmp_path / "data/0/i0.png").write_bytes(b"no image")
    Image.new("RGB", (80, 64)).save(tmp_path / "data/1/i0.png")
    said = cli("data", "check", data[1], "--annotations", data[3], "--json").json
    assert (said["unreadable"], said["other_size"]) == (1, 1)
    assert "1 cannot be read, 1 of another size" in cli("data", "check", data[1], "--annotations", data[3]).out


def test_a_coco_data_set_and_a_model(cli, toy, tmp_path):
    write_data(tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    content["categories"].append({"id": 77, "name": "zebra <x>"})
    content["annotations"][0]["category_id"] = 77
    content["images"].append({"id": 999, "file_name": "gone.png"})
    (tmp_path / "instances.json").write_text(json.dumps(content))
    data = ("data", "check", tmp_path / "data", "--annotations", tmp_path / "instances.json")
    said = cli(*data, "--model", f"{toy}:factory")
    assert said.status == 0
    assert "NOTE: 1 of the" in said.err
    found = lines(said.out)
    assert found["format"] == "coco"
    assert found["not in the model"] == "2: kite, zebra <x>"
    assert found["zebra <x>"] == "1 1 no"
    machine = json.loads(cli(*data, "--model", f"{toy}:factory", "--json").out)
    crowds = sum(a.get("iscrowd", 0) for a in content["annotations"])
    assert machine["images"] == len(content["images"]) - 1
    assert machine["crowds"] == crowds
    assert sum(one["objects"] for one in machine["classes"]) == len(content["annotations"]) - crowds
    assert sum(machine["by_size"].values()) == len(content["annotations"]) - crowds
    assert machine["not_in_model"] == ["kite", "zebra <x>"]
    assert {one["name"] for one in machine["classes"]} == {*names.values(), "zebra <x>"}


def test_images_alone(cli, picture):
    folder = picture("photos/a").parent
    picture("photos/b", width=32, height=32)
    (folder / "c.png").write_bytes(b"no image")
    found = lines(cli("data", "check", folder).out)
    assert (found["format"], found["images"], found["annotations"]) == ("images", "3, 1 cannot be read", "none")
    assert found["image sizes"] == "32×32 to 64×48"
    assert json.loads(cli("data", "check", folder, "--json").out)["not_in_model"] is None


def test_a_yolo_data_set(cli, picture, tmp_path):
    picture("images/val/a")
    (tmp_path / "labels" / "val").mkdir(parents=True)
    (tmp_path / "labels" / "val" / "a.txt").write_text("1 .5 .5 .25 .25\n")
    (tmp_path / "data.yaml").write_text("names: [car, dog]\nval: images/val\n")
    found = lines(cli("data", "check", tmp_path / "data.yaml").out)
    assert found["format"] == "yolo"
    assert found["objects"] == "1 (1 small, 0 medium, 0 large)"
    assert found["classes"] == "2, 1 of them annotated"
    assert found["dog"] == "1 1"
    assert "car" not in found, "classes without objects have no row"


def test_what_cannot_be_is_one_line(refused, picture, tmp_path):
    folder = picture("photos/a").parent
    refused("data", "check", tmp_path / "nowhere", words=("no such folder",))
    refused("data", "check", folder, "--split", "val", words=("split 'val'", "is of no format that has splits"))
    refused("data", "check", folder, "--format", "yol", words=("unknown data format 'yol'", "'yolo'"))
    refused("data", "check", folder, "--format", "voc", words=("no XML file in",))


def test_a_data_set_is_prepared(cli, tmp_path):
    (tmp_path / "test" / "cat").mkdir(parents=True)
    (tmp_path / "test" / "cat" / "1.jpg").write_bytes(b"cat")
    with tarfile.open(tmp_path / "own.tar", "w") as archive:
        archive.add(tmp_path / "test", "test")
    line = [sys.executable, "-m", "detattack", "data", "prepare", "cifar10", "--from", "own.tar"]
    said = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == f"--images {Path('data/cifar10')}\n"
    assert (tmp_path / "data" / "cifar10" / "test" / "cat" / "1.jpg").read_bytes() == b"cat"


def test_a_data_set_that_cannot_be_prepared(cli, tmp_path):
    (tmp_path / "own.tar").write_bytes(b"no archive")
    assert cli("data", "prepare", "cifar10", "--from", "own.tar").status == 1
    said = cli("data", "prepare", "coco", "--from", "own.tar")
    assert (said.status, said.err) == (2, "detattack: --from: goes with cifar10, not coco\n")
    assert cli("data", "prepare", "imagenet").status == 2
