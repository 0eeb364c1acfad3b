"""A threshold for one call: the user's network keeps its own, whatever several threads ask for at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from detattack.datasets.image_io import to_tensor
from detattack.datasets.scenes import render, scene_seed
from detattack.detectors.parts.settings import with_setting
from detattack.detectors.registry import load_detector

LOW, HIGH = 0.05, 0.6


@pytest.mark.parametrize("name", ["demo", "demo-fasterrcnn"])
def test_each_thread_gets_what_it_asks_for_and_the_network_stays_as_it_is(name):
    detector = load_detector(name, "cpu")
    image = to_tensor(render(scene_seed(0, 8)).image)[None]
    alone = {threshold: len(detector.detect(image, threshold)[0]) for threshold in (LOW, HIGH)}
    assert alone[LOW] > alone[HIGH] > 0
    asked = [LOW, HIGH] * 6
    with ThreadPoolExecutor(4) as pool:
        counts = pool.map(lambda threshold: len(detector.detect(image, threshold)[0]), asked)
        assert list(counts) == [alone[threshold] for threshold in asked]
    holder = detector.network.roi_heads if name == "demo-fasterrcnn" else detector.network
    assert holder.score_thresh == detector.eval_threshold == LOW


def test_the_copy_shares_tensors_and_modules_but_for_those_on_the_way_to_the_setting():
    network = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)), torch.nn.ReLU())
    copied = with_setting(network, "0.1.p", 0.25)
    assert (copied[0][1].p, network[0][1].p) == (0.25, 0.5)
    assert copied[0][0] is network[0][0]
    assert copied[1] is network[1]
    assert list(map(str, copied[0]._modules)) == ["0", "1"]
