"""A photo whose attack survives JPEG, on a published detector: judged by Pillow's and OpenCV's encoder."""

import io
from contextlib import closing

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from detattack.cli import status_of
from detattack.detectors.registry import load_detector
from detattack.runs.folder import RunFolder
from detattack.tasks.detection.record import DetectionRecord
from tests.real.test_photos import NANODET, PHOTOS

pytestmark = pytest.mark.skipif(
    not (NANODET.is_file() and PHOTOS.is_dir()), reason="needs NanoDet and COCO photos (DETATTACK_SHARED)"
)


def by_pillow(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
    return np.array(Image.open(buffer).convert("RGB"))


def by_opencv(pixels):
    encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def test_everything_stays_vanished_after_jpeg(tmp_path):
    out, model = tmp_path / "run", f"{NANODET}:factory"
    words = ["evaluate", "--images", str(PHOTOS), "--limit", "1", "--model", model, "--goal", "suppress:all"]
    assert status_of([*words, "--robust-to", "jpeg:75", "--quality", "quick", "--quiet", "--out", str(out)]) == 0
    with closing(RunFolder.open(out, DetectionRecord)) as folder:
        (record,) = folder.iterate()
    assert (record.status, record.survives) == ("success", {"jpeg:75": True})
    assert record.quality["l2"] < 1.0
    detector = load_detector(model, "cpu")
    pixels = np.array(Image.open(out / "images" / f"{record.stem}.png").convert("RGB"))
    for image in (pixels, by_pillow(pixels), by_opencv(pixels)):
        tensor = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)[None]
        assert not len(detector.detect(tensor, 0.5)[0].above(0.5))
