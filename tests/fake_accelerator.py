"""A device that is not the CPU, without one: each operation runs on the CPU, as strict as an accelerator is.

Tensors of the device `fake` are wrapper subclasses around a tensor on the host. An operation on them raises
where a CUDA device would (tensors of host and device together) and where MPS would (float64), and what waits for the
host is counted: reading a value, copying to the host, and results whose size depends on values.

    with fake_accelerator() as device:   # a torch.device
        model.to(device)
        ...
        print(device_log().waits)

It stands on a private hook of torch that lets Python be a backend, so `is_available` says whether this torch has it.
"""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torchvision  # noqa: F401, registers its operators
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

NAME = "fake"
DEVICE = f"{NAME}:0"
aten = torch.ops.aten

TRANSFERS = {aten._to_copy.default, aten.copy_.default}
"""Operations that may take tensors of both."""
READS = {aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default}
"""Operations that hand a value to Python."""
SIZED_BY_VALUES = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
    aten.bincount.default,
    torch.ops.torchvision.nms.default,
}
"""Operations the size of whose result the host has to be told."""
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Operations that also take indices on the host, which are copied to the device."""


@dataclass
class Log:
    """What the device was asked for, since the log was last cleared; by the lines of the package that asked.

    - waits: times that the host waits for the device
    - copies: times that something is copied from the host to the device
    """

    waits: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        self.waits.clear()
        self.copies.clear()


LOG = Log()


def is_available() -> bool:
    """Whether this torch lets Python be a backend."""
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


class OnDevice(torch.Tensor):
    """A tensor that claims to be on the device."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> "OnDevice":
        if host.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"the device has no {host.dtype}")
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls, host.shape, host.stride(), host.storage_offset(), dtype=host.dtype, device=torch.device(DEVICE)
        )
        wrapper.host = host
        return wrapper

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnDevice({self.host})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _on_device(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert a tensor of the device to numpy: .cpu() first")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert a tensor of the device to numpy: .cpu() first")

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnDevice":
        copied = OnDevice(self.host.clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied


def _on_device(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    tensors = [one for one in flat if isinstance(one, torch.Tensor)]
    wrapped = [one for one in tensors if isinstance(one, OnDevice)]
    if func in TRANSFERS:
        return _transfer(func, args, kwargs)
    if func in INDEXED:
        indices = [one for one in args[1] if one is not None]
        LOG.copies[_asker()] += any(not isinstance(one, OnDevice) for one in indices)
        if any(one.dtype in (torch.bool, torch.uint8) for one in indices):
            LOG.waits[_asker(func)] += 1
        tensors = [args[0], *args[2:3]]
    mixed = [one for one in tensors if not isinstance(one, OnDevice) and one.ndim]
    if wrapped and mixed:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, found {DEVICE} and cpu")
    if func in READS or func in SIZED_BY_VALUES:
        LOG.waits[_asker(func)] += 1
    to_device = bool(wrapped) or _is_device(kwargs.get("device"))
    kwargs = {name: torch.device("cpu") if _is_device(value) else value for name, value in kwargs.items()}
    host_args, host_kwargs = tree_map(_unwrap, (args, kwargs))
    found = func(*host_args, **host_kwargs)
    if not to_device or func in READS:
        return found
    found = tree_map(_wrap, found)
    return return_and_correct_aliasing(func, args, kwargs, found) if wrapped else found


def _transfer(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Copy between host and device, or within one of them."""
    if func is aten.copy_.default:
        target, source = args[:2]
        _count_transfer(isinstance(source, OnDevice), isinstance(target, OnDevice))
        _unwrap(target).copy_(_unwrap(source))
        return target
    source, wanted = args[0], kwargs.get("device")
    from_device = isinstance(source, OnDevice)
    to_device = _is_device(wanted) if wanted is not None else from_device
    _count_transfer(from_device, to_device)
    if to_device:
        kwargs = {name: value for name, value in kwargs.items() if name not in ("device", "pin_memory")}
    found = func(_unwrap(source), **kwargs)
    return OnDevice(found) if to_device else found


def _count_transfer(from_device: bool, to_device: bool) -> None:
    if from_device and not to_device:
        LOG.waits[_asker("copy to the host")] += 1
    if to_device and not from_device:
        LOG.copies[_asker()] += 1


def _unwrap(value: Any) -> Any:
    return value.host if isinstance(value, OnDevice) else value


def _wrap(value: Any) -> Any:
    return OnDevice(value) if isinstance(value, torch.Tensor) and not isinstance(value, OnDevice) else value


def _is_device(value: Any) -> bool:
    return isinstance(value, str | torch.device) and str(value).startswith(NAME)


def _asker(what: Any = "") -> str:
    """Name the line of the package that asked, the innermost one."""
    frames = [f for f in traceback.extract_stack() if "/detattack/" in f.filename or "/classify/" in f.filename]
    where = "elsewhere" if not frames else f"{frames[-1].filename.rpartition('attack/')[2]}:{frames[-1].lineno}"
    return f"{where} {what}".strip()


class _Factories(TorchDispatchMode):
    """Makes tensors on the device where an operation without tensors asks for it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_device(kwargs.get("device")) or any(isinstance(one, OnDevice) for one in tree_flatten(args)[0]):
            return _on_device(func, args, kwargs)
        return func(*args, **kwargs)


class _Functions(TorchFunctionMode):
    """Stands in for what torch does in C++, below any dispatch: tensors from Python's values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _is_device(kwargs.get("device")):
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnDevice):
            kwargs.setdefault("dtype", args[0].dtype)
            return torch.tensor(args[1], **kwargs).to(args[0].device)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            return func(args[0], tree_map(_index, args[1], is_leaf=lambda one: isinstance(one, list)), *args[2:])
        return func(*args, **kwargs)


def _index(part: Any) -> Any:
    return torch.tensor(part) if isinstance(part, list) else part


_is_set_up = False


@contextmanager
def fake_accelerator() -> Iterator[torch.device]:
    """Let the device `fake` exist."""
    global _is_set_up
    if not _is_set_up:
        backend_registration._setup_privateuseone_for_python_backend(NAME)
        _is_set_up = True
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    LOG.clear()
    try:
        with _Functions(), _Factories():
            yield torch.device(DEVICE)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
