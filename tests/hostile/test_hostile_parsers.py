"""Every parser takes what it is given, or refuses it as bad input; it never fails in another way, and never hangs.

DETATTACK_BAD_INPUTS=10000 pytest tests/hostile      so many inputs in all, and a count of what became of them
"""

import io
import json
import math
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from classify.datasets import labels_file
from classify.models.network import Preprocessing
from classify.models.registry import read_categories as read_class_names
from detattack.cli import status_of
from detattack.core.errors import InputError
from detattack.core.types import Category
from detattack.datasets.coco import category_ids, coco_dataset
from detattack.datasets.corruptions import parse_corruptions
from detattack.datasets.image_io import image_size, read_floats, read_image
from detattack.datasets.image_names import path_inside
from detattack.datasets.rendered import read_original
from detattack.datasets.voc import voc_dataset
from detattack.datasets.yolo import yolo_dataset
from detattack.detectors.category_file import read_categories
from detattack.detectors.registry import load_detector
from detattack.detectors.weights import read_weights
from detattack.engine.config import parse_assignments, read_options, resolve_attack
from detattack.engine.presets import PRESETS
from detattack.runs.batching import parse_shard
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import batch_of, task_in
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.goals.text import parse_box, parse_place
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.workflows.report import write_report
from detattack.workflows.verify import verify_run
from tests.coco_squares import write_data
from tests.hostile.bad_inputs import as_json, changed, damaged, png, record_of, rewrite, texts, texts_of, values
from tests.hostile.limits import COUNTS, limited
from tests.toy_pictures import squares

INPUTS = int(os.environ.get("DETATTACK_BAD_INPUTS", "500"))
SMALL = 10**6
"""Pixels of an image at most, so that thousands of them fit the memory."""
DETAILS = {"car": 3, "dog": 18, "person": 1}
CATEGORIES = tuple(Category(name, i) for name, i in DETAILS.items())


# Text


def a_goal(text: str) -> None:
    goal = parse_goal(text)
    assert parse_goal(str(goal)) == goal
    goal.check_size(64, 48)
    goal.check(CATEGORIES)


def an_attack(text: str) -> None:
    method, _, rest = text.partition(" ")
    resolve_attack(method, overrides=parse_assignments(rest.split(" ") if rest else []))


def a_config(content: dict) -> None:
    DETECTION.make_config(**content)


GOALS = texts_of(
    *("suppress:", "inject:", "mislabel:", "car", "dog", "all", "@", "->", "1,2,30,40", "center", ",", "-", "inf"),
    *("suppress:car", "inject:dog@", "mislabel:car->dog"),
)
ATTACKS = texts_of(
    *PRESETS, "@", "4", " ", "=", "step_size", "levels", "radius", "nan", "-1", "1e999", "norm", "l2", "stop"
)
CONFIG = {"model": "demo", "goal": "suppress:all", "attack": vars(PRESETS["jnd"]) | {}, "seed": 0, "batch": 1}

TEXTS = {
    "goal": (GOALS, a_goal),
    "box": (texts_of("1", ",", "-", ".", "e9", "nan", "inf", "1,2,3,4"), parse_box),
    "place": (texts_of("center", "random", "road", "1,2,3,4", " "), parse_place),
    "shard": (texts_of("0", "1", "/", "-", "4", "00", "0/4"), parse_shard),
    "method and --set": (ATTACKS, an_attack),
    "--survive": (
        texts_of("jpeg", "shift", "screen", ":", "90", "0.5", "nan", ",", "+", ".."),
        parse_corruptions,
    ),
    "--preprocess": (
        texts_of("resize", "crop", "mean", "std", "=", "224", ":", "1/0", "nan", ",", "0"),
        Preprocessing.parse,
    ),
    "source": (texts_of("scene ", "1", " of seed ", "9" * 30, "0", "scene 2 of seed 1"), read_original),
    "config in run.json": (
        changed(CONFIG).filter(lambda c: isinstance(c, dict) and all(isinstance(k, str) for k in c)),
        a_config,
    ),
}

# Files


def as_file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """A parser of a file's bytes from a parser of its path."""

    def parse(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        return read(folder / name)

    return parse


def a_data_set(folder: Path, content: bytes) -> None:
    (folder / "instances.json").write_bytes(content)
    dataset = coco_dataset(folder / "data", folder / "instances.json")
    category_ids(CATEGORIES, dataset.categories)
    for sample in dataset.first(2).samples:
        sample.load()
    json.dumps([*dataset.annotations, *dataset.categories], allow_nan=False)


def a_yolo_data_set(folder: Path, description: bytes, labels: bytes = b"0 .5 .5 .5 .5") -> None:
    write_png(folder / "yolo" / "images" / "a.png")
    (folder / "yolo" / "labels").mkdir(exist_ok=True)
    (folder / "yolo" / "labels" / "a.txt").write_bytes(labels)
    (folder / "yolo" / "data.yaml").write_bytes(description)
    json.dumps([*yolo_dataset(folder / "yolo").annotations], allow_nan=False)


def a_voc_data_set(folder: Path, content: bytes) -> None:
    write_png(folder / "voc" / "a.png")
    (folder / "voc" / "a.xml").write_bytes(content)
    json.dumps([*voc_dataset(folder / "voc").annotations], allow_nan=False)


def write_png(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved("PNG"))


def an_image(path: Path) -> None:
    image_size(path)
    pixels = read_image(path, SMALL).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3


def weights(path: Path) -> None:
    load_detector("demo", "cpu", str(path)) if path.stat().st_size > 10**6 else read_weights(path)


IMAGES = {
    "a.png": "PNG",
    "a.jpg": "JPEG",
    "a.gif": "GIF",
    "a.tiff": "TIFF",
    "a.bmp": "BMP",
    "a.webp": "WEBP",
    "a.ppm": "PPM",
}


def saved(kind: str) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(squares("car@0,0", width=24, height=20)).save(
        buffer, kind, **({"exif": exif} if kind != "PPM" else {})
    )
    return buffer.getvalue()


def checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.ones(2, 3)}}, buffer)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4, 5), np.float32))
    return buffer.getvalue()


HEADERS = st.builds(
    png,
    st.sampled_from((0, 1, 24, 999, 10**6, 2**31 - 1, 2**32 - 1)),
    st.sampled_from((0, 1, 20, 10**6, 2**32 - 1)),
    st.sampled_from((0, 1, 2, 8, 16, 255)),
    st.integers(0, 7),
    st.sampled_from((b"", b"\0" * 1460)),
)
YAML_PARTS = (
    *(
        "seed: ",
        "set: ",
        "goal: ",
        "method: ",
        "\n",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "[*a, *a, *a]",
        "? ",
        "<<: ",
    ),
    *("!!python/object/apply:os.system ['x']", "!!int ", "!!float ", "!!binary ", "!!timestamp ", "2001-99-99", "0b_"),
    *("1:99:99", "'", '"', "|\n", "%YAML 9\n", "---\n", "...\n", "#", "1", "[" * 2000, "a: {" * 500),
)
BOMB = "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{f'*{chr(97 + i)}, ' * 9}]\n" for i in range(20))
LABELS = [{"file": "0/i0.png", "label": "car"}, {"file": "1/i0.png", "label": 3}]
ROWS = texts_of("file,label\n", "0/i0.png", ",", "car", "\n", "\t", '"', "3", "file_name", "../", "1/i0.png,dog\n")
YOLO = "names: [car, dog]\nval: images\n"
YOLO_PARTS = ("names: ", "val: ", "path: ", "images", "../", "kpt_shape: [17, 3]", "nc: 2", "{0: car}", "[car]", "\n")
YOLO_LABELS = ("0", "1", " ", ".5", " .5 .5 .5 .5", "\n", "nan", "1e999", "-1", "2")
VOC = (
    "<annotation><size><width>24</width><height>20</height></size><object><name>car</name><difficult>0</difficult>"
    "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>12</ymax></bndbox></object></annotation>"
)
COCO_PARTS = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]

FILES = {
    "config YAML": (
        st.one_of(texts_of(*YAML_PARTS), st.just(BOMB)).map(lambda text: text.encode("utf-8", "surrogatepass")),
        as_file("c.yaml", read_options),
    ),
    "COCO JSON": (None, a_data_set),  # what is changed is written by the test
    "COCO bytes": (
        damaged(b'{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}'),
        a_data_set,
    ),
    "YOLO YAML": (
        st.one_of(texts_of(YOLO, *YOLO_PARTS, *YAML_PARTS), st.just(BOMB)).map(
            lambda text: text.encode("utf-8", "surrogatepass")
        ),
        a_yolo_data_set,
    ),
    "YOLO labels": (
        texts_of(*YOLO_LABELS).map(lambda text: text.encode("utf-8", "surrogatepass")),
        lambda folder, labels: a_yolo_data_set(folder, YOLO.encode(), labels),
    ),
    "VOC XML": (damaged(VOC.encode()), a_voc_data_set),
    "labels JSON": (
        st.one_of(changed(LABELS), values).map(as_json),
        as_file("labels.json", lambda path: labels_file(path.parent / "data", path)),
    ),
    "labels CSV": (
        ROWS.map(lambda text: text.encode("utf-8", "surrogatepass")),
        as_file("labels.csv", lambda path: labels_file(path.parent / "data", path)),
    ),
    "categories": (
        st.one_of(changed(COCO_PARTS).map(as_json), texts.map(lambda text: text.encode("utf-8", "surrogatepass"))),
        as_file("names", read_categories),
    ),
    "class names": (damaged(b"car\ndog\nperson\n"), as_file("names", read_class_names)),
    "image": (damaged(*map(saved, IMAGES.values())), as_file("image", an_image)),
    "PNG header": (HEADERS, as_file("image.png", an_image)),
    "safetensors": (damaged(save({"a": torch.ones(2, 3)})), as_file("w.safetensors", read_weights)),
    "checkpoint": (damaged(checkpoint(), pickle.dumps({"a": [1]}, 2)), as_file("w.pth", read_weights)),
    "floats": (damaged(array()), as_file("a.npy", lambda path: _or_value_error(path))),
    "file_name": (texts, lambda folder, name: path_inside(folder / "data", name, "file_name")),
}


def _or_value_error(path: Path) -> None:
    try:
        read_floats(path, 4, 5)
    except (ValueError, OSError) as error:  # of one image, which is reported
        raise InputError(str(error)) from error


# Run folders


def read_everything(run: Path) -> None:
    batch_of(run)
    task_in(run)
    folder = RunFolder.open(run, DetectionRecord)
    folder.close()
    for verdict in verify_run(run, "cpu", trust=True):
        assert isinstance(verdict.problem, str)
    write_report(run)


def checked(name: str, parse: Callable[[], object]) -> None:
    """Runs a parser on an input, and counts what becomes of it."""
    with limited():
        try:
            parse()
        except InputError:
            COUNTS[f"{name}: refused"] += 1
        else:
            COUNTS[f"{name}: taken"] += 1


NAMES = [*TEXTS, *FILES, "run.json", "ledger bytes", "ledger rows", "results"]
few = settings(
    max_examples=math.ceil(INPUTS / len(NAMES)),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", TEXTS)
def test_text(name):
    strategy, parse = TEXTS[name]
    few(given(strategy)(lambda value: checked(name, lambda: parse(value))))()


@pytest.mark.parametrize("name", FILES)
def test_files(name, tmp_path):
    write_data(tmp_path)
    strategy, parse = FILES[name]
    if strategy is None:
        strategy = changed(json.loads((tmp_path / "instances.json").read_text())).map(as_json)
    few(given(strategy)(lambda value: checked(name, lambda: parse(tmp_path, value))))()


@pytest.fixture(scope="module")
def finished(toy, tmp_path_factory) -> Path:
    """A run of two images with floats and annotations."""
    folder = tmp_path_factory.mktemp("finished")
    options = write_data(folder, 2)
    line = [
        "evaluate",
        *options,
        "--model",
        f"{toy}:factory",
        "--device",
        "cpu",
        "--float",
        "--quality",
        "quick",
        "--quiet",
    ]
    assert status_of([*line, "--out", str(folder / "run")]) == 0
    with sqlite3.connect(folder / "run" / "ledger.sqlite") as rows:  # the first is the one that is changed
        rows.execute("UPDATE images SET id = id - 98")
        rows.execute("UPDATE images SET record = json_set(record, '$.id', id)")
    rows.close()
    return folder / "run"


def damages(finished: Path) -> dict[str, st.SearchStrategy]:
    manifest = json.loads((finished / "run.json").read_text())
    results = ("clean.json", "adversarial.json", "annotations.json", "summary.json")
    contents = st.one_of(
        *(st.tuples(st.just(name), changed(json.loads((finished / name).read_text())).map(as_json)) for name in results)
    )
    return {
        "run.json": st.tuples(st.just("run.json"), changed(manifest).map(as_json)),
        "ledger bytes": st.tuples(st.just("ledger.sqlite"), damaged((finished / "ledger.sqlite").read_bytes())),
        "ledger rows": st.tuples(st.just(None), changed(record_of(finished, 1)).map(as_json)),
        "results": contents,
    }


@pytest.mark.parametrize("name", ["run.json", "ledger bytes", "ledger rows", "results"])
def test_run_folders(name, finished, tmp_path):
    outside = {path: path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()}

    def check(damage: tuple[str | None, bytes]) -> None:
        file, content = damage
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(finished, run)
        if file is None:
            rewrite(run, 1, content)
        else:
            (run / file).write_bytes(content)
        checked(name, lambda: read_everything(run))
        assert [path.name for path in tmp_path.iterdir()] == ["run"]

    few(given(damages(finished)[name])(check))()
    assert {path: path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()} == outside
