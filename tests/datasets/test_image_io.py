"""Images as they are read and written: what is taken, what is converted and said, and what is refused."""

import os
import resource
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from detattack.core.errors import InputError
from detattack.datasets import image_io as images
from detattack.datasets.image_io import read_image, to_pixels, to_tensor, write_png


@pytest.fixture
def pixels():
    """Not square, different in every corner and channel, so that swaps and turns show."""
    return np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)


def refused(path: Path, *words: str, **options) -> str:
    """The message with which `path` is refused: one line that names the file."""
    with pytest.raises(InputError) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG built by hand, for headers that Pillow does not write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# Reading


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "ppm"])
def test_lossless_rgb_is_read_exactly(tmp_path, pixels, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    loaded = read_image(path)
    np.testing.assert_array_equal(loaded.pixels, pixels)
    assert loaded.pixels.dtype == np.uint8
    assert loaded.notes == ()
    assert loaded.path == path
    assert (loaded.height, loaded.width) == (20, 31)
    loaded.pixels[0, 0, 0] = 1  # writable, so that torch.from_numpy does not warn


def test_jpeg_is_read_as_pillow_reads_it(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_array_equal(read_image(str(tmp_path / "a.jpg")).pixels, np.array(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_exif_orientation_is_applied_once(tmp_path, orientation, suffix):
    # Flat quadrants survive JPEG; stored pixel (r, c) shows at the place EXIF says.
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = 200, (0, 0, 240), (0, 220, 0)
    store = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(store(upright))).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    loaded = read_image(tmp_path / f"a.{suffix}")
    assert loaded.pixels.shape == upright.shape
    assert np.abs(loaded.pixels.astype(int) - upright).max() <= 4
    assert loaded.notes == (("EXIF orientation applied",) if orientation != 1 else ())
    assert images.image_size(tmp_path / f"a.{suffix}") == (48, 32)


def test_damaged_exif_does_not_refuse_the_photo(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert read_image(tmp_path / "a.jpg").notes == ()


@pytest.mark.parametrize(
    ("mode", "suffix", "note"),
    [
        ("L", "png", "gray converted to RGB"),
        ("L", "jpg", "gray converted to RGB"),
        ("1", "png", "1-bit converted to RGB"),
        ("P", "png", "palette converted to RGB"),
        ("P", "gif", "palette converted to RGB"),
        ("CMYK", "jpg", "CMYK converted to RGB"),
        ("CMYK", "tif", "CMYK converted to RGB"),
    ],
)
def test_conversions_are_noted(tmp_path, pixels, mode, suffix, note):
    source = Image.fromarray(pixels).convert(mode)
    source.save(tmp_path / f"a.{suffix}")
    loaded = read_image(tmp_path / f"a.{suffix}")
    assert loaded.notes == (note,)
    assert loaded.pixels.shape == (20, 31, 3)
    if suffix != "jpg":
        np.testing.assert_array_equal(loaded.pixels, np.array(source.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_and_colors_kept(tmp_path, pixels, mode):
    source = Image.fromarray(pixels).convert(mode)
    source.putalpha(0)  # fully transparent: the colors must survive all the same
    source.save(tmp_path / "a.png")
    loaded = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded.pixels, np.array(source.convert(mode[:-1]).convert("RGB")))
    assert loaded.notes[-1] == "alpha dropped"


def test_palette_with_transparency_says_both(tmp_path, pixels):
    Image.fromarray(pixels).convert("P").save(tmp_path / "a.png", transparency=3)
    assert read_image(tmp_path / "a.png").notes == ("palette converted to RGB", "alpha dropped")


def test_first_picture_of_a_phone_mpo(tmp_path):
    first, second = Image.new("RGB", (32, 24), (200, 30, 30)), Image.new("RGB", (32, 24), (0, 0, 200))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    loaded = read_image(tmp_path / "a.jpg")
    assert np.abs(loaded.pixels.astype(int) - (200, 30, 30)).max() < 5
    assert loaded.notes == ("first of 2 pictures taken",)


def test_a_single_frame_gif_is_an_image(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.gif")
    assert read_image(tmp_path / "a.gif").pixels.shape == (20, 31, 3)


# Refusing


def test_what_is_no_readable_file(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "missing.png", "no such file")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "empty.jpg", "empty")
    refused(tmp_path / "text.png", "not an image that can be read")
    refused(tmp_path / "page.eps", "not an image that can be read")
    refused(tmp_path / "pipe.png", "not a regular file")
    refused(tmp_path / "text.png" / "below.png")
    with pytest.raises(InputError):
        read_image("a\0b.png")


def test_no_permission(tmp_path, pixels, monkeypatch):
    write_png(tmp_path / "a.png", pixels)

    def denied(*_, **__):  # chmod does not stop root, who runs tests in containers
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    refused(tmp_path / "a.png", "no permission")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "gif", "ppm"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, pixels, suffix, kept):
    big = np.tile(pixels, (6, 6, 1))
    Image.fromarray(big).save(tmp_path / f"a.{suffix}")
    data = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(data[: int(len(data) * kept)])
    refused(tmp_path / f"a.{suffix}")


def test_truncated_files_are_refused_where_pillow_was_told_to_pad_them(tmp_path, pixels, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    Image.fromarray(np.tile(pixels, (6, 6, 1))).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    refused(tmp_path / "a.jpg", "truncated")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True  # put back: it is not ours


def test_png_with_a_flipped_bit_or_without_its_end(tmp_path, pixels):
    data = images.png_bytes(pixels)
    (tmp_path / "end.png").write_bytes(data[:-12])
    refused(tmp_path / "end.png", "damaged")
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    (tmp_path / "bit.png").write_bytes(flipped)
    refused(tmp_path / "bit.png", "damaged")


@pytest.mark.parametrize(("color", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png(tmp_path, color, channels):
    row = b"\0" + b"\x12\x34" * channels * 3
    (tmp_path / "a.png").write_bytes(png(3, 2, 16, color, row * 2))
    refused(tmp_path / "a.png", "more than 8 bits")
    (tmp_path / "b.png").write_bytes(png(3, 2, 8, color, (b"\0" + b"\x12" * channels * 3) * 2))
    assert read_image(tmp_path / "b.png").pixels.max() == 0x12  # the same file, 8 bits deep


def tiff(bits: int, samples: int) -> bytes:
    """A 2x2 TIFF built by hand: Pillow does not write 16-bit RGB."""
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, samples, 122), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 130), (277, 3, 1, samples), (278, 3, 1, 2), (279, 4, 1, 4 * samples * bits // 8)]
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", 8) + ifd + bytes(4)
    return head + struct.pack(f"<{samples}H", *[bits] * samples) + bytes(2) + b"\x77" * (4 * samples * bits // 8)


def test_16_bit_tiff(tmp_path):
    assert len(tiff(16, 3)) == 130 + 24
    (tmp_path / "a.tif").write_bytes(tiff(16, 3))
    refused(tmp_path / "a.tif", "more than 8 bits")
    (tmp_path / "b.tif").write_bytes(tiff(8, 3))
    assert (read_image(tmp_path / "b.tif").pixels == 0x77).all()


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_gray_tiff(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "more than 8 bits")


@pytest.mark.parametrize("magic", [b"P6", b"P5"])
def test_16_bit_ppm(tmp_path, magic):
    (tmp_path / "a.ppm").write_bytes(magic + b"\n2 1\n65535\n" + bytes(12))
    refused(tmp_path / "a.ppm", "more than 8 bits")
    (tmp_path / "b.ppm").write_bytes(magic + b"\n2 1\n4095\n" + bytes(12))
    refused(tmp_path / "b.ppm", "more than 8 bits")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_several_frames(tmp_path, pixels, suffix):
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels), Image.fromarray(pixels[::-1].copy())]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    refused(tmp_path / f"a.{suffix}", "3 frames")


def test_a_bomb_is_refused_by_its_header(tmp_path, pixels):
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, 8, 2, b"\0"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(tmp_path / "bomb.png", "60000x60000", "megapixels")
    limit = Image.MAX_IMAGE_PIXELS
    write_png(tmp_path / "a.png", pixels)
    refused(tmp_path / "a.png", "31x20", max_pixels=31 * 20 - 1)
    assert read_image(tmp_path / "a.png", max_pixels=31 * 20).width == 31
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_can_be_raised_by_the_environment(tmp_path, pixels, monkeypatch):
    write_png(tmp_path / "a.png", pixels)
    monkeypatch.setenv("DETATTACK_MAX_PIXELS", str(31 * 20 - 1))
    refused(tmp_path / "a.png", "31x20", "DETATTACK_MAX_PIXELS raises that")
    monkeypatch.setenv("DETATTACK_MAX_PIXELS", str(31 * 20))
    assert read_image(tmp_path / "a.png").width == 31
    for bad in ("", "many", "-5", "1e9", "9" * 30):
        monkeypatch.setenv("DETATTACK_MAX_PIXELS", bad)
        with pytest.raises(InputError, match="DETATTACK_MAX_PIXELS=.*not a number of pixels"):
            read_image(tmp_path / "a.png")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_a_bomb_is_refused_before_anything_is_allocated(tmp_path):
    """In a process that may have no more than 300 MB beside what it has; decoded, the image has 10 GB."""
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, 8, 2, b"\0"))
    child = os.fork()
    if not child:
        try:
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + 300_000_000,) * 2)
            refused(tmp_path / "bomb.png", "60000x60000")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_more_than_pillows_own_limit_is_read_without_its_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write_png(tmp_path / "a.png", np.zeros((50, 50, 3), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").height == 50


@pytest.mark.parametrize("size", [(0, 3), (3, 0)])
def test_no_pixels(tmp_path, size):
    (tmp_path / "a.png").write_bytes(png(*size, 8, 2, b""))
    refused(tmp_path / "a.png")


# Tensors


def test_all_256_levels_make_the_round_trip():
    levels = np.arange(256, dtype=np.uint8)
    pixels = np.stack([levels, levels[::-1], np.roll(levels, 7)], axis=-1).reshape(8, 32, 3)
    tensor = to_tensor(pixels)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 8, 32)
    assert tensor.is_contiguous()
    expected = np.array([np.float32(v / 255) for v in range(256)])
    np.testing.assert_array_equal(tensor[0].flatten().numpy(), expected)
    np.testing.assert_array_equal(to_pixels(tensor), pixels)
    np.testing.assert_array_equal(to_pixels(tensor.double()), pixels)
    np.testing.assert_array_equal(to_pixels(tensor.requires_grad_()), pixels)


def test_to_pixels_rounds_and_never_truncates():
    values = torch.tensor([0.4, 0.6, 1.4, 1.6, 254.4, 254.6]) / 255
    assert to_pixels(values.expand(3, 1, 6))[0, :, 0].tolist() == [0, 1, 1, 2, 254, 255]


def test_to_pixels_clamps_rounding_errors_only():
    assert to_pixels(torch.tensor([-5e-5, 1 + 5e-5]).expand(3, 1, 2))[0, :, 0].tolist() == [0, 255]
    for bad in (-2e-4, 1 + 2e-4, float("nan"), float("inf"), 255.0):
        with pytest.raises(ValueError):
            to_pixels(torch.full((3, 2, 2), bad))


@pytest.mark.parametrize(
    "bad", [torch.zeros(2, 2, 3), torch.zeros(1, 3, 2, 2), torch.zeros(3, 2, 2, dtype=torch.uint8)]
)
def test_to_pixels_wants_floats_channels_first(bad):
    with pytest.raises(ValueError, match=r"\[3,H,W\]"):
        to_pixels(bad)


# Writing


def test_png_round_trip_and_same_bytes(tmp_path, pixels):
    write_png(tmp_path / "a.png", pixels)
    write_png(tmp_path / "b.png", np.asfortranarray(pixels))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, pixels)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (3, 4, 5), (0, 4, 3)])
def test_write_png_wants_rgb_pixels(tmp_path, shape):
    with pytest.raises(ValueError):
        write_png(tmp_path / "a.png", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError):
        write_png(tmp_path / "a.png", np.zeros((4, 4, 3), np.float32))
    assert not list(tmp_path.iterdir())


def test_threads_read_at_the_same_time_and_switches_are_put_back(tmp_path, pixels, monkeypatch):
    write_png(tmp_path / "a.png", pixels)
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    together, opened = threading.Barrier(4), Image.open

    def opened_together(*given, **options):
        together.wait(timeout=30)  # broken where another has to be through with it first
        assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (None, False)
        return opened(*given, **options)

    monkeypatch.setattr(Image, "open", opened_together)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: read_image(tmp_path / "a.png"), range(4)):
            assert (found.pixels == pixels).all()
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before
