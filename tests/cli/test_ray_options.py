"""`--ray` and its options, as far as they go without Ray."""

import ast
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from detattack.cli.command import Command
from detattack.runs.ray_workers import Workers, check_installed

PACKAGES = [Path(__file__).parents[2] / name for name in ("detattack", "classify")]
SCENES = ("evaluate", "--scenes", 1)


@pytest.mark.parametrize("command", [("evaluate",), ("compare",), ("classify", "compare")], ids=" ".join)
def test_without_ray_one_line_says_what_to_install(refused, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "ray", None)
    refused(*command, "--ray", "--out", "run", words=("pip install '.[ray]'",))


def test_without_ray_everything_else_works(attack, picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert attack("untargeted", picture("a", "car@8,16")).statuses == ["success"]


def test_nothing_but_the_pool_imports_ray():
    importing = set()
    for path in (path for package in PACKAGES for path in package.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
        importing |= {path.name for name in names if name.split(".")[0] == "ray"}
    assert importing == {"ray_workers.py"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--workers", 2), ("--workers goes with --ray",)),
        (("--cpus-per-worker", 2), ("--cpus-per-worker goes with --ray",)),
        (("--gpus-per-worker", 1), ("--gpus-per-worker goes with --ray",)),
        (("--ray", "--workers", 0), ("--workers",)),
        (("--ray", "--gpus-per-worker", 1, "--device", "cpu"), ("--gpus-per-worker", "cpu")),
        (("--ray", "--device", "cpu:0"), ("--device cpu:0", "--ray")),
    ],
    ids=lambda given: " ".join(map(str, given)),
)
def test_options_that_do_not_go_together_are_refused(refused, monkeypatch, given, words):
    monkeypatch.setitem(sys.modules, "ray", sys)  # installed, as far as anybody can tell
    refused(*SCENES, *given, "--out", "run", words=words)


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("--ray", "here"),
        ("--ray --quiet", "here"),
        ("--quiet --ray", "here"),
        ("--ray auto --quiet", "auto"),
        ("--ray 10.0.0.1:6379", "10.0.0.1:6379"),
        ("--ray=auto", "auto"),
        ("--quiet", None),
    ],
)
def test_an_address_may_follow(line, address):
    from typer import Typer
    from typer.main import get_command

    from detattack.cli import options as o

    app, found = Typer(), []

    @app.command(cls=Command)
    def command(ray: o.Ray = None, quiet: o.Quiet = False) -> None:
        found.append((ray, quiet))

    get_command(app)(line.split(), standalone_mode=False)
    assert found == [(address, "--quiet" in line)]


def test_as_many_workers_as_there_is_room_for():
    assert Workers(cpus=3).room({"CPU": 8.0}) == 2
    assert Workers(cpus=1, gpus=1).room({"CPU": 8.0, "GPU": 2.0}) == 2
    assert Workers(cpus=1, gpus=0.5).room({"CPU": 3.0, "GPU": 2.0}) == 3
    assert Workers(cpus=1, gpus=1).room({"CPU": 8.0}) == 0


@pytest.mark.parametrize(("token", "mode"), [(True, "token"), (False, None)])
def test_a_token_that_is_there_is_shown(tmp_path, monkeypatch, token, mode):
    environment = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    if token:
        (tmp_path / "token").write_text("secret")
    check_installed()
    assert environment.get("RAY_AUTH_MODE") == mode
