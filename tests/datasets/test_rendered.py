"""Rendered scenes as a data set."""

import numpy as np
import pytest

from detattack.core.errors import InputError
from detattack.datasets.rendered import read_original, rendered_scenes
from detattack.datasets.scenes import CATEGORIES, render, scene_seed
from detattack.datasets.source import DatasetSource


def test_the_first_scenes_of_a_seed_with_their_annotations():
    found = rendered_scenes(2, seed=5)
    assert [sample.stem for sample in found.samples] == ["scene000001", "scene000002"]
    assert found.source == DatasetSource(scenes=2, seed=5)
    for number, sample in enumerate(found.samples, 1):
        scene, loaded = render(scene_seed(5, number)), sample.load()
        assert np.array_equal(loaded.pixels, scene.image)
        assert sample.size == (scene.image.shape[1], scene.image.shape[0])
        assert np.array_equal(read_original(sample.source).pixels, scene.image)
        assert sum(a["image_id"] == number for a in found.annotations) == len(scene.labels)
    assert [c["name"] for c in found.categories] == [c.name for c in CATEGORIES]
    assert len({a["id"] for a in found.annotations}) == len(found.annotations)


def test_only_scenes_that_suit_are_taken_and_the_fingerprint_says_which():
    found = rendered_scenes(2, seed=5, suits=lambda scene: scene.number % 2 == 0)
    assert [sample.id for sample in found.samples] == [2, 4]
    assert found.fingerprint == "scenes 2,4 of seed 5"
    shown = rendered_scenes(1, seed=5, suits=lambda scene: scene.may_show("stop sign")).samples[0]
    label = [c.name for c in CATEGORIES].index("stop sign")
    assert label in render(scene_seed(5, shown.id)).labels


def test_a_class_that_the_renderer_does_not_have_may_be_anywhere():
    assert rendered_scenes(1, seed=5, suits=lambda scene: scene.may_show("giraffe")).samples[0].id == 1


def test_free_road_lies_in_the_image():
    picture = rendered_scenes(1, seed=5, suits=lambda scene: scene.road is not None).samples[0].load()
    x1, y1, x2, y2 = picture.road
    assert 0 <= x1 < x2 <= picture.pixels.shape[1]
    assert 0 <= y1 < y2 <= picture.pixels.shape[0]


def test_none_is_too_few_and_what_is_gone_is_said(tmp_path):
    with pytest.raises(InputError, match="0 scenes: at least one is needed"):
        rendered_scenes(0, seed=1)
    with pytest.raises(InputError, match="gone.png: no such file"):
        read_original(str(tmp_path / "gone.png"))
