"""Errors of a model: the image's, the memory's, or those of a lost device."""

import pytest
import torch

from detattack.core.errors import InputError
from detattack.core.faults import DeviceBroken, NoGradient, check_device, check_gradient, out_of_memory


def test_scores_without_a_gradient_are_refused_where_one_is_needed():
    images = torch.zeros(1, 3, 2, 2, requires_grad=True)
    check_gradient("m", images, images.sum())
    check_gradient("m", images.detach(), images.detach().sum())
    with pytest.raises(NoGradient, match="model m: lets no gradient through") as caught:
        check_gradient("m", images, images.detach().sum())
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory(error, expected):
    assert out_of_memory(error) is expected


class NumberedError(RuntimeError):
    error_code = 700


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered\nfurther lines"),
        RuntimeError("CUDA error: device-side assert triggered"),
        NumberedError("something"),
        DeviceBroken("already known"),
    ],
)
def test_a_lost_device_is_told_from_an_error_or_its_cause(error):
    with pytest.raises(DeviceBroken, match="a.png: the device failed and is lost to this process"):
        check_device(error, "a.png")
    try:
        raise ValueError("of the model") from error
    except ValueError as outer:
        with pytest.raises(DeviceBroken) as caught:
            check_device(outer, "a.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), ValueError("illegal address"), KeyError("a")])
def test_other_errors_are_not_the_devices(error):
    check_device(error, "a.png")
