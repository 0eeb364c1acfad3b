"""The command line in this process: what it said, how it ended, and what it left on the disk."""

import os
import sys
from pathlib import Path

import pytest

from detattack.cli import status_of
from tests.commands import Said


@pytest.fixture
def program(monkeypatch) -> list[str]:
    """How to start the program as a process of its own, installed or not."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
    return [sys.executable, "-m", "detattack"]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: files with what is in them, folders with None."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs a command line in an empty folder: `cli("models", "list")`."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        status = status_of([str(argument) for argument in arguments])
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def attack(cli, toy):
    """An attack on the toy detector as `run/` and JSON: `attack("untargeted", path, factory="raising")`."""

    def call(command: str, *arguments: object, factory: str = "factory", out: str | Path = "run") -> Said:
        return cli(command, *arguments, "--model", f"{toy}:{factory}", "--out", out, "--json")

    return call


@pytest.fixture
def refused(cli, tmp_path):
    """Asserts that a command line is bad input: status 2, one line that has all the words, nothing written."""

    def check(*arguments: object, words: tuple[str, ...]) -> None:
        before = tree(tmp_path)
        said = cli(*arguments)
        assert (said.status, said.out) == (2, "")
        assert len(said.err.splitlines()) == 1, said.err
        for word in words:
            assert word in said.err
        assert tree(tmp_path) == before

    return check
