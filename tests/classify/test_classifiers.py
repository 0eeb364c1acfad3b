"""Classifiers by name: preprocessing, weights, classes, and what is wrong with them."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from classify.models import vgg16
from classify.models.network import NetworkClassifier, Preprocessing
from classify.models.registry import load_classifier, model_names
from detattack.core.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def embedded():
    return load_classifier("vgg16_cifar10", "cpu")


def test_the_embedded_network_is_vgg16_with_half_the_channels(embedded):
    convolutions = [m for m in embedded.network.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in embedded.network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert [c.out_channels for c in convolutions] == [32, 32, 64, 64, 128, 128, 128, *[256] * 6]
    assert len(norms) == 13
    assert embedded.classes == vgg16.CLASSES
    assert vgg16.WEIGHTS.stat().st_size <= 8_000_000


def test_the_full_width_has_the_papers_channels():
    convolutions = [m for m in vgg16.VGG16(1.0).modules() if isinstance(m, torch.nn.Conv2d)]
    assert convolutions[-1].out_channels == 512


def test_parameters_are_frozen_and_the_network_is_in_eval_mode(embedded):
    assert not any(p.requires_grad for p in embedded.network.parameters())
    assert not any(m.training for m in embedded.network.modules())


def test_the_gradient_reaches_the_image_and_agrees_with_a_finite_difference(embedded):
    image = torch.rand(1, 3, 40, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(embedded.logits(seen)[0, 3], seen)
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-6
    ahead, behind = (embedded.logits(image + sign * step * direction)[0, 3] for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-4)


def test_the_dtype_that_is_given_is_kept_and_the_weights_stay_float32(embedded):
    image = torch.rand(1, 3, 32, 32)
    assert embedded.logits(image.double()).dtype == torch.float64
    torch.testing.assert_close(embedded.logits(image.double()).float(), embedded.logits(image), atol=1e-4, rtol=1e-4)
    assert next(embedded.network.parameters()).dtype == torch.float32


@pytest.mark.parametrize("size", [(256, 256), (300, 200), (180, 411), (224, 224)])
@pytest.mark.parametrize("name", ["squeezenet1_1", "inception_v3", "efficientnet_b0"])
def test_preprocessing_is_torchvisions_own(name, size):
    official = models.get_model_weights(name).DEFAULT.transforms()
    ours = Preprocessing(
        tuple(official.mean),
        tuple(official.std),
        official.resize_size[0],
        official.crop_size[0],
        official.interpolation.value,
    )
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(image), official(image), atol=1e-6, rtol=1e-5)


def test_a_torchvision_classifier_takes_a_file_of_weights(tmp_path):
    network = models.squeezenet1_1()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    found = load_classifier("torchvision/squeezenet1_1", "cpu", str(tmp_path / "w.safetensors"), "crop=64")
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(found.logits(image), network.eval()(image))
    assert found.classes[0] == "tench"
    assert len(found.classes) == 1000


def test_weights_of_a_googlenet_are_given_the_input_of_torchvisions(tmp_path):
    """With its own weights torchvision builds it so that it undoes the normalization of all others."""
    network = models.googlenet(weights=None, transform_input=True, init_weights=False)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    found = load_classifier("torchvision/googlenet", "cpu", str(tmp_path / "w.safetensors"), "crop=64")
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(found.logits(image), network.eval()(image))


def test_a_users_own_classes(tmp_path):
    network = models.squeezenet1_1(num_classes=3)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "names.txt").write_text("oak\n\nash\nbeech\n")
    weights, names = str(tmp_path / "w.safetensors"), str(tmp_path / "names.txt")
    found = load_classifier("torchvision/squeezenet1_1", "cpu", weights, None, names)
    assert found.classes == ("oak", "ash", "beech")
    assert found.logits(torch.rand(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(InputError, match="do not fit the model"):
        load_classifier("torchvision/squeezenet1_1", "cpu", weights)


def test_random_weights_are_the_same_every_time():
    first, second = (load_classifier("vgg16_cifar10", "cpu", "none") for _ in range(2))
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(first.logits(image), second.logits(image))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnextv2_nano.fcmae_ft_in22k_in1k_384"])
def test_images_are_resized_as_timm_does(name):
    """To 248 pixels where 224 are nine tenths, and out of their proportions where timm says so."""
    timm = pytest.importorskip("timm", reason="timm is not installed")
    data = timm.data.resolve_data_config({}, pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
    resize, crop, *_ = timm.data.create_transform(**data).transforms
    image = torch.rand(1, 3, 300, 420)
    ours = load_classifier(f"timm/{name}", "cpu", "none").preprocessing
    scaled = replace(ours, crop=0, mean=(0.0,) * 3, std=(1.0,) * 3)(image)
    assert scaled.shape == resize(image).shape
    assert (ours.crop, ours.crop) == tuple(crop.size)


@pytest.mark.parametrize("changed", [{"crop_mode": "border"}, {"input_size": (3, 160, 320)}])
def test_a_preprocessing_of_timm_that_is_not_known_is_refused(monkeypatch, changed):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    resolve = timm.data.resolve_data_config
    monkeypatch.setattr(timm.data, "resolve_data_config", lambda *args, **more: resolve(*args, **more) | changed)
    with pytest.raises(InputError, match=r"timm/test_vit: its own preprocessing \(.*\) is not supported; pass --prep"):
        load_classifier("timm/test_vit", "cpu", "none")
    assert load_classifier("timm/test_vit", "cpu", "none", preprocess="resize=160").preprocessing.resize == 160


def test_timm_has_its_own_preprocessing():
    timm = pytest.importorskip("timm", reason="timm is not installed")
    found = load_classifier("timm/resnet18.a1_in1k", "cpu", "none")
    assert isinstance(found, NetworkClassifier)
    assert found.preprocessing.crop == timm.create_model("resnet18.a1_in1k").default_cfg["input_size"][-1]
    assert len(found.classes) == 1000
    assert "tench" in found.classes[0]


def test_a_third_partys_file(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Two:\n"
        "    name, classes, smallest = 'two', ('dark', 'bright'), 1\n"
        "    def __init__(self, device): self.device = torch.device(device)\n"
        "    def logits(self, images):\n"
        "        mean = images.flatten(1).mean(1)\n"
        "        return torch.stack([0.5 - mean, mean - 0.5], 1)\n"
    )
    assert load_classifier(f"{tmp_path / 'own.py'}:Two", "cpu").classes == ("dark", "bright")
    (tmp_path / "half.py").write_text("class Half:\n    name = 'half'\n    def __init__(self, device): pass\n")
    with pytest.raises(InputError, match="lacks classes, device, smallest, logits"):
        load_classifier(f"{tmp_path / 'half.py'}:Half", "cpu")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crop=227,mean=123:117:104,std=1", Preprocessing((123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3, 0, 227)),
        ("resize=40, interpolation=bicubic", Preprocessing(resize=40, interpolation="bicubic")),
        ("mean=127.5,std=127.5", Preprocessing((0.5,) * 3, (0.5,) * 3)),
    ],
)
def test_preprocessing_in_words(text, expected):
    assert Preprocessing.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size=3", "unknown key of --preprocess 'size'"),
        ("crop=-1", "crop=-1"),
        ("crop=x", "not a number of pixels"),
        ("mean=1:2", "one number or three"),
        ("std=0", "std=0"),
        ("mean=1:2:x", "one number or three"),
        ("interpolation=cubic", "did you mean 'bicubic'"),
    ],
)
def test_bad_preprocessing(text, message):
    with pytest.raises(InputError, match=message):
        Preprocessing.parse(text)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vgg16", "did you mean 'torchvision/vgg16'"),
        ("torchvision/squeezenet", "did you mean 'torchvision/squeezenet"),
        ("nowhere.py:factory", "no such file"),
    ],
)
def test_unknown_models(spec, message):
    with pytest.raises(InputError, match=message):
        load_classifier(spec, "cpu")


def test_every_name_of_torchvision_is_a_builder_with_weights():
    for name in model_names():
        if name.startswith("torchvision/"):
            assert models.get_model_weights(name.removeprefix("torchvision/")).DEFAULT.meta["categories"]


def test_the_model_card_says_how_the_weights_came_about():
    from safetensors import safe_open

    with safe_open(vgg16.WEIGHTS, "pt") as file:
        header = json.loads(file.metadata()["detattack"])
    assert tuple(header["classes"]) == vgg16.CLASSES
    assert header["width"] == 0.5
    assert header["training"]["epochs"] == 30
