"""The recipes of docs/recipes.md run as they stand there, in a folder that has what they name."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from detattack.cli import status_of
from detattack.detectors.onnx.description import read_description
from detattack.detectors.registry import load_detector
from tests.detectors import small_transformers
from tests.toy_pictures import squares

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SECTIONS[title], re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where a recipe is run: a photo, two photos with COCO annotations of a car and a dog, and names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    pictures = [squares("car@8,8", "dog@40,16"), squares("dog@16,16", seed=1)]
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    shutil.copy(tmp_path / "photos" / "0.png", tmp_path / "photo.png")
    truth = [(0, 1, [8, 8, 16, 16]), (0, 2, [40, 16, 16, 16]), (1, 2, [16, 16, 16, 16])]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(2)],
        "annotations": [
            {"id": i, "image_id": im, "category_id": c, "bbox": b} for i, (im, c, b) in enumerate(truth, 1)
        ],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (tmp_path / "names.txt").write_text("car\ndog\n")
    return tmp_path


def run_lines(title: str, *more: str) -> None:
    """Runs the commands of a recipe; `more` makes a run short."""
    lines = [line for block in blocks(title, "bash") for line in block.splitlines()]
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "detattack"
        extra = more if arguments[0] in ("evaluate", "untargeted") else ()
        assert status_of([*arguments, *extra]) == 0, line


def run_python(title: str) -> None:
    codes = blocks(title, "python")
    assert codes
    for code in codes:
        exec(compile(code, title, "exec"), {})


def test_every_recipe_is_run():
    assert set(SECTIONS) == {
        "The gradient of a YOLO",
        "My fine-tuned RetinaNet, AP under attack",
        "My YOLO on my data.yaml",
        "A DETR from a folder",
        "A model in memory",
        "A detector behind an ONNX file",
    }


def own_yolo(file: str, names: dict[int, str] | None = None):
    """A YOLO with random weights, as ultralytics saves one."""
    ultralytics = pytest.importorskip("ultralytics", reason="needs ultralytics (pip install '.[ultralytics]')")
    model = ultralytics.YOLO("yolo11n.yaml", task="detect", verbose=False)
    model.model = load_detector("ultralytics/yolo11n.yaml", "cpu", "none").network
    model.model.names = names or model.model.names
    model.model.args = {"imgsz": 160, "task": "detect"}
    torch.save({"model": model.model, "train_args": {"imgsz": 160, "task": "detect"}}, file)


def test_the_gradient_of_a_yolo(folder, capsys):
    own_yolo("yolo11n.pt")
    (code,) = blocks("The gradient of a YOLO", "python")
    assert len(code.strip().splitlines()) - code.count("import") - code.count("\n\n") == 4
    run_python("The gradient of a YOLO")
    value = float(re.search(r"tensor\((.*?)\)", capsys.readouterr().out)[1])
    assert 0 < value < float("inf")


@pytest.mark.slow
def test_my_retinanet(folder, capsys):
    name = "torchvision/retinanet_resnet50_fpn"
    network = load_detector(name, "cpu", "none", str(folder / "names.txt")).network
    torch.save(network.state_dict(), folder / "own.pth")
    run_lines(
        "My fine-tuned RetinaNet, AP under attack",
        "--loss",
        "miss",
        "--passes",
        "3",
        "--limit",
        "1",
        "--quality",
        "quick",
    )
    summary = json.loads((folder / "runs/retinanet/summary.json").read_text())
    assert summary["kind"] == "budget"
    assert summary["ap"]["categories"] == 2


def test_my_yolo_on_my_data(folder, capsys):
    own_yolo("best.pt", dict(enumerate(["car", "dog", *(f"class {i}" for i in range(78))])))
    for part in ("val", "test"):
        shutil.copytree("photos", folder / "my_set" / "images" / part)
        (folder / "my_set" / "labels" / part).mkdir(parents=True)
        (folder / "my_set" / "labels" / part / "0.txt").write_text("0 .25 .33 .25 .33\n1 .75 .5 .25 .33\n")
    (folder / "my_set" / "data.yaml").write_text("names: [car, dog]\nval: images/val\ntest: images/test\n")
    run_lines("My YOLO on my data.yaml", "--loss", "miss", "--passes", "3", "--limit", "1", "--quality", "quick")
    assert "not in the model" in capsys.readouterr().out
    assert json.loads((folder / "runs/yolo/run.json").read_text())["origin"]["split"] == "test"
    assert json.loads((folder / "runs/yolo/summary.json").read_text())["ap"]["categories"] == 2


def test_a_detr_from_a_folder(folder):
    pytest.importorskip("transformers", reason="needs transformers (pip install '.[hf]')")
    config, processor = small_transformers.detr()
    for one in (config, processor):
        one.save_pretrained(folder / "my_detr")
    load_detector("hf/my_detr", "cpu", "none").network.save_pretrained(folder / "my_detr")
    run_lines("A DETR from a folder", "--max-iterations", "2")
    assert (folder / "runs/detr/images/photo.png").is_file()


def test_a_model_in_memory(folder, capsys):
    run_python("A model in memory")
    out = capsys.readouterr().out
    assert out.splitlines()[0] in ("success", "failure", "nothing")
    assert "Detections(" in out
    assert (folder / "runs/memory/images/image000001.png").is_file()


def test_an_onnx_file(folder):
    for library in ("onnx", "onnxruntime", "onnx2torch"):
        pytest.importorskip(library, reason=f"needs {library} (pip install '.[onnx]')")
    from tests.detectors.onnx.exported import Grid, export

    export(Grid("ssd", 7), folder / "model.onnx", ["boxes", "scores"], (1, 3, 48, 64))
    run_lines("A detector behind an ONNX file", "--max-iterations", "5", "--quality", "quick")
    assert json.loads((folder / "runs/onnx/summary.json").read_text())["ap"]["categories"] == 2


def test_the_description_beside_an_onnx_file_is_read(tmp_path):
    (text,) = blocks("A detector behind an ONNX file", "yaml")
    (tmp_path / "model.yaml").write_text(text)
    found = read_description(tmp_path / "model.onnx")
    written = yaml.safe_load(text)
    assert {key: getattr(found, key) for key in written} == {
        key: tuple(map(float, value)) if isinstance(value, list) else value for key, value in written.items()
    }
