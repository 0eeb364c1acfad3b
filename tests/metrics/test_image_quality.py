import json
import math
import warnings

import numpy as np
import pytest
import sewar.full_ref
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from skimage import metrics
from skimage.color import deltaE_ciede2000, rgb2lab

from classify.datasets import photos
from detattack.core.errors import InputError
from detattack.metrics import image_quality as quality
from detattack.metrics.image_quality import MEASURES, measure, quick_measures, register_measure

SYMMETRIC = ("l1", "l2", "linf", "rms", "psnr", "ssim", "uqi", "scc", "ciede2000_share")
SIMILARITIES = ("ssim", "uqi", "scc", "vifp")


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with edges and a black and a white flat area: what photos have and noise has not."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / rng.uniform(2, 9) + columns / rng.uniform(2, 9)) for _ in range(3)]
    image = (np.stack(waves, axis=-1) * 90 + 128 + rng.integers(-9, 10, (height, width, 3))).clip(0, 255)
    image[: height // 4, : width // 3] = 0
    image[-height // 4 :, -width // 3 :] = 255
    return image.astype(np.uint8)


def attacked(image: np.ndarray, amount: int = 3, seed: int = 1) -> np.ndarray:
    change = np.random.default_rng(seed).integers(-amount, amount + 1, image.shape)
    return (image.astype(int) + change).clip(0, 255).astype(np.uint8)


def pairs(sides=(1, 24)):
    shapes = st.tuples(st.integers(*sides), st.integers(*sides), st.just(3))
    return shapes.flatmap(lambda s: st.tuples(npst.arrays(np.uint8, s), npst.arrays(np.uint8, s)))


# Agreement with the reference implementations


def references(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """What scikit-image and sewar say of two images uint8, called directly."""
    unit = x / 255, y / 255
    return {
        "l1": np.abs(unit[0] - unit[1]).sum(),
        "l2": np.linalg.norm(unit[0].ravel() - unit[1].ravel()),
        "linf": np.abs(unit[0] - unit[1]).max(),
        "rms": 255 * metrics.mean_squared_error(*unit) ** 0.5,
        "psnr": metrics.peak_signal_noise_ratio(x, y),
        "ssim": metrics.structural_similarity(x, y, channel_axis=2),
        "uqi": sewar.full_ref.uqi(x, y),
        "scc": sewar.full_ref.scc(x, y),
        "vifp": sewar.full_ref.vifp(x, y),
        "ciede2000_share": (deltaE_ciede2000(rgb2lab(x), rgb2lab(y)) > 1).mean(),
    }


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (41, 90), (128, 96)])
@pytest.mark.parametrize("as_float", [False, True])
def test_agrees_with_skimage_and_sewar(size, as_float):
    x = scene(*size)
    y = attacked(x)
    found = measure(*((x / 255, y / 255) if as_float else (x, y))).as_json()
    for name, value in references(x, y).items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
        assert name in ("linf", *SIMILARITIES) or value > 0  # the example exercises it


@pytest.mark.parametrize("side", [32, 128])
@pytest.mark.parametrize("number", range(5))
def test_photos_agree_and_only_kl_and_vifp_know_which_is_the_original(side, number):
    x = photos(side).samples[number].load().pixels
    y = attacked(x)
    forth, back = measure(x, y).as_json(), measure(y, x).as_json()
    for name, value in references(x, y).items():
        assert forth[name] == pytest.approx(value, abs=1e-6), name
    for name in MEASURES:
        assert (forth[name] == pytest.approx(back[name], abs=1e-9)) == (name in SYMMETRIC), name
    assert back["vifp"] == pytest.approx(sewar.full_ref.vifp(y, x), abs=1e-6)
    same = measure(x, x.copy())
    assert (same["psnr"], same["l2"], same["kl_histogram"], same["ciede2000_share"]) == (math.inf, 0, 0, 0)
    assert all(same[name] == pytest.approx(1, abs=1e-12) for name in SIMILARITIES)


def test_floats_between_the_levels_agree_with_sewar():
    x = scene(48, 64) / 255
    y = (x + np.random.default_rng(2).normal(0, 0.004, x.shape)).clip(0, 1)
    for name in ("uqi", "scc", "vifp"):
        reference = getattr(sewar.full_ref, name)(x * 255, y * 255)
        assert MEASURES[name](x, y) == pytest.approx(reference, abs=1e-6), name


@pytest.mark.parametrize("side", [3, 4, 5, 6])
def test_ssim_of_small_images_takes_the_largest_odd_window(side):
    x = scene(side, 20)
    y = attacked(x, 30)
    window = side - 1 + side % 2
    expected = metrics.structural_similarity(x / 255, y / 255, channel_axis=2, data_range=1, win_size=window)
    assert quality.ssim(x, y) == pytest.approx(expected, abs=1e-9)


def test_known_values():
    black, white = np.zeros((10, 12, 3), np.uint8), np.full((10, 12, 3), 255, np.uint8)
    assert quality.l1(black, white) == 360
    assert quality.l2(black, white) == pytest.approx(math.sqrt(360))
    assert quality.linf(black, white) == 1
    assert quality.psnr(black, white) == 0
    assert quality.ciede2000_share(black, white) == 1
    one = black.copy()
    one[3, 4, 1] = 51  # a fifth of the range, in one of 360 values
    assert quality.l1(black, one) == quality.linf(black, one) == pytest.approx(0.2)
    assert quality.psnr(black, one) == pytest.approx(10 * math.log10(360 / 0.04))
    assert quality.ciede2000_share(black, one) == pytest.approx(1 / 120)


def test_kl_histogram_by_hand_and_not_symmetric():
    x = np.zeros((2, 2, 3), np.uint8)
    y = x.copy()
    y[0, 0, 0] = 9
    y[0, 1, 0] = 9
    n = 768 + 12  # one pixel more in every bin
    expected = 5 / n * math.log(5 / 3) + 1 / n * math.log(1 / 3)
    assert quality.kl_histogram(x, y) == pytest.approx(expected)
    reverse = 3 / n * math.log(3 / 5) + 3 / n * math.log(3)
    assert quality.kl_histogram(y, x) == pytest.approx(reverse)
    assert expected != pytest.approx(reverse)


# Properties


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (8, 8), (32, 32), (20, 90), (60, 50)])
@pytest.mark.parametrize("kind", ["black", "flat", "scene", "float32", "float64"])
def test_identical_images_are_ideal(size, kind):
    x = {
        "black": np.zeros((*size, 3), np.uint8),
        "flat": np.full((*size, 3), 77, np.uint8),
        "scene": scene(*size),
        "float32": (scene(*size) / 255).astype(np.float32),
        "float64": scene(*size) / 255,
    }[kind]
    found = measure(x, x.copy())
    assert found["psnr"] == math.inf
    for name in ("l1", "l2", "linf", "kl_histogram", "ciede2000_share"):
        assert found[name] == 0, name
    for name in SIMILARITIES:
        assert found[name] == pytest.approx(1, abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_ranges_symmetry_and_no_warning(pair):
    a, b = pair
    forth, back = measure(a, b), measure(b, a)
    size = a.size
    for name in SYMMETRIC:
        assert forth[name] == pytest.approx(back[name], abs=1e-9, nan_ok=True), name
    assert 0 <= forth["linf"] <= 1
    assert forth["linf"] <= forth["l2"] + 1e-12 <= forth["l1"] + 2e-12 <= size * forth["linf"] + 1e-9
    assert forth["rms"] <= 255 * forth["linf"] + 1e-9
    assert forth["l2"] ** 2 <= forth["l1"] * forth["linf"] + 1e-9
    assert forth["kl_histogram"] >= 0
    assert 0 <= forth["ciede2000_share"] <= 1
    assert -1 - 1e-9 <= forth["ssim"] <= 1 + 1e-9
    for name in SIMILARITIES:
        value = forth[name]
        assert not value > 1 + 1e-6 or name == "vifp", name
    assert (forth["psnr"] == math.inf) == bool((a == b).all())
    json.dumps(forth.as_json(), allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(pairs((1, 12)))
def test_pixels_and_their_floats_measure_the_same(pair):
    a, b = pair
    for kind, tolerance in ((np.float32, 1e-5), (np.float64, 1e-9)):
        floats = measure(
            (a / 255).astype(kind), (b / 255).astype(kind), only=[*quick_measures(), "scc", "kl_histogram"]
        )
        pixels = measure(a, b, only=[*quick_measures(), "scc", "kl_histogram"])
        for name in (*quick_measures(), "scc", "kl_histogram"):
            expected = pytest.approx(pixels[name], rel=tolerance, abs=tolerance)
            assert floats[name] == expected, name
    assert quality.l1(a, a.astype(np.float32) / np.float32(255)) == 0
    assert quality.l1(a.astype(np.float32) / np.float32(255), a) == 0


@pytest.mark.parametrize("name", SIMILARITIES)
def test_more_noise_is_less_alike(name):
    x = scene(64, 64)
    values = [MEASURES[name](x, attacked(x, amount)) for amount in (1, 8, 40)]
    assert values == sorted(values, reverse=True)
    assert values[0] < 1


def test_vifp_is_about_the_original_and_rises_with_contrast():
    x = scene(64, 64)
    dull = (x * 0.5 + 64).astype(np.uint8)
    assert quality.vifp(x, dull) < 1 < quality.vifp(dull, x)


def test_vifp_of_flat_channels():
    x = scene(64, 64)
    y = attacked(x)
    expected = quality.vifp(x, y)
    gray = np.full((64, 64, 3), 90, np.uint8)
    assert math.isnan(quality.vifp(gray, attacked(gray)))
    flat, changed = x.copy(), y.copy()
    flat[..., 2], changed[..., 2] = 0, 0
    value = quality.vifp(flat, changed)
    assert value == pytest.approx(np.mean([sewar.full_ref.vifp(x[..., c], y[..., c]) for c in (0, 1)]))
    assert value != pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("size", "nans"), [((2, 2), {"uqi"}), ((8, 40), {"uqi", "vifp"}), ((9, 9), set())])
def test_images_below_a_window_are_undefined_not_an_error(size, nans):
    x = scene(*size)
    found = measure(x, attacked(x, 20)).as_json()
    assert {name for name, value in found.items() if value is None} >= nans
    assert {"l1", "l2", "linf", "psnr", "ssim", "scc", "kl_histogram", "ciede2000_share"} <= {
        name for name, value in found.items() if value is not None
    }


# The interface


def test_only_what_is_asked_in_json():
    x = scene(12, 12)
    found = measure(x, x, only=iter(quick_measures()))
    assert found == {"l1": 0, "l2": 0, "linf": 0, "rms": 0, "psnr": math.inf, "ssim": 1}
    assert found.as_json() == {"l1": 0, "l2": 0, "linf": 0, "rms": 0, "psnr": None, "ssim": 1}
    assert list(measure(x, x)) == list(MEASURES)


def test_an_unknown_measure_is_bad_input():
    with pytest.raises(InputError, match="did you mean 'psnr'"):
        measure(scene(4, 4), scene(4, 4), only=["psnrr"])


@pytest.mark.parametrize("name", list(MEASURES))
def test_images_that_cannot_be_compared(name):
    x = scene(12, 10)
    nan = np.full((12, 10, 3), np.nan)
    for a, b in [
        (x, x[:-1]),
        (x, x.swapaxes(0, 1)),
        (x, x[..., 0]),
        (x, x[..., :1]),
        (x[:0], x[:0]),
        (x, x.astype(np.int64)),
        (x, x.astype(np.float64)),  # 0-255 as floats: a mistake, not a guess
        (nan, nan),
    ]:
        with pytest.raises(ValueError):
            MEASURES[name](a, b)


@pytest.mark.parametrize("name", list(MEASURES))
def test_inputs_are_left_alone(name):
    x = scene(20, 20)
    y = attacked(x)
    for kind in (lambda a: a, lambda a: a / 255, lambda a: (a / 255).astype(np.float32)):
        a, b = kind(x), kind(y)
        a.flags.writeable = b.flags.writeable = False
        MEASURES[name](a, b)


def test_an_own_measure_is_taken_with_the_others(monkeypatch):
    monkeypatch.setattr(MEASURES, "_entries", dict(MEASURES._entries))

    @register_measure("changed", label="changed", unit="%", format=".0f")
    def changed(original, adversarial):
        return 100 * float((original != adversarial).any(2).mean())

    x, y = scene(4, 4), scene(4, 4)
    y[0, 0] ^= 1
    found = measure(x, y)
    assert list(found)[-1] == "changed"
    assert found["changed"] == 100 / 16
    assert (MEASURES["changed"].heading, MEASURES["changed"].text(6.25)) == ("changed, %", "6")
    assert "changed" not in quick_measures()
    with pytest.raises(InputError, match="'changed': is registered already"):
        register_measure("changed")(changed)


def test_a_value_as_text():
    assert [MEASURES["psnr"].text(value) for value in (41.237, math.inf, math.nan, None)] == ["41.24", "∞", "-", "-"]
    assert [MEASURES[name].label for name in ("linf", "uqi")] == ["L∞", "UQI"]
    assert MEASURES["psnr"].heading == "PSNR, dB"
