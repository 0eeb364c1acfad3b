"""Adapters in files: the callable of `path/to/file.py:name`, and the modules that lie beside that file.

Importing such a file changes nothing for anybody else. Its module has a name of its own, so that two files called
alike do not collide; modules beside it are found by imports of its own only, ahead of installed ones, and are taken
out of `sys.modules` again, so that two folders may each have a `model.py`, and a `queue.py` harms no library.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any

from detattack.core.errors import InputError
from detattack.detectors.weights import reason


def factory_of_file(spec: str) -> Callable[[str], Any]:
    """Import the callable of `path/to/file.py:name`. Runs that file's code: only for a model the user names.

    The file, and what the callable does, may import modules that lie beside the file. Raises `InputError`.
    """
    name_of_file, _, name = spec.rpartition(":")
    path = Path(name_of_file).resolve()
    if not path.is_file():
        raise InputError(f"model {spec}: no such file {name_of_file!r}")
    of_its_own = f"detattack_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    module_spec = importlib.util.spec_from_file_location(of_its_own, path)
    if module_spec is None or module_spec.loader is None:
        raise InputError(f"model {spec}: {name_of_file} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    neighbors = _Neighbors(path.parent, of_its_own)
    before = sys.modules.get(of_its_own)
    sys.modules[of_its_own] = module  # as Python does: dataclasses look their annotations up there
    try:
        with neighbors.importable():
            module_spec.loader.exec_module(module)
    except Exception as error:
        _restore({of_its_own: before} if before else {}, [of_its_own])
        said = f"{type(error).__name__}: {reason(error)}"
        raise InputError(f"model {spec}: {name_of_file} cannot be imported ({said})") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise InputError(f"model {spec}: {name_of_file} has no function {name!r}")

    def build(device: str) -> Any:
        with neighbors.importable():
            return factory(device)

    return build


class _Neighbors:
    """The modules of one folder, for the file that is imported from there.

    folder: where they lie. importer: the name of that file's module.
    """

    _active: "list[_Neighbors]" = []

    def __init__(self, folder: Path, importer: str):
        self._folder = str(folder)
        self._names = {importer}
        self._loaded: dict[str, ModuleType] = {}
        self._first = SimpleNamespace(find_spec=self._for_its_own)
        self._last = SimpleNamespace(find_spec=self._for_anybody)

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Let them be imported: by one another and by their importer ahead of everything else, by others, such as a
        pickle that names their classes, as a last resort."""
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
        """Those that are imported now, with what is inside of packages; not their importer, which is theirs alone."""
        own = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in self._names}
        return {name: module for name, module in own.items() if not name.startswith("detattack_file_")}

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
    """The module whose import statement, or call of `importlib.import_module`, runs."""
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(("importlib", "_frozen_importlib")):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__"))


def _restore(modules: dict[str, ModuleType], instead_of: Any) -> None:
    for name in instead_of:
        sys.modules.pop(name, None)
    sys.modules.update(modules)
