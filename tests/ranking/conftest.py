"""A finished ranking of colored squares, and how one is made."""

import json
from pathlib import Path

import pytest

from detattack.cli import status_of
from tests.browser import window  # noqa: F401
from tests.coco_squares import write_data

SHORT = Path(__file__).with_name("short.yaml")
TINY = Path(__file__).with_name("tiny.yaml")
IMPOSTORS = Path(__file__).with_name("impostors.py")
TOY = f"{IMPOSTORS}:Toy"
IMAGES = 9


def impostor(name: str) -> str:
    return f"{IMPOSTORS}:{name}"


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> list[str]:
    """The options that name colored squares."""
    return write_data(tmp_path_factory.mktemp("squares"), IMAGES)


def rank(data, out, *models, more=(), protocol=SHORT):
    return status_of(
        ["rank", *models, *data, "--protocol", str(protocol), "--device", "cpu", "--quiet", "--out", str(out), *more]
    )


def read(out: Path) -> dict:
    return json.loads((out / "leaderboard.json").read_text())


def model(out: Path, name: str) -> dict:
    return next(one for one in read(out)["models"] if one["folder"] == name)


@pytest.fixture(scope="session")
def ranking(data, tmp_path_factory) -> Path:
    """A finished ranking, which no test changes."""
    out = tmp_path_factory.mktemp("ranking") / "out"
    assert rank(data, out, TOY, impostor("Firm")) == 0
    return out
