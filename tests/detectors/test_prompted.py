"""Open-vocabulary detectors of transformers against the library's own post-processing, and what a prompt must be."""

import pytest
import torch

from detattack.core.errors import InputError
from detattack.detectors.check import check_detector
from detattack.detectors.parts.prompt import phrases_of
from detattack.detectors.registry import load_detector
from tests.detectors.random_networks import pictures
from tests.detectors.small_transformers import PROMPTED, write

transformers = pytest.importorskip("transformers", reason="needs transformers (pip install '.[hf]')")
PROMPT = "person . car . stop sign . dog"
NAMES = ["person", "car", "stop sign", "dog"]


@pytest.fixture(scope="module", params=PROMPTED)
def folder(request, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp(request.param)
    write(request.param, path)
    load_detector(f"hf/{path}", "cpu", "none", prompt=PROMPT).network.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def detector(folder):
    return load_detector(f"hf/{folder}", "cpu", prompt=PROMPT)


@torch.no_grad()
def official(folder, pixels):
    """The library's recipe, with the text that each token of a query stands for: best score, box and its label."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    network = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=pixels, text=[NAMES], return_tensors="pt")
    output = network(**inputs)
    size = [tuple(pixels.shape[-2:])]
    if output.logits.shape[-1] == len(NAMES):
        (found,) = processor.post_process_grounded_object_detection(output, threshold=0, target_sizes=size)
        return found["scores"], found["boxes"], [NAMES[i] for i in found["labels"]]
    (found,) = processor.post_process_grounded_object_detection(output, threshold=0, target_sizes=size)
    best = output.logits[0].argmax(-1)
    text = inputs["input_ids"][0]
    return found["scores"], found["boxes"], [processor.decode(text[i]) for i in best]


@pytest.mark.parametrize("size", [(131, 171), (150, 110)])
def test_detections_are_the_librarys(detector, folder, size):
    (pixels,) = (pictures(1, *size) * 255).round().to(torch.uint8)
    (ours,) = detector.detect(pixels[None] / 255, 0.0)
    scores, boxes, texts = official(folder, pixels)
    names = [detector.categories[label].name for label in ours.labels.tolist()]
    compared = 0
    for row, text in enumerate(texts):  # a query whose best token is a separator stands for no phrase
        if any(text in name for name in NAMES):
            assert text in names[row]
            torch.testing.assert_close(ours.scores[row], scores[row], rtol=0, atol=1e-6)
            compared += 1
    assert compared >= 20
    torch.testing.assert_close(ours.boxes, boxes, rtol=0, atol=1e-3)


def test_models_check_passes(detector):
    assert not [finding for finding in check_detector(detector, 3) if not finding.passed]


def test_phrases_are_the_categories_with_cocos_ids(detector):
    assert [(c.name, c.coco_id) for c in detector.categories] == [
        ("person", 1),
        ("car", 3),
        ("stop sign", 13),
        ("dog", 18),
    ]


def test_a_prompt_is_needed(folder):
    with pytest.raises(InputError, match=r"looks for what it is asked for; pass --prompt 'car \. person'"):
        load_detector(f"hf/{folder}", "cpu", "none")


def test_a_prompt_that_is_too_long(folder):
    with pytest.raises(InputError, match=r"prompt: a text of it has \d+ tokens, the model reads (16|256)"):
        load_detector(f"hf/{folder}", "cpu", "none", prompt="car " * 300)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("car . person . Car", "'car' stands there twice"),
        ("tv . tvmonitor", "'tv' stands there twice"),
        (" . ", "has no phrase"),
        ("", "has no phrase"),
    ],
)
def test_bad_prompts(prompt, said):
    with pytest.raises(InputError) as error:
        phrases_of(prompt)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_phrases():
    assert phrases_of(" a red  car. person .") == ("a red car", "person")


@pytest.mark.parametrize("spec", ["demo", "torchvision/ssd300_vgg16"])
def test_a_closed_vocabulary_takes_no_prompt(spec):
    with pytest.raises(InputError, match="names its own classes; --prompt does not apply"):
        load_detector(spec, "cpu", prompt=PROMPT)


def test_a_closed_family_takes_no_prompt(tmp_path):
    write("detr", tmp_path)
    with pytest.raises(InputError, match="DETR names its own classes; --prompt does not apply"):
        load_detector(f"hf/{tmp_path}", "cpu", "none", prompt=PROMPT)
