"""Set-prediction detectors of transformers against the library's own processor, model and post-processing."""

import json

import pytest
import torch
from random_networks import assert_same, enough, pictures
from safetensors.torch import save_file

from detattack.detectors.check import check_detector
from detattack.detectors.registry import fingerprint, load_detector
from detattack.errors import InputError

transformers = pytest.importorskip("transformers", reason="needs transformers (pip install 'detattack[hf]')")

NAMES = {0: "N/A", 1: "person", 2: "aeroplane", 3: "tvmonitor", 4: "N/A", 5: "dog"}
LABELS = {"id2label": NAMES, "label2id": {"person": 1, "aeroplane": 2, "tvmonitor": 3, "dog": 5}}
SMALL = {"shortest_edge": 96, "longest_edge": 160}
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
DETR = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
}


def backbone(out: list[str]):
    return transformers.ResNetConfig(**RESNET, out_features=out)


def detr():
    config = transformers.DetrConfig(**DETR, **LABELS, num_queries=40, backbone_config=backbone(["stage4"]))
    return config, transformers.DetrImageProcessor(size=SMALL)


def conditional():
    config = transformers.ConditionalDetrConfig(**DETR, **LABELS, num_queries=40, backbone_config=backbone(["stage4"]))
    return config, transformers.ConditionalDetrImageProcessor(size=SMALL)


def deformable():
    config = transformers.DeformableDetrConfig(
        **DETR | {"decoder_layers": 2},
        **LABELS,
        num_queries=40,
        backbone_config=backbone(["stage2", "stage3", "stage4"]),
    )
    return config, transformers.DeformableDetrImageProcessor(size=SMALL)


def rt_detr():
    config = transformers.RTDetrConfig(
        **LABELS,
        backbone_config=transformers.RTDetrResNetConfig(**RESNET, out_features=["stage2", "stage3", "stage4"]),
        encoder_in_channels=[32, 48, 64],
        encoder_hidden_dim=32,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        d_model=32,
        decoder_in_channels=[32, 32, 32],
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=32,
        num_queries=40,
        freeze_backbone_batch_norms=False,
        disable_custom_kernels=True,
    )
    return config, transformers.RTDetrImageProcessor(size={"height": 96, "width": 128})


def yolos():
    config = transformers.YolosConfig(
        **LABELS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        image_size=[96, 128],
        num_detection_tokens=40,
        use_mid_position_embeddings=False,
    )
    return config, transformers.YolosImageProcessor(size=SMALL)


FAMILIES = {f.__name__: f for f in (detr, conditional, deformable, rt_detr, yolos)}


@torch.no_grad()
def spread(network):
    """Random weights whose queries differ, and whose layers do not fade."""
    for name, parameter in network.named_parameters():
        if "class" in name and parameter.dim() == 2:
            parameter.normal_(0, parameter.shape[1] ** -0.5)
        if "bbox" in name and parameter.dim() == 2:
            parameter.normal_(0, parameter.shape[1] ** -0.5)
        if "class" in name and parameter.shape in ((len(NAMES),), (len(NAMES) + 1,)):
            parameter[[i for i, n in NAMES.items() if n == "N/A"]] = -8.0
        if "query" in name or "detection_tokens" in name:
            parameter.normal_(0, 1)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None
    network(pixel_values=torch.randn(2, 3, 96, 128))
    network.eval()


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory) -> str:
    """A small model of a family with random weights, saved as people save theirs."""
    path = tmp_path_factory.mktemp(request.param)
    config, processor = FAMILIES[request.param]()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = transformers.AutoModelForObjectDetection.from_config(config).eval()
        spread(network)
    network.save_pretrained(path)
    processor.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def detector(folder):
    return load_detector(f"hf/{folder}", "cpu")


@torch.no_grad()
def official(folder, pixels, threshold):
    """The library's recipe, from 8-bit images."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    network = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=list(pixels), return_tensors="pt")
    return processor.post_process_object_detection(
        network(**inputs), threshold, [tuple(pixels.shape[-2:])] * len(pixels)
    )


@pytest.mark.parametrize("size", [(96, 128), (131, 171), (150, 110)])
def test_detect_is_the_librarys_recipe(detector, folder, size):
    pixels = (pictures(2, *size) * 255).round().to(torch.uint8)
    ids = {c.name: label for label, c in enumerate(detector.categories)}
    for ours, theirs in zip(detector.detect(pixels / 255, 0.0), official(folder, pixels, 0.0), strict=True):
        named = torch.tensor([NAMES[i] in ids for i in theirs["labels"].tolist()])
        assert int(named.sum()) >= 20
        assert [detector.categories[i].name for i in ours.labels.tolist()] == [
            NAMES[i] for i in theirs["labels"][named].tolist()
        ]
        torch.testing.assert_close(ours.boxes, theirs["boxes"][named], rtol=0, atol=1e-3)
        torch.testing.assert_close(ours.scores, theirs["scores"][named], rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(96, 128), (131, 171), (150, 110)])
def test_candidates_and_select_are_the_models_own_inference(detector, size):
    images = pictures(2, *size) * 0.99 + 0.001
    candidates = detector.candidates(images)
    threshold = enough(detector, candidates)
    for ours, theirs in zip(detector.select(candidates, threshold), detector.detect(images, threshold), strict=True):
        assert len(theirs) >= 20
        assert_same(ours, theirs)


def test_preparation_is_the_processors(detector):
    images = pictures(1, 131, 171)
    values, _ = detector._prepared(images)
    inputs = detector._processor(
        images=list(images), return_tensors="pt", input_data_format="channels_first", do_rescale=False
    )
    torch.testing.assert_close(values, inputs["pixel_values"], rtol=0, atol=1e-5)


def test_models_check_passes(detector):
    findings = {finding.name: finding for finding in check_detector(detector, 3)}
    assert not [f for f in findings.values() if not f.passed]


def test_input_gradient_by_finite_differences(folder):
    detector = load_detector(f"hf/{folder}", "cpu")
    detector.network.double()
    images = pictures(1, 70, 90, dtype=torch.float64)

    def loss(seen):
        found = detector.candidates(seen)
        assert found.logits.dtype == torch.float64
        return found.logits.logsumexp(1).mean() + (found.boxes / 90).mean()

    seen = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(seen), seen)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype)
    direction = gradient / gradient.norm() + noise / noise.norm()
    with torch.no_grad():
        slope = float(loss(images + 1e-6 * direction) - loss(images - 1e-6 * direction)) / 2e-6
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-3)


def test_categories_have_cocos_ids_by_name_whatever_the_word(detector):
    assert {c.name: c.coco_id for c in detector.categories} == {"person": 1, "aeroplane": 5, "tvmonitor": 72, "dog": 18}


def test_weights_of_a_file_and_random_ones(detector, folder, tmp_path):
    save_file({k: v.clone() for k, v in detector.network.state_dict().items()}, tmp_path / "w.safetensors")
    assert fingerprint(load_detector(f"hf/{folder}", "cpu", str(tmp_path / "w.safetensors"))) == fingerprint(detector)
    random = [fingerprint(load_detector(f"hf/{folder}", "cpu", "none")) for _ in range(2)]
    assert random[0] == random[1] != fingerprint(detector)


def test_bad_folders_are_one_line(folder, tmp_path):
    def bad(spec) -> str:
        with pytest.raises(InputError) as error:
            load_detector(spec, "cpu")
        assert len(str(error.value).splitlines()) == 1
        return str(error.value)

    assert "cannot be loaded" in bad(f"hf/{tmp_path}")
    config = json.loads((tmp_path.__class__(folder) / "config.json").read_text())
    assert config["model_type"]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "preprocessor_config.json").write_text(
        (tmp_path.__class__(folder) / "preprocessor_config.json").read_text()
    )
    assert "unknown family" in bad(f"hf/{tmp_path}")
