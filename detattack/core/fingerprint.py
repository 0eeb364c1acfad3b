"""Hashes that identify models, so that resumed and verified runs are known to use the same one.

The hash covers all weights that an adapter holds, which `reachable` finds by walking through its objects.
"""

import hashlib
import sys
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from types import CellType, FunctionType, MappingProxyType, MethodType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

_OF_MODULES = frozenset(vars(nn.Module()))
"""Attributes that PyTorch gives every module: what is registered there is in its `state_dict`."""
_FOREIGN = frozenset({"torch", "numpy", *sys.stdlib_module_names})
"""Packages whose objects are not searched."""


def reachable(model: object) -> Iterator[tuple[str, nn.Module | Tensor]]:
    """Yield the modules and tensors that an adapter is or holds, each with its path, such as `nets[0]` or `inner.head`.

    Follows attributes (`__slots__` too), lists, tuples, sets, dictionaries, bound methods, partials and closures. Each
    object is yielded once, under the path with the fewest steps; what is registered in a module comes with that module.
    Tensors that are caches are left out: those in a dictionary whose keys are not text, and those that a module below
    the adapter holds without having registered them.
    """
    for path, value, is_cache in _objects(model):
        if isinstance(value, nn.Module) or (isinstance(value, Tensor) and not is_cache):
            yield path, value


def holders(model: object) -> Iterator[tuple[str, object, dict[str, Any]]]:
    """Yield an adapter and the objects that it holds, found as by `reachable`; of modules, each module inside.

    Each comes as its path, itself, and the attributes that were given to it, by name.
    """
    for path, value, _ in _objects(model):
        parts = value.named_modules(prefix=path) if isinstance(value, nn.Module) else [(path, value)]
        yield from ((name, part, dict(_attributes(part))) for name, part in parts if not _is_foreign(part))


def _objects(model: object) -> Iterator[tuple[str, Any, bool]]:
    """Yield whatever an adapter is or holds, with its path, and whether a tensor there would be a cache."""
    seen: dict[int, object] = {}  # kept, so that no other object gets its id
    todo: deque[tuple[str, Any, bool]] = deque([("", model, False)])
    while todo:
        path, value, is_cache = todo.popleft()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        yield path, value, is_cache
        if isinstance(value, nn.Module):
            for inner, module in value.named_modules(prefix=path):
                cached = is_cache or module is not model
                todo.extend((_join(inner, name), part, cached) for name, part in _attributes(module))
        elif not isinstance(value, Tensor):
            named = not isinstance(value, dict | MappingProxyType) or all(isinstance(key, str) for key in value)
            todo.extend((_join(path, step), part, is_cache or not named) for step, part in _parts(value))


def fingerprint_of_tensors(model: object, names: object) -> str:
    """Return a hash of all weights that an adapter is or holds, and of the names of its classes.

    Weights are the state of its modules, the tensors among its attributes, and in deeper objects the floating-point
    tensors (integer tensors there are tables, which follow from the classes). Numbers and NumPy arrays do not count.
    """
    digest = hashlib.sha256(repr(names).encode())
    for (path, key), states in groupby(sorted(_states(model), key=_place), key=_place):
        for data in sorted(_bytes(tensor) for _, _, tensor in states):  # several in a set, which has no order
            digest.update(f"{path}.{key}".encode())
            digest.update(data)
    return digest.hexdigest()[:16]


def _states(model: object) -> Iterator[tuple[str, str, Tensor]]:
    """Yield path, key and tensor of all weights. An attribute of the adapter is yielded under each of its names."""
    direct = {"": model, **dict(_attributes(model))}
    shared = [(path, value) for path, value in direct.items() if isinstance(value, nn.Module | Tensor)]
    inner = [(path, value) for path, value in reachable(model) if path not in direct]
    for path, value in shared + inner:
        if isinstance(value, nn.Module):
            yield from ((path, key, tensor) for key, tensor in value.state_dict().items())
        elif path in direct or value.is_floating_point() or value.is_complex():
            yield path, "", value


def _place(state: tuple[str, str, Tensor]) -> tuple[str, str]:
    return state[:2]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def _join(path: str, step: str) -> str:
    return step if not path else path + step if step.startswith("[") else f"{path}.{step}"


def _attributes(value: object) -> list[tuple[str, Any]]:
    """Return an object's own attributes by name; for a module without those that every module has."""
    found = dict(getattr(value, "__dict__", {}))
    slots = (name for kind in type(value).__mro__ for name in _slots(kind))
    found |= {name: getattr(value, name) for name in slots if hasattr(value, name)}
    passed = _OF_MODULES if isinstance(value, nn.Module) else ()
    return sorted((item for item in found.items() if item[0] not in passed), key=lambda item: item[0])


def _slots(kind: type) -> tuple[str, ...]:
    """Return the names of `__slots__`, mangled."""
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    mangled = (f"_{kind.__name__.lstrip('_')}{n}" if n[:2] == "__" != n[-2:] else n for n in names)
    return tuple(name for name in mangled if name not in ("__dict__", "__weakref__"))


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Return the parts of an object that is neither module nor tensor, each with the step that leads there."""
    if isinstance(value, dict | MappingProxyType):
        items = [(f"[{key!r}]", part) for key, part in value.items()]
    elif isinstance(value, list | tuple | deque):
        items = [(f"[{number}]", part) for number, part in enumerate(value)]
    elif isinstance(value, set | frozenset):
        items = [("[]", part) for part in value]
    elif isinstance(value, MethodType):
        return [("__self__", value.__self__)]
    elif isinstance(value, partial):
        return [("func", value.func), ("args", value.args), ("keywords", value.keywords)]
    elif isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        return [(name, cell.cell_contents) for name, cell in cells if cell != CellType()]
    else:
        items = []
    return items if _is_foreign(value) else items + _attributes(value)


def _is_foreign(value: object) -> bool:
    if isinstance(value, nn.Module | SimpleNamespace):
        return False
    return isinstance(value, type) or type(value).__module__.partition(".")[0] in _FOREIGN
