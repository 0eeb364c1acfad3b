"""One change for many images: what it does to an image, how it is searched, kept and judged."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from detattack.core.errors import InputError
from detattack.datasets.image_io import to_pixels
from detattack.engine.budget import Budget
from detattack.tasks.detection.universal import Patch, Perturbation, Recipe, read_change, write_change

LINF, L2, RMS = Budget("linf", 8), Budget("l2", 2.0), Budget("rms", 4)
BOX = (10.0, 20.0, 50.0, 40.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (31, 97), (16, 16), (5, 200)])
def test_a_tile_is_repeated_over_images_of_any_size(height, width):
    change = Perturbation(LINF, 16)
    values = change.noise(generator())
    image = torch.full((3, height, width), 0.5)
    added = change.put_on(values, image, ()) - image
    for y, x in ((0, 0), (4, 15), (height - 1, width - 1)):
        torch.testing.assert_close(added[:, y, x], values[:, y % 16, x % 16])


@pytest.mark.parametrize(("budget", "length"), [(L2, 2.0), (RMS, 4 / 255 * (3 * 48 * 100) ** 0.5)])
def test_a_direction_has_the_length_of_the_budget_on_each_image(budget, length):
    change = Perturbation(budget, 32)
    image = torch.full((3, 48, 100), 0.5)
    added = change.put_on(change.start(), image, ()) - image
    assert added.norm().item() == pytest.approx(length, rel=1e-5)


def test_no_file_is_farther_than_the_radius():
    change = Perturbation(LINF, 16)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    values = change.bounded(torch.randn(3, 16, 16, generator=generator()))
    assert np.abs(to_pixels(change.put_on(values, image, ())).astype(int) - pixels).max() <= 8


@pytest.mark.parametrize(("size", "levels"), [(1.0, 1), (1.5, 1), (2.7, 2), (7.9999999, 8)])
def test_a_bound_between_gray_levels_is_rounded_down(size, levels):
    change = Perturbation(Budget("linf", size), 16)
    image = torch.full((3, 16, 16), 100 / 255)
    for values in (change.noise(generator()), change.bounded(torch.randn(3, 16, 16, generator=generator()))):
        changed = to_pixels(change.put_on(values, image, ())).astype(int)
        assert np.abs(changed - 100).max() == levels


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25])
def test_a_patch_covers_its_share_of_the_object(share):
    image, white = torch.zeros(3, 100, 100), torch.ones(3, 8, 8)
    changed = Patch(8, share).put_on(white, image, [BOX])
    covered = changed[0] > 0.5
    assert int(covered.sum()) == pytest.approx(share * 40 * 20, rel=0.15)
    rows, columns = covered.nonzero(as_tuple=True)
    assert rows.float().mean().item() == pytest.approx(29.5, abs=0.6)
    assert columns.float().mean().item() == pytest.approx(29.5, abs=0.6)
    assert torch.equal(image, torch.zeros(3, 100, 100)), "the image itself is left alone"


def test_a_patch_of_the_size_of_its_place_is_the_picture_itself():
    values = torch.rand(3, 20, 20, generator=generator())
    changed = Patch(20, 0.25).put_on(values, torch.zeros(3, 80, 80), [(20.0, 20.0, 60.0, 60.0)])
    torch.testing.assert_close(changed[:, 30:50, 30:50], values)


@pytest.mark.parametrize("box", [(-30.0, -30.0, 10.0, 10.0), (90.0, 90.0, 130.0, 130.0), (200.0, 0.0, 240.0, 40.0)])
def test_what_lies_outside_of_the_image_is_cut(box):
    image = torch.zeros(3, 100, 100)
    changed = Patch(8, 1.0).put_on(torch.ones(3, 8, 8), image, [box])
    x1, y1, x2, y2 = (min(max(v, 0.0), 100.0) for v in box)
    assert float(changed[0].sum()) == pytest.approx((x2 - x1) * (y2 - y1))


def test_draws_of_a_patch_turn_it_and_keep_its_values():
    image, white = torch.zeros(3, 200, 200), torch.ones(3, 16, 16)
    sums = [
        float(Patch(16, 0.1).put_on(white, image, [(50.0, 50.0, 150.0, 150.0)], generator(seed))[0].sum())
        for seed in range(20)
    ]
    assert len(set(sums)) == 20
    # The area is between (0.8)² and (1.25)² times a tenth of the box; a value between 0.8 and 1.
    assert 0.8**3 * 1000 * 0.9 <= min(sums) <= max(sums) <= 1.25**2 * 1000 * 1.1


@pytest.mark.parametrize("change", [Perturbation(LINF, 8), Perturbation(L2, 8), Patch(8, 0.1)])
def test_gradients_reach_the_values(change):
    values = change.noise(generator()).requires_grad_()
    image = torch.full((3, 60, 60), 0.5)
    (gradient,) = torch.autograd.grad(change.put_on(values, image, [BOX], generator()).square().sum(), values)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize(("images", "batch"), [(7, 3), (8, 4), (1, 5), (5, 1)])
def test_each_pass_takes_every_image_once(images, batch):
    recipe = Recipe(passes=3, batch=batch, seed=1)
    in_pass = recipe.steps(images) // 3
    taken = [[i for step in range(in_pass) for i in recipe.chosen(p * in_pass + step, images)] for p in range(3)]
    assert all(sorted(one) == list(range(images)) for one in taken)


@pytest.mark.parametrize("change", [Perturbation(LINF, 8), Perturbation(L2, 8), Patch(8, 0.25)])
def test_what_is_written_is_read(tmp_path, change):
    values = change.noise(generator())
    write_change(tmp_path, change, "car", values, {"model": "demo"})
    for path in (tmp_path, tmp_path / "change.npy", tmp_path / "change.png"):
        found = read_change(path)
        assert (found.change, found.on) == (change, "car")
        assert torch.equal(found.values, values)
    assert Image.open(tmp_path / "change.png").size == (8, 8)
    assert json.loads((tmp_path / "change.json").read_text())["model"] == "demo"


def as_archive(path):
    with path.open("wb") as file:
        np.savez(file, values=np.zeros((3, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "change.npy").unlink(), "no change.json and change.npy"),
        (lambda f: (f / "change.npy").write_bytes(b"nothing"), "cannot be read"),
        (lambda f: (f / "change.npy").write_bytes(b"PK\x03\x04nothing"), "cannot be read"),
        (lambda f: as_archive(f / "change.npy"), "cannot be read"),
        (lambda f: np.save(f / "change.npy", np.zeros((3, 8, 9), np.float32)), "a change is a square"),
        (lambda f: np.save(f / "change.npy", np.full((3, 8, 8), np.nan, np.float32)), "not finite float32"),
        (lambda f: np.save(f / "change.npy", np.zeros((3, 8, 8))), "holds float64"),
        (lambda f: (f / "change.json").write_text("{}"), "kind: field required"),
        (lambda f: (f / "change.json").write_text('{"kind": "patch", "on": "car"}'), "nor of what share a patch"),
        (lambda f: (f / "change.json").write_text('{"kind": "perturbation", "on": "car", "budget": "x"}'), "--budget"),
    ],
)
def test_a_spoiled_change_is_one_line(tmp_path, spoil, words):
    write_change(tmp_path, Patch(8, 0.1), "car", torch.zeros(3, 8, 8), {})
    spoil(tmp_path)
    with pytest.raises(InputError) as error:
        read_change(tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
