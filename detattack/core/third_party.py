"""Third-party objects: import them from files, build models from their factories.

A detector, a classifier, a plugin: whatever a user names as `path/to/file.py:name` or `path/to/file.py` is imported
here. Importing such a file changes nothing for other code. Its module has a name of its own, so that two files with
the same name do not collide; modules beside it are found by its own imports only, ahead of installed ones, and are
taken out of `sys.modules` again, so that two folders may each have a `model.py`, and a `queue.py` harms no library.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any, ClassVar

from detattack.core.errors import InputError, kind_and_reason

_PREFIX = "detattack_file_"
"""Start of the names that imported files have in `sys.modules`."""


def import_file(path: Path) -> "tuple[ModuleType, _Neighbors]":
    """Import a Python file, which may import modules that lie beside it. Runs that file's code.

    Returns its module and its neighbors, which are importable within `neighbors.importable()`. Raises whatever the
    file raises, `ImportError` for one that is not Python, and then leaves nothing behind.
    """
    path = path.resolve()
    name = f"{_PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module, neighbors = importlib.util.module_from_spec(spec), _Neighbors(path.parent, name)
    before = sys.modules.get(name)
    sys.modules[name] = module  # as Python does: dataclasses look their annotations up there
    try:
        with neighbors.importable():
            spec.loader.exec_module(module)
    except BaseException:
        _restore({name: before} if before else {}, [name])
        raise
    return module, neighbors


def callable_of_file(spec: str, what: str = "model") -> Callable[..., Any]:
    """Import the callable of `path/to/file.py:name`. Runs that file's code: only for one that the user names.

    The file, and what the callable does, may import modules that lie beside the file. Raises `InputError`.

    - spec: The file and the name in it.
    - what: What the callable is for, the first word of an error message.
    """
    file, _, name = spec.rpartition(":")
    if not Path(file).is_file():
        raise InputError(f"{what} {spec}: no such file {file!r}")
    try:
        module, neighbors = import_file(Path(file))
    except Exception as error:
        raise InputError(f"{what} {spec}: {file} cannot be imported ({kind_and_reason(error)})") from error
    target = getattr(module, name, None)
    if not callable(target):
        raise InputError(f"{what} {spec}: {file} has no function {name!r}")

    def call(*args: Any, **kwargs: Any) -> Any:
        with neighbors.importable():
            return target(*args, **kwargs)

    return call


def callable_of_entry_point(entry: EntryPoint, what: str = "model") -> Callable[..., Any]:
    """Import the callable of an installed package's entry point. Raises `InputError`."""
    try:
        target = entry.load()
    except Exception as error:  # the package is someone else's code
        raise InputError(f"{what} {entry.name}: {entry.value} cannot be imported ({kind_and_reason(error)})") from error
    if not callable(target):
        raise InputError(f"{what} {entry.name}: {entry.value} is no function")
    return target


def build_model(
    spec: str,
    factory: Callable[[str], Any],
    device: str,
    contract: type,
    attributes: Sequence[str],
    methods: Sequence[str],
) -> Any:
    """Build a third party's model, and check that it has what its contract asks for. Raises `InputError`.

    - spec: What the user calls the model.
    - factory: Takes the device.
    - device: Where the model is to live.
    - contract: The protocol that it has to keep, for the error message.
    - attributes: Names of the attributes that the contract asks for.
    - methods: Names of the methods that it asks for.
    """
    try:
        model = factory(device)
    except Exception as error:
        raise InputError(f"model {spec}: its factory failed ({kind_and_reason(error)})") from error
    lacking = missing_members(model, attributes, methods)
    if lacking:
        raise InputError(
            f"model {spec}: not a {contract.__name__}, it lacks {', '.join(lacking)} ({contract.__module__})"
        )
    return model


def missing_members(model: object, attributes: Sequence[str], methods: Sequence[str]) -> list[str]:
    """Return the names of the attributes and methods that an object does not have."""
    lacking = [name for name in attributes if not hasattr(model, name)]
    return lacking + [name for name in methods if not callable(getattr(model, name, None))]


class _Neighbors:
    """The modules of one folder, for the file `importer` that is imported from there."""

    _active: ClassVar[list[Any]] = []  # of this class

    def __init__(self, folder: Path, importer: str) -> None:
        self._folder = str(folder)
        self._names = {importer}
        self._loaded: dict[str, ModuleType] = {}
        self._first = SimpleNamespace(find_spec=self._for_its_own)
        self._last = SimpleNamespace(find_spec=self._for_anybody)

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Let them be imported within the context.

        By one another and by their importer ahead of everything else; by other code, such as a pickle that names
        their classes, as a last resort.
        """
        others = {name: module for one in self._active for name, module in one._in_use().items()}
        _restore(self._loaded, others)
        sys.meta_path[:] = [self._first, *sys.meta_path, self._last]
        self._active.append(self)
        try:
            yield
        finally:
            self._active.remove(self)
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in (self._first, self._last)]
            self._loaded = self._in_use()
            _restore(others, self._loaded)

    def _in_use(self) -> dict[str, ModuleType]:
        """Return those that are imported now, with the modules of packages, without their importer."""
        own = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in self._names}
        return {name: module for name, module in own.items() if not name.startswith(_PREFIX)}

    def _for_its_own(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        importer = _importing_module(sys._getframe(1))
        if path is not None or importer.partition(".")[0] not in self._names:
            return None
        found = PathFinder.find_spec(name, [self._folder])
        if found is None or found.loader is None:  # a folder alone does not hide an installed package
            return None
        self._names.add(name)
        return found

    def _for_anybody(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        found = PathFinder.find_spec(name, [self._folder]) if path is None else None
        if found is not None:
            self._names.add(name)
        return found


def _importing_module(frame: FrameType | None) -> str:
    """Return the name of the module whose import statement, or call of `importlib.import_module`, runs."""
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(("importlib", "_frozen_importlib")):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__"))


def _restore(modules: dict[str, ModuleType], instead_of: Any) -> None:
    for name in instead_of:
        sys.modules.pop(name, None)
    sys.modules.update(modules)
