"""Settings of a network for one call, while the network itself, which may be in use elsewhere, stays as it is."""

import copy
from typing import Any, TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def with_setting(network: Network, name: str, value: Any) -> Network:
    """A copy of the network that shares all its tensors, and has an attribute set. name: with dots, as in
    `roi_heads.score_thresh`, of a module below it."""
    copied = copy.copy(network)
    child, _, rest = name.partition(".")
    if rest:
        copied._modules = network._modules | {child: with_setting(network.get_submodule(child), rest, value)}
    else:
        setattr(copied, name, value)
    return copied
