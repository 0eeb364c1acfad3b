"""Let the gradient pass where a network cuts it for its training."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode


class Attached(TorchFunctionMode):
    """Within this context `Tensor.detach` detaches nothing; no value changes.

    A decoder that starts at the best places of its encoder, and refines boxes layer by layer, is trained on each step
    alone. What an image changes passes through all of them.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Return what a function of torch is asked to detach; call all others."""
        return args[0] if func is Tensor.detach else func(*args, **kwargs or {})
