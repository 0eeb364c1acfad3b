"""Classify errors raised by a model: bad input, out of memory, or a device that is lost to this process."""

import torch
from torch import Tensor

from detattack.core.errors import ImageError, InputError

_NO_MEMORY = ("out of memory", "outofmemory", "can't allocate memory", "not enough memory", "insufficient memory")
_BROKEN = (
    *("device-side assert", "illegal memory access", "illegal address", "misaligned address", "illegal instruction"),
    *("unspecified launch failure", "launch timed out", "invalid program counter", "hardware stack error"),
    *("uncorrectable ecc error", "cuda error: unknown error", "hip error: unknown error", "hsa_status_error"),
    *("cudnn_status_execution_failed", "cudnn_status_internal_error", "cudnn_status_mapping_error"),
    *("cublas_status_execution_failed", "cublas_status_internal_error", "cublas_status_mapping_error"),
    *("miopenstatusinternalerror", "miopenstatusunknownerror", "rocblas_status_internal_error"),
    *("hiperrorlaunchfailure", "hiperrorillegaladdress", "command buffer exited with error"),
)
"""Messages of CUDA, ROCm, MPS and their libraries after which all later work of the process fails, too."""
_LOST = {214, 700, 702, 710, 714, 715, 716, 717, 718, 719}
"""CUDA and HIP error codes after which the context is lost."""


class NoGradient(InputError):
    """A model has no gradient from its scores to the image. Recorded for that image, unless all images have it."""


class DeviceBroken(OSError):
    """A device that fails at whatever this process asks of it from now on. No input is at fault."""


def check_gradient(name: str, images: Tensor, scores: Tensor) -> None:
    """Check that the scores that a model gives for images that require a gradient have one. Raises `NoGradient`.

    - name: the model's name, for the message
    - images: `[N,3,H,W]`
    - scores: any scores computed from them
    """
    if images.requires_grad and not scores.requires_grad:
        raise NoGradient(f"model {name}: lets no gradient through to the image, so it cannot be attacked")


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on any device."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _NO_MEMORY)
    )


def check_device(error: BaseException, what: str) -> None:
    """Raise `DeviceBroken` if an error, or any of its causes, means that the device is lost to this process.

    what: what was being worked on, for the message.
    """
    cause: BaseException | None = error
    while cause is not None:
        if _breaks_device(cause):
            said = " ".join(str(cause).split("\n")[0].split())[:200]
            raise DeviceBroken(f"{what}: the device failed and is lost to this process ({said})") from error
        cause = cause.__cause__ or cause.__context__


def check_one_image(error: Exception, what: str) -> None:
    """Raise what is not a matter of one image, of an error over it; what others raise is the model's, on that image.

    Raises the error itself where it is an `InputError` that concerns every image, and `DeviceBroken` as `check_device`.
    what: as of `check_device`.
    """
    if isinstance(error, InputError) and not isinstance(error, NoGradient | ImageError):
        raise error
    check_device(error, what)


def _breaks_device(error: BaseException) -> bool:
    if isinstance(error, DeviceBroken):
        return True
    if not isinstance(error, RuntimeError) or out_of_memory(error):
        return False
    number = getattr(error, "error_code", None)  # of `torch.AcceleratorError`, from PyTorch 2.8 on
    return number in _LOST or any(text in str(error).lower() for text in _BROKEN)
