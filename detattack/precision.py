"""What this processor is good at."""

import torch


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices natively."""
    ops = torch.ops.mkldnn
    return bool(hasattr(ops, "_is_mkldnn_bf16_supported") and ops._is_mkldnn_bf16_supported())
