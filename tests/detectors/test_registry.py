"""From names and files to detectors, and every way in which that can go wrong, in one line."""

import inspect
import pickle
import re
from importlib import import_module

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from detattack.core.errors import InputError
from detattack.detectors.base import Detector
from detattack.detectors.demo.network import build_network
from detattack.detectors.registry import (
    LIBRARIES,
    MODULES,
    fingerprint,
    load_detector,
    model_names,
    resolve_device,
)
from detattack.detectors.weights import read_weights

FACTORY = """
import torch
from detattack.detectors.base import Candidates, Category, Detections

class Tiny:
    name = "tiny"
    categories = (Category("car", 3),)
    eval_threshold = 0.05

    def __init__(self, device):
        self.device = torch.device(device)

    def candidates(self, images, extra_boxes=None):
        return Candidates(images.new_zeros(len(images), 1, 4), images.mean((1, 2, 3)).view(-1, 1, 1))

    def select(self, candidates, score_threshold):
        raise NotImplementedError

    detect = select

def make(device):
    return Tiny(device)

def broken(device):
    raise RuntimeError("first line\\nsecond line")

def silent(device):
    raise RuntimeError

def nothing(device):
    return object()

number = 3
"""


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build_network().eval()
    with torch.no_grad():
        network.head.classification_head.cls_logits.bias.normal_(-2, 1.5, generator=torch.Generator().manual_seed(1))
    return network


@pytest.fixture(scope="module")
def tensors(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def bad(*arguments, **options) -> str:
    with pytest.raises(InputError) as error:
        load_detector(*arguments, **options)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# Weights


@pytest.mark.parametrize("form", ["safetensors", "checkpoint", "legacy", "model", "state_dict", "parallel"])
def test_weights_from_a_file_give_the_source_networks_detections(form, network, tensors, tmp_path):
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    match form:
        case "safetensors":
            save_file(tensors, path)
        case "checkpoint":
            torch.save(tensors, path)
        case "legacy":
            torch.save(tensors, path, _use_new_zipfile_serialization=False)
        case "parallel":
            torch.save({f"module.{key}": value for key, value in tensors.items()}, path)
        case wrapper:
            torch.save({wrapper: tensors, "epoch": 3, "args": {"lr": 0.1}}, path)
    detector = load_detector("demo", "cpu", str(path))
    images = torch.rand(1, 3, 120, 160, generator=torch.Generator().manual_seed(0))
    found = detector.detect(images, 0.05)[0]
    with torch.no_grad():
        (expected,) = network(list(images))
    assert len(found) >= 20
    assert torch.equal(found.boxes, expected["boxes"])
    assert torch.equal(found.scores, expected["scores"])
    assert torch.equal(found.labels, expected["labels"])


def test_half_precision_weights_are_widened(tensors, tmp_path):
    save_file({k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}, tmp_path / "h.safetensors")
    detector = load_detector("demo", "cpu", str(tmp_path / "h.safetensors"))
    assert {p.dtype for p in detector.network.parameters()} == {torch.float32}


def test_counters_of_batch_norm_may_be_missing(tensors, tmp_path):
    save_file({k: v for k, v in tensors.items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    assert fingerprint(load_detector("demo", "cpu", str(tmp_path / "w.safetensors")))


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ["plain", "zip", "legacy"])
def test_code_in_a_pickle_is_refused_and_never_run(kind, wrapped, tensors, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "w.pth"
    content = {"model": tensors, "args": Trap(mark)} if wrapped else Trap(mark)
    if kind == "plain":
        path.write_bytes(pickle.dumps(content if not wrapped else {"args": Trap(mark)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    assert "refused" in bad("demo", "cpu", str(path))
    assert not mark.exists()
    if kind == "plain":  # the trap is one
        pickle.loads(path.read_bytes())
        assert mark.exists()


def altered(tensors, how):
    key = "head.classification_head.cls_logits.weight"
    match how:
        case "missing":
            return {k: v for k, v in tensors.items() if k != key}, rf"has no '{key}'.*1 missing, 0 unexpected"
        case "unexpected":
            return tensors | {"extra.weight": torch.ones(3)}, "has 'extra.weight', which the model has not"
        case "shape":
            return tensors | {key: torch.ones(5, 6)}, rf"'{key}' is \(5, 6\) in the file, \(72, 64, 3, 3\) in"
        case _:
            return {"other": torch.ones(2)}, "do not fit"


@pytest.mark.parametrize("how", ["missing", "unexpected", "shape", "other"])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_that_do_not_fit(how, suffix, tensors, tmp_path):
    content, message = altered(tensors, how)
    path = tmp_path / f"w.{suffix}"
    save_file(content, path) if suffix == "safetensors" else torch.save(content, path)
    text = bad("demo", "cpu", str(path))
    assert re.search(message, text)
    assert str(path) in text


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"model": {"a": "b"}}, torch.ones(3), None])
def test_a_checkpoint_without_a_state_dict(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    assert "no state dict" in bad("demo", "cpu", str(tmp_path / "w.pth"))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x02]q\x00.", b"PK\x03\x04 not a zip", b"\x00" * 64])
def test_garbage(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert str(tmp_path / name) in bad("demo", "cpu", str(tmp_path / name))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda b: b"\x80\x02" + b) | st.integers(0, 600))
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_files_are_one_line_of_bad_input(tmp_path, damage):
    path = tmp_path / "w.pth"
    if isinstance(damage, int):
        torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
        whole = path.read_bytes()
        damage = whole[: damage % len(whole)]
    path.write_bytes(damage)
    with pytest.raises(InputError) as error:
        read_weights(path)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_file_and_a_folder(tmp_path):
    assert "no such file" in bad("demo", "cpu", str(tmp_path / "w.pth"))
    assert "not a file" in bad("demo", "cpu", str(tmp_path))


def test_random_weights_are_the_same_every_time_and_leave_global_randomness_alone():
    before = torch.random.get_rng_state()
    first, second = (fingerprint(load_detector("demo", "cpu", "none")) for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.random.get_rng_state())


# A third party's file


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FACTORY)
    return path


def test_a_factory_of_a_file(file):
    detector = load_detector(f"{file}:make", "cpu")
    assert isinstance(detector, Detector)
    assert (detector.name, detector.device) == ("tiny", torch.device("cpu"))
    assert detector.candidates(torch.ones(2, 3, 4, 4)).logits.flatten().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no function 'missing'"),
        ("", "no function ''"),
        ("number", "no function 'number'"),
        ("broken", r"factory failed \(RuntimeError: first line\)"),
        ("silent", "factory failed .*RuntimeError"),
        ("nothing", "not a Detector, it lacks name, categories"),
    ],
)
def test_a_factory_that_is_none(file, name, message):
    assert re.search(message, bad(f"{file}:{name}", "cpu"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("categories = ['cat']", "its categories are not a tuple of Category"),
        ("categories = None", "its categories are not a tuple of Category"),
        ("eval_threshold = '0.05'", "its eval_threshold is '0.05', not a number"),
    ],
)
def test_attributes_that_are_of_another_kind(file, line, message):
    file.write_text(
        f"{file.read_text()}\n\ndef other(device):\n    one = make(device)\n    one.{line}\n    return one\n"
    )
    assert message in bad(f"{file}:other", "cpu")


def test_categories_of_a_kind_of_their_own(file):
    """What counts is what they have."""
    kind = "from typing import NamedTuple\nclass Kind(NamedTuple):\n    name: str\n    coco_id: int\n"
    made = "one = make(device)\n    one.categories = [Kind('owl', 7)] * len(one.categories)\n    return one\n"
    file.write_text(f"{file.read_text()}\n\n{kind}\n\ndef other(device):\n    {made}")
    assert load_detector(f"{file}:other", "cpu").categories[0].name == "owl"


@pytest.mark.parametrize("code", ["import no_such_module_anywhere", "def (", "raise ValueError('a\\nb')", "1/0"])
def test_a_file_that_cannot_be_imported(tmp_path, code):
    (tmp_path / "bad.py").write_text(code)
    assert "cannot be imported" in bad(f"{tmp_path}/bad.py:make", "cpu")


def test_no_such_file_and_weights_that_do_not_apply(file, tmp_path):
    assert "no such file" in bad(f"{tmp_path}/none.py:make", "cpu")
    assert "--weights does not apply" in bad(f"{file}:make", "cpu", "w.pth")


# Names


def test_unknown_models_suggest_names():
    assert "did you mean 'demo'" in bad("dem", "cpu")
    assert "did you mean 'torchvision/retinanet_resnet50_fpn" in bad("torchvision/retinanet_resnet50", "cpu")
    assert "known: demo" in bad("zzzzzz", "cpu")
    assert {"demo", "torchvision/retinanet_resnet50_fpn_v2"} <= set(model_names())


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "meta:x"])
def test_unknown_devices(device):
    assert "not available" in bad("demo", device)


def test_auto_is_some_device():
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


# Fingerprints


def test_fingerprints_differ_when_a_weight_a_buffer_or_a_name_differs():
    detector = load_detector("demo", "cpu", "none")
    seen = [fingerprint(detector)]
    for tensor in (*list(detector.network.parameters())[::20], *list(detector.network.buffers())[::7]):
        with torch.no_grad():
            tensor.view(-1)[-1] += 1
        seen.append(fingerprint(detector))
    detector.categories = detector.categories[::-1]
    seen.append(fingerprint(detector))
    assert len(set(seen)) == len(seen) > 5


def test_a_fingerprint_does_not_depend_on_the_file_it_came_from(tensors, tmp_path):
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save({"model": tensors}, tmp_path / "b.pth")
    first, second = (fingerprint(load_detector("demo", "cpu", str(tmp_path / n))) for n in ("a.safetensors", "b.pth"))
    assert first == second


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("yolov8n.pt", "ultralytics/yolov8n.pt"),
        ("yolo26n", "ultralytics/yolo26n"),
        ("facebook/detr-resnet-50", "hf/facebook/detr-resnet-50"),
        ("detr-resnet-50", "hf/facebook/detr-resnet-50"),
        ("rtdetr_r50vd", "hf/PekingU/rtdetr_r50vd"),
        ("somebody/some-detector", "hf/somebody/some-detector"),
        ("tf_efficientdet_d0", "effdet/tf_efficientdet_d0"),
        ("rf-detr-base", "hf/Roboflow/rf-detr-base"),
        ("yolox-s", "yolox/yolox-s"),
        ("retinanet_resnet50_fpn", "torchvision/retinanet_resnet50_fpn"),
    ],
)
def test_a_name_without_its_library_is_answered_with_the_name_that_has_it(spec, meant):
    with pytest.raises(InputError, match=rf"unknown model '{re.escape(spec)}': did you mean '{re.escape(meant)}'\?$"):
        load_detector(spec, "cpu")


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_library_has_its_loader(library):
    module = import_module(f"detattack.detectors.{MODULES.get(library, library)}")
    parameters = list(inspect.signature(getattr(module, f"load_{library}")).parameters)
    assert tuple(parameters[3:]) == LIBRARIES[library].takes
