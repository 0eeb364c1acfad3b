"""Read and write images: files from cameras and editors become uint8 RGB at native size or are refused.

Nothing is lost silently. Conversions (gray, palette, CMYK, alpha, EXIF orientation) are noted; what would lose
information (16 bits, several frames) or is damaged raises an `InputError`.
"""

import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.files import write_bytes_atomic

MAX_PIXELS = 100_000_000
"""Size limit of an image by default: 100 megapixels, 300 MB as uint8 RGB."""
LIMIT = "DETATTACK_MAX_PIXELS"
"""Environment variable that overrides `MAX_PIXELS`."""

# Only formats that Pillow decodes by itself (EPS would start Ghostscript) and whose bit depth we can check.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

_KINDS = {
    "1": "1-bit",
    "L": "gray",
    "LA": "gray",
    "La": "gray",
    "P": "palette",
    "PA": "palette",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
}

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258


@dataclass(frozen=True, eq=False, repr=False)
class LoadedImage:
    """An image that has been read.

    - pixels: uint8 `[H,W,3]` RGB, upright, at native size
    - path: its file
    - notes: the conversions that were made, each in a few words; empty for an ordinary RGB file
    """

    pixels: NDArray[np.uint8]
    path: Path
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"LoadedImage({str(self.path)!r}, {self.width}×{self.height})"

    @property
    def height(self) -> int:
        """H, in pixels."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """W, in pixels."""
        return self.pixels.shape[1]


def read_image(path: str | os.PathLike[str], max_pixels: int | None = None) -> LoadedImage:
    """Read a JPEG, PNG, WebP, BMP, GIF, TIFF or PPM file as uint8 RGB `[H,W,3]`.

    - path: the file
    - max_pixels: None: `most_pixels`

    Raises `InputError` (one line, naming the file and what is wrong) if it is missing, not a regular file, empty, not
    an image, damaged or truncated, has more than 8 bits a channel, several frames, no pixels, or more than `max_pixels`
    of them according to its header (nothing of that size is allocated then).
    """
    path = Path(path)
    max_pixels = most_pixels() if max_pixels is None else max_pixels
    with _opened(path) as file, _strict_pillow():
        try:
            return _read(file, path, max_pixels)
        except (InputError, MemoryError):
            raise
        # Pillow's decoders raise many kinds of exception on damaged files: OSError, SyntaxError, ValueError,
        # struct.error, zlib.error, EOFError, IndexError, ... To the user all of them say the same.
        except Exception as error:
            raise InputError(f"{path}: damaged or truncated image ({_one_line(error)})") from error


def most_pixels() -> int:
    """Return how many pixels an image may have: `MAX_PIXELS`, or what the environment says. Raises `InputError`."""
    said = os.environ.get(LIMIT, str(MAX_PIXELS))
    if not (said.isascii() and said.isdigit() and 0 < len(said) < 19):
        raise InputError(f"{LIMIT}={said}: not a number of pixels")
    return int(said)


def read_floats(path: Path, height: int, width: int) -> NDArray[np.float32]:
    """Read a float image `[3,H,W]` that `--float` wrote.

    - path: the file
    - height, width: of the image

    Raises OSError, or ValueError for anything else; a header that promises more than the file holds allocates nothing.
    """
    try:
        floats = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # NumPy reads the header as Python, whose tokenizer has errors of its own
        raise ValueError(f"{path.parent.name}/{path.name} is no array of NumPy's ({_one_line(error)})") from error
    if floats.dtype != np.float32 or floats.shape != (3, height, width):
        raise ValueError(f"{path.parent.name}/{path.name} is {floats.dtype} {list(floats.shape)}")
    return np.array(floats)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Read (width, height) of an upright image from its header alone; None if that fails."""
    try:
        with _opened(Path(path)) as file, _strict_pillow(), _open(file) as image:
            width, height = _stored_size(image)
            turned = image.format != "PNG" or "exif" in image.info  # else all of a PNG would be decoded to know
            return (height, width) if turned and _orientation(image) >= 5 else (width, height)
    except Exception:  # what is wrong with it is said when it is read
        return None


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) before an image is turned upright; that of a TIFF is turned when Pillow opens it."""
    if isinstance(image, TiffImageFile):
        return image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]
    return image.size


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Convert uint8 `[H,W,3]` to float32 `[3,H,W]` in [0,1], each value exactly the float32 nearest to value/255."""
    _check_pixels(pixels)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(255))


def to_pixels(tensor: Tensor) -> NDArray[np.uint8]:
    """Convert a float tensor `[3,H,W]` in [0,1], on any device, to uint8 `[H,W,3]`, rounded to the nearest level.

    Raises ValueError for another shape or dtype, for values that are not finite, and for values outside [0,1] by more
    than 1e-4; smaller excursions, the rounding error of an optimizer, are clamped.
    """
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.is_floating_point():
        raise ValueError(f"expected a float tensor [3,H,W], got {tensor.dtype} {list(tensor.shape)}")
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    values = tensor.detach().permute(1, 2, 0).to("cpu", dtype)
    if not bool(torch.isfinite(values).all()):
        raise ValueError("the image holds values that are not finite")
    if values.numel() and (float(values.min()) < -1e-4 or float(values.max()) > 1 + 1e-4):
        raise ValueError(f"values run from {float(values.min()):g} to {float(values.max()):g}, outside [0,1]")
    return values.clamp(0, 1).mul(255).round().to(torch.uint8).contiguous().numpy()


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 `[H,W,3]` as a PNG file: the same bytes every time, compressed for speed, without metadata."""
    _check_pixels(pixels)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """Decode a PNG file made by `png_bytes` to uint8 `[H,W,3]`."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def write_png(path: str | os.PathLike[str], pixels: NDArray[np.uint8]) -> None:
    """Write uint8 `[H,W,3]` as a PNG, atomically: `path` holds the old file or the whole new one."""
    write_bytes_atomic(Path(path), png_bytes(pixels))


def _check_pixels(pixels: NDArray[np.uint8]) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"expected uint8 [H,W,3] with H, W > 0, got {pixels.dtype} {list(pixels.shape)}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading. Raises `InputError` if it cannot be opened."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder, not an image")
        if not stat.S_ISREG(status.st_mode):  # a pipe would block for ever
            raise InputError(f"{path}: not a regular file")
        if status.st_size == 0:
            raise InputError(f"{path}: the file is empty")
        file = path.open("rb")  # closed below; errors while reading are told apart from these
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read it") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(f"{path}: cannot be opened ({_one_line(error)})") from None
    with file:
        yield file


class _Shared:
    """A context shared by several threads: entered with the first user, left with the last."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._users = 0
        self._held = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._held.enter_context(self._make())
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._held.close()


@contextmanager
def _strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated


_strict_pillow = _Shared(_strict)
"""Pillow without its warnings and its own size limit (ours is checked), never padding truncated files.

These are process-wide switches of Pillow that another library may have set: they are set only while a thread of ours
reads, and restored.
"""


def _read(file: BinaryIO, path: Path, max_pixels: int) -> LoadedImage:
    try:
        image = _open(file)
    except UnidentifiedImageError:
        raise InputError(f"{path}: not an image that can be read") from None
    with image:
        _check_header(image, path, max_pixels)
        if image.format == "PNG":
            _check_png_sums(file)
        before = _orientation(image)  # Pillow turns some TIFF files by itself while it decodes them
        image.load()
        notes = conversions(image, turned=before != 1 or _orientation(image) != 1)
        upright = image.transpose(_UPRIGHT[_orientation(image)]) if _orientation(image) != 1 else image
        return LoadedImage(np.array(upright.convert("RGB")), path, notes)


def check_kind(image: Image.Image, what: str) -> None:
    """Raise `InputError` for pixels that 8-bit RGB cannot hold. what: names the image in the message."""
    if _more_than_8_bits(image):
        raise InputError(f"{what}: has more than 8 bits a channel; convert it to 8 bits first")
    if image.mode in ("LAB", "HSV"):
        raise InputError(f"{what}: {image.mode} colors are not read; convert it to RGB first")


def _open(file: BinaryIO) -> ImageFile.ImageFile:
    return Image.open(file, formats=[name for name in _FORMATS if name in _known_formats()])


def _known_formats() -> set[str]:
    Image.init()
    return set(Image.OPEN)


def _check_header(image: ImageFile.ImageFile, path: Path, max_pixels: int) -> None:
    """Refuse, before any pixel is decoded, images that are too large, empty, 16 bits deep or of several frames."""
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(f"{path}: the image is {width}x{height}, it has no pixels")
    if width * height > max_pixels:
        raise InputError(
            f"{path}: the image is {width}x{height}, {width * height / 1e6:.1f} megapixels; "
            f"at most {max_pixels / 1e6:g} are read ({LIMIT} raises that)"
        )
    check_kind(image, str(path))
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise InputError(f"{path}: has {frames} frames or pages; one image a file is read")


def _more_than_8_bits(image: Image.Image) -> bool:
    """Return whether the file is deeper than 8 bits, also where Pillow's mode hides it (it reduces 16-bit RGB)."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return True
    if isinstance(image, TiffImageFile):
        return bool(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8)
    if not isinstance(image, ImageFile.ImageFile):
        return False
    if image.format == "PNG":  # "RGB;16B": the raw mode of the tiles that are still to be decoded
        return any("16" in str(tile[3]) for tile in image.tile)
    if image.format == "PPM":  # (raw mode, largest value) where that is not 255
        return any(isinstance(tile[3], tuple) and int(tile[3][-1]) > 255 for tile in image.tile)
    return False


def _check_png_sums(file: BinaryIO) -> None:
    """Raise if a PNG's checksums are wrong or its end is missing, which Pillow's decoder accepts."""
    position = file.tell()
    file.seek(0)
    with Image.open(io.BytesIO(file.read()), formats=["PNG"]) as copy:
        copy.verify()
    file.seek(position)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if there is none or the EXIF block is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1
    return value if value in _UPRIGHT else 1


def conversions(image: Image.Image, turned: bool = False) -> tuple[str, ...]:
    """List what is done to make an image 8-bit RGB, each in a few words. turned: whether it was turned upright."""
    notes = []
    if image.format == "MPO":
        notes.append(f"first of {getattr(image, 'n_frames', 1)} pictures taken")
    if turned:
        notes.append("EXIF orientation applied")
    if image.mode in _KINDS:
        notes.append(f"{_KINDS[image.mode]} converted to RGB")
    elif image.mode not in ("RGB", "RGBA", "RGBa", "RGBX"):
        notes.append(f"{image.mode} converted to RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        notes.append("alpha dropped")
    return tuple(notes)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
