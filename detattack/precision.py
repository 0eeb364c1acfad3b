"""How exactly a processor is to count, and what it is good at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]
"""Of the gradient: float32, or bfloat16 with float32 sums. What decides is float32 in any case."""


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices natively."""
    ops = torch.ops.mkldnn
    return bool(hasattr(ops, "_is_mkldnn_bf16_supported") and ops._is_mkldnn_bf16_supported())


@contextmanager
def tensor_float32(allowed: bool) -> Iterator[None]:
    """Whether CUDA devices may round the factors of float32 products to 10 bits (TF32), as torch lets convolutions
    do unless told otherwise."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
