"""Registries of named things: built-in ones are registered by the file that defines them, others by a plugin."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from detattack.core.errors import InputError, unknown

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """A read-only mapping by name, in the order of registration, that can only be added to.

    what: what an entry is called in messages, e.g. `step rule`.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, T] = {}

    def register(self, name: str, entry: T) -> None:
        """Add an entry. Raises `InputError` if the name is taken: nothing that exists is replaced silently."""
        if name in self._entries:
            raise InputError(f"{self.what} {name!r}: is registered already")
        self._entries[name] = entry

    def find(self, name: str) -> T:
        """Return the entry of a name that a user gave. Raises `InputError` that suggests similar names."""
        if name not in self._entries:
            raise unknown(self.what, name, self._entries)
        return self._entries[name]

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
