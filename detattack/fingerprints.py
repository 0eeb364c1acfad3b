"""Hashes that tell models apart, so that a resumed or verified run is known to be of the same one."""

import hashlib

import torch
from torch import nn


def fingerprint_of_tensors(model: object, names: object) -> str:
    """A hash of all weights that an adapter holds or is, and of what its classes are called."""
    digest = hashlib.sha256(repr(names).encode())
    for attribute, value in sorted({"": model, **vars(model)}.items()):
        tensors = value.state_dict() if isinstance(value, nn.Module) else {}
        for key, tensor in sorted(({"": value} if isinstance(value, torch.Tensor) else tensors).items()):
            digest.update(f"{attribute}.{key}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
