"""Numerical settings of attack and judgment: both compute the same numbers, whatever the caller has set."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch

from detattack.core.environment import is_deterministic

Precision = Literal["fp32", "bf16"]
"""Of the gradient: float32, or bfloat16 with float32 accumulation. Decisions are always made in float32."""
Switch = tuple[Callable[[], Any], Callable[[Any], None], Any]
"""A setting of torch's process: its getter, its setter, and the value that it has to have."""
EXACT = ("none", "ieee")
"""torch's names for products of unrounded float32 factors."""


def has_fast_bf16() -> bool:
    """Return whether this processor multiplies bfloat16 matrices natively."""
    ops = torch.ops.mkldnn
    return bool(hasattr(ops, "_is_mkldnn_bf16_supported") and ops._is_mkldnn_bf16_supported())


@contextmanager
def fixed_numerics(gradient: bool = True, tf32: bool = False) -> Iterator[None]:
    """Override every setting of the caller that would change a number, and restore it afterwards.

    These are `no_grad`, `inference_mode`, autocast, default dtype and device, reduced precision of float32, and the
    deterministic mode, which is as `core.environment` says.

    - gradient: whether operations are recorded for a backward pass
    - tf32: whether CUDA devices may round the factors of float32 products to 10 bits (TF32), as torch lets convolutions
      do by default
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradient))
        for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda", "mps", "xpu")):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # the context costs time in each operation
            stack.enter_context(torch.device("cpu"))
        for read, write, value in chain(_modes(), _rounding(tf32)):  # each is asked for when those before are set
            before = read()
            if before != value:
                stack.callback(write, before)
                write(value)
        yield


def _modes() -> Iterator[Switch]:
    yield torch.get_default_dtype, torch.set_default_dtype, torch.float32
    deterministic = is_deterministic()
    yield torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, int(deterministic)  # 1: it warns
    yield _attribute(torch.backends.cudnn, "deterministic", deterministic)
    yield _attribute(torch.backends.cudnn, "benchmark", False)


def _rounding(tf32: bool) -> Iterator[Switch]:
    """Yield the settings for the precision of float32 products.

    torch has two sets of switches, and refuses to read one of the older where the newer differ. What the older leave
    open is then set by the newer, which torch before 2.9 does not have.
    """
    cuda: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    cpu: Any = torch.backends.mkldnn
    older: list[Switch] = [
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        _attribute(cudnn, "allow_tf32", tf32),
    ]
    yield from (switch for switch in older if _is_readable(switch))
    if not hasattr(cuda, "fp32_precision"):
        yield _attribute(cuda, "allow_tf32", tf32)
        return
    for one in (cuda, cudnn.conv, cudnn.rnn, cpu.matmul, cpu.conv, cpu.rnn):
        wanted = ("tf32",) if tf32 and one in (cuda, cudnn.conv, cudnn.rnn) else EXACT
        if one.fp32_precision not in wanted:
            yield _attribute(one, "fp32_precision", wanted[-1])


def _is_readable(switch: Switch) -> bool:
    try:
        switch[0]()
    except RuntimeError:
        return False
    return True


def _attribute(owner: Any, name: str, value: Any) -> Switch:
    return partial(getattr, owner, name), partial(setattr, owner, name), value
