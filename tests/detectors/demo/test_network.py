"""The embedded detectors: their size, their outputs, the weights that ship with them."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models.detection import RetinaNet

from detattack.datasets.scenes import CATEGORIES, render, scene_seed
from detattack.detectors.demo.evaluate import evaluate_network
from detattack.detectors.demo.network import HEADS, build_network, load_network, weights_file
from detattack.detectors.registry import EMBEDDED


def picture(seed: int, width: int = 480, height: int = 320) -> torch.Tensor:
    return torch.from_numpy(render(seed, width, height).image).permute(2, 0, 1) / 255


def test_it_is_a_small_retinanet():
    network = build_network()
    assert isinstance(network, RetinaNet)
    assert sum(p.numel() for p in network.parameters()) <= 2_500_000
    assert (network.score_thresh, network.nms_thresh, network.detections_per_img) == (0.05, 0.5, 100)


def test_one_logit_per_category_and_anchor_and_no_background():
    network = build_network().eval()
    images, _ = network.transform([picture(1)])
    assert images.tensors.shape[-2:] == (320, 480)  # scenes are not resized
    features = list(network.backbone(images.tensors).values())
    assert [tuple(f.shape[-2:]) for f in features] == [(40, 60), (20, 30), (10, 15), (5, 8)]
    outputs = network.head(features)
    anchors = network.anchor_generator(images, features)[0]
    assert outputs["cls_logits"].shape == (1, len(anchors), len(CATEGORIES))
    assert outputs["bbox_regression"].shape == (1, len(anchors), 4)


def test_it_takes_any_size_and_float64():
    network = load_network()
    sizes = [(200, 300), (700, 400)]
    for image, result in zip(sizes, network([torch.rand(3, *size) for size in sizes]), strict=True):
        assert result["boxes"].shape == (len(result["labels"]), 4)
        assert (result["boxes"][:, 2] <= image[1]).all()
    image = picture(3)
    single, double = network([image])[0], network.double()([image.double()])[0]
    assert double["scores"].dtype == torch.float64
    count = int((single["scores"] > 0.3).sum())
    assert count == int((double["scores"] > 0.3).sum()) > 0
    assert torch.allclose(single["scores"][:count].double(), double["scores"][:count], atol=1e-3)


def test_the_gradient_reaches_the_image():
    network = load_network()
    image = picture(3).requires_grad_()
    network([image])[0]["scores"].sum().backward()
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0


@pytest.mark.parametrize(("name", "head"), EMBEDDED.items())
def test_the_shipped_weights_fit_and_are_float16(name: str, head: str):
    assert weights_file(name).stat().st_size <= 8_000_000
    weights = load_file(weights_file(name))
    build_network(head).load_state_dict(weights, strict=True)
    floats = [value for value in weights.values() if value.is_floating_point()]
    assert all(value.dtype == torch.float16 and value.isfinite().all() for value in floats)


def test_the_shipped_weights_detect():
    quality = evaluate_network(load_network(), n=24, seed=9)
    assert quality.scenes == 24
    assert quality.ap50 > 0.7
    assert quality.ap50_clear > 0.8
    assert quality.ap_by_class["car"] > 0.4


@pytest.mark.parametrize("name", [name for name in EMBEDDED if name != "demo"])
def test_the_others_detect(name: str):
    head = EMBEDDED[name]
    network, first_label = load_network(weights_file(name), head), HEADS[head].first_label
    quality = evaluate_network(network, n=12, seed=9, first_label=first_label)
    assert quality.ap50 > 0.5
    assert quality.ap_by_class["car"] > 0.3


class Oracle(nn.Module):
    """Answers with the truth, or with every label off by one."""

    def __init__(self, n: int, seed: int, shift: int = 0) -> None:
        super().__init__()
        self.dtype_carrier = nn.Parameter(torch.zeros(1))
        self.scenes, self.shift = [render(scene_seed(seed, i)) for i in range(1, n + 1)], shift

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        shown = (images[0].permute(1, 2, 0) * 255).round().byte().numpy()
        scene = next(s for s in self.scenes if (s.image == shown).all())
        labels = (torch.from_numpy(scene.labels) + self.shift) % len(CATEGORIES)
        return [{"boxes": torch.from_numpy(scene.boxes), "labels": labels, "scores": torch.ones(len(labels))}]


def test_the_truth_scores_one_and_wrong_labels_score_little():
    quality = evaluate_network(Oracle(8, 5), n=8, seed=5)
    assert (round(quality.ap, 6), round(quality.ap50, 6), round(quality.ap50_clear, 6)) == (1, 1, 1)
    assert quality.objects > 8
    assert evaluate_network(Oracle(8, 5, shift=1), n=8, seed=5).ap50 < 0.3


def test_no_detections_score_zero():
    network = build_network()
    network.score_thresh = 1.0
    quality = evaluate_network(network, n=2, seed=5)
    assert (quality.ap, quality.ap50, quality.ap50_clear) == (0, 0, 0)
