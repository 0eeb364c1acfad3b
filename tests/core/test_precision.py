"""Settings of torch's process: none of them reaches what is computed inside, all are as before afterwards."""

import pytest
import torch

from detattack.core.environment import DETERMINISTIC
from detattack.core.precision import fixed_numerics, has_fast_bf16


def settings():
    """Everything that a caller may have set and that would change a number or stop a gradient."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_deterministic_debug_mode(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    )


@pytest.fixture
def changed():
    """A caller who has set what there is to be set."""
    before = torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    yield
    torch.set_default_dtype(before[0])
    torch.set_float32_matmul_precision(before[1])
    torch.backends.cudnn.benchmark = before[2]


@pytest.mark.parametrize("gradient", [True, False])
def test_inside_all_is_fixed_and_afterwards_all_is_as_before(changed, gradient):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        before = settings()
        with fixed_numerics(gradient):
            inside = settings()
            weight = torch.ones(2, 2, requires_grad=True)
            product = weight @ weight
        assert settings() == before
    assert inside == (gradient, False, False, torch.float32, torch.device("cpu"), 0, "highest", False, False)
    assert (product.dtype, product.device.type, product.requires_grad) == (torch.float32, "cpu", gradient)


@pytest.mark.parametrize(("said", "mode"), [("1", 1), ("0", 0), ("", 0)])
def test_deterministic_algorithms_are_the_environment_s_choice_alone(monkeypatch, said, mode):
    monkeypatch.setenv(DETERMINISTIC, said)
    torch.use_deterministic_algorithms(True)
    try:
        with fixed_numerics():
            assert torch.get_deterministic_debug_mode() == mode
            assert torch.backends.cudnn.deterministic == bool(mode)
        assert torch.get_deterministic_debug_mode() == 2
    finally:
        torch.use_deterministic_algorithms(False)


def test_inference_mode_of_a_caller_does_not_stop_the_gradient():
    with torch.inference_mode(), fixed_numerics():
        weight = torch.ones(3, requires_grad=True)
        (gradient,) = torch.autograd.grad((2 * weight).sum(), weight)
    assert gradient.tolist() == [2, 2, 2]


def test_all_is_put_back_after_an_error(changed):
    before = settings()
    with pytest.raises(RuntimeError, match="inside"), fixed_numerics():
        raise RuntimeError("inside")
    assert settings() == before


def test_whether_bfloat16_is_fast_is_known():
    assert isinstance(has_fast_bf16(), bool)
