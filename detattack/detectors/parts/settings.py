"""Change a setting of a network for one call; the network itself, which may be in use elsewhere, is not modified."""

import copy
from typing import Any, TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def with_setting(network: Network, name: str, value: Any) -> Network:
    """Return a copy of the network that shares all tensors, with one attribute set.

    - network: The network, which is not modified.
    - name: The attribute, with dots for one of a module below, as in `roi_heads.score_thresh`.
    - value: Its value in the copy.
    """
    copied = copy.copy(network)
    child, _, rest = name.partition(".")
    if rest:
        copied._modules = network._modules | {child: with_setting(network.get_submodule(child), rest, value)}
    else:
        setattr(copied, name, value)
    return copied
